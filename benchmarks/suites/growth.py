"""Growth: what a call costs as the mixture gets wider, deeper, and its answers longer."""

from contextlib import ExitStack

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle

WORDS = "An answer of some words, as models give them. "
MODEL = "gpt-4.1"  # its context window holds a million tokens


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The mixture beside a gather that sends the same bytes."""
    report = Report("growth")
    rounds = 3 if quick else 15
    width = (20,) if quick else (2, 6, 20, 60)
    depth = () if quick else (1, 2, 4, 8)
    sizes = (10,) if quick else (1, 10, 100)
    cases = [
        *(
            ("proposers", n, Setup(client="ours", proposers=(MODEL,) * n, aggregator=MODEL), 0.5)
            for n in width
        ),
        *(
            (
                "layers",
                n,
                Setup(client="ours", proposers=(MODEL,) * 6, aggregator=MODEL, layers=n),
                0.5,
            )
            for n in depth
        ),
        *(
            ("kB an answer", n, Setup(client="ours", proposers=(MODEL,) * 6, aggregator=MODEL), n)
            for n in sizes
        ),
    ]
    rows: list[tuple[str, float, float, float]] = []
    for what, number, setup, size in cases:
        rig.sim.configure("*", reply=(WORDS * 3000)[: int(size * 1000)])
        with ExitStack() as stack:
            worker = stack.enter_context(rig.worker("llama_index_openai", setup))
            entries = [Entry(name, worker, name) for name in ("gather", "mixture")]
            samples = rig.interleave(entries, rounds)
            gather, mixture = (
                middle([s.cpu for s in samples[e.name]]) / setup.calls * 1e3 for e in entries
            )
            rows.append((f"{number} {what}", gather, mixture, mixture / gather))
    report.table(
        "Growth",
        ("", "gather, ms CPU per call", "mixture, ms CPU per call", "mixture / gather"),
        rows,
        "Over shared clients, at 0 ms a call, 6 proposers x 2 layers + aggregator and answers of 500 bytes where "
        "nothing else is said. Every proposer's answer goes into every request of the next layer: with 60 proposers of "
        f"500 bytes that is 30 kB a request. Medians of {rounds}, interleaved.",
    )
    worst = max(ratio for *_, ratio in rows)
    report.target("CPU per call over a gather that sends the same, at any size", worst, 1.1)
    return report
