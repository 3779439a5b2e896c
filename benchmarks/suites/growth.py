"""Growth: what a call costs as the mixture gets wider, deeper, and its answers longer."""

from dataclasses import replace

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, cpu_over, middle

WORD = "x" * 63 + " "  # so long that 100 kB of them are fewer than an answer may have tokens
ROUNDS = 25
MODEL = "gpt-4.1"  # its context window holds a million tokens


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The mixture beside a gather that sends the same bytes."""
    report = Report("growth")
    if quick:  # a single size shows no growth
        return report
    rows: list[tuple[str, float, float, float]] = []
    grown: list[float] = []
    for what, cases in _groups().items():
        here = [(f"{n} {what}", *_measured(rig, *case)) for n, case in cases.items()]
        rows += here
        grown += [row[-1] / here[0][-1] for row in here[1:]]
    report.table(
        "Growth",
        ("", "gather, ms CPU per call", "mixture, ms CPU per call", "mixture / gather"),
        rows,
        "Over shared clients, at 0 ms a call, 6 proposers x 2 layers + aggregator and answers of 500 bytes, unless "
        "the row says otherwise. Every proposer's answer is part of every request of the next layer: with 60 proposers "
        f"and 500 bytes each, that is 30 kB a request. Medians of {ROUNDS}, interleaved. The last column is "
        f"the median of {ROUNDS} ratios.",
    )
    what = "CPU per call over a gather's, at any size over that at the smallest"
    report.target(what, max(grown), 1.1)
    return report


def _groups() -> dict[str, dict[int, tuple[Setup, float]]]:
    """What grows, by its size: the setup, and kB an answer."""
    setup = Setup(client="ours", proposers=(MODEL,) * 6, aggregator=MODEL)
    return {
        "proposers": {
            n: (replace(setup, proposers=(MODEL,) * n), 0.5) for n in (2, 6, 20, 60, 200)
        },
        "layers": {n: (replace(setup, layers=n), 0.5) for n in (1, 2, 4, 8)},
        "kB an answer": {n: (setup, n) for n in (1, 10, 100)},
        "earlier messages": {n: (replace(setup, options={"turns": n}), 0.5) for n in (2, 20, 200)},
    }


def _measured(rig: Rig, setup: Setup, size: float) -> tuple[float, float, float]:
    """Milliseconds of CPU per call of the gather and of the mixture, and their ratio."""
    rig.sim.configure("*", reply=(WORD * 3000)[: int(size * 1000)])
    with rig.worker("llama_index_openai", setup) as worker:
        entries = [Entry(name, worker, name) for name in ("gather", "mixture")]
        runs = max(1, 200 // setup.calls)  # a sample of a few calls is mostly noise
        samples = rig.interleave(entries, ROUNDS, runs)
    gather, mixture = (
        middle([s.cpu for s in samples[e.name]]) / runs / setup.calls * 1e3 for e in entries
    )
    return gather, mixture, cpu_over(samples["mixture"], samples["gather"])
