"""Scaling: what a call costs as more runs are under way at once."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle

from suites.in_flight import BEST, LATENCY, REPLY

LEVELS = {50: 1000, 200: 1000, 1000: 3000}
"""Runs at once, and how many are measured."""
ROUNDS = 7


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The levels in turns, each turn in fresh processes; ratios are those of a turn."""
    report = Report("scaling")
    if quick:  # nothing to be seen in a few seconds
        return report
    rig.sim.configure("*", reply=REPLY, latency=LATENCY)
    turns = [{level: _measured(rig, level) for level in LEVELS} for _ in range(ROUNDS)]
    over = {level: middle([turn[level] / turn[50] for turn in turns]) for level in LEVELS}
    report.table(
        "More runs at once",
        ("runs at once", "CPU per call, ms", "over that at 50"),
        [
            (f"{level:,}", middle([turn[level] for turn in turns]) * 1e3, ratio)
            for level, ratio in over.items()
        ],
        f"{BEST}; {LATENCY * 1e3:.0f} ms a call, once all connections are open; medians of {ROUNDS} turns.",
    )
    report.target("CPU per call at 1,000 over that at 50 at once", over[1000], 1.2)
    return report


def _measured(rig: Rig, level: int) -> float:
    """Seconds of CPU per call, with so many runs at once."""
    setup = Setup(client="ours", in_flight=level)
    with rig.worker("llama_index_openai", setup, loop="uvloop+gc") as worker:
        entry = Entry(BEST, worker, "mixture")
        rig.run(entry, level, in_flight=level)  # connections are made
        sample = rig.run(entry, LEVELS[level], in_flight=level)
    if sample.errors:
        raise RuntimeError(f"{BEST}, {level} at once: {sample.errors[0]}")
    return sample.cpu / sample.arrived
