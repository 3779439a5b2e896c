"""What each feature costs, beside a mixture without it."""

from contextlib import ExitStack
from typing import Any

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle

REPLY = "An answer of some words, as models give them. " * 12
FEATURES: dict[str, dict[str, Any]] = {
    "nothing switched on": {},
    "a listener": {"listener": True},
    "a trace file": {"trace file": True},
    "a cache that has every answer": {"cache": True},
    "limits": {"limits": {"in_flight": 100, "per_endpoint": 100}},
    "a budget": {"budget": {"tokens": 10_000_000}},
    "quorum and grace": {"quorum": 6, "grace": 10.0},
    "hedging": {"call": {"hedge_after": 10.0}},
    "LlamaIndex's span and event handlers": {"handlers": True},
}


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """All of them in turn, each in a process of its own."""
    report = Report("features")
    rounds, runs = (2, 1) if quick else (20, 10)
    rig.sim.configure("*", reply=REPLY)
    with ExitStack() as stack:
        entries = [
            Entry(
                name,
                stack.enter_context(
                    rig.worker("llama_index_openai", Setup(client="ours", options=on))
                ),
                "mixture",
            )
            for name, on in list(FEATURES.items())[: 1 if quick else None]
        ]
        # In one process, since two of the same kind differ by more than this.
        unseen = Entry("not even seen", entries[0].worker, "unseen")
        both = rig.interleave([entries[0], unseen], 4 if quick else 300, runs)
        samples = rig.interleave(entries, rounds, runs)
    seen, blind = (middle([s.cpu for s in both[e.name]]) for e in (entries[0], unseen))
    report.target(
        "CPU of usage, listeners and traces with nobody listening",
        (seen / blind - 1) * 100,
        3,
        unit="%",
    )
    cpu = {e.name: middle([s.cpu for s in samples[e.name]]) / runs / e.calls * 1e3 for e in entries}
    plain = cpu[entries[0].name]
    report.table(
        "Features",
        ("", "CPU per call, ms", "more than without, ms"),
        [
            (name, value, value - plain if index else None)
            for index, (name, value) in enumerate(cpu.items())
        ],
        f"Over shared clients, at 0 ms a call; medians of {rounds}, interleaved. Usage is read in all rows.",
    )
    return report
