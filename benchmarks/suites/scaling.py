"""Scaling: what a call costs as more runs are under way at once."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle

from suites.in_flight import BEST, LATENCY, REPLY


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The levels in turns, each turn in fresh processes; ratios are those of a turn."""
    report = Report("scaling")
    # runs at once, and how many are measured
    levels = {5: 20, 20: 40} if quick else {50: 1000, 200: 1000, 1000: 3000}
    rounds = 1 if quick else 7
    least, *_, most = levels
    rig.sim.configure("*", reply=REPLY, latency=LATENCY)
    turns = [
        {level: _measured(rig, level, runs) for level, runs in levels.items()}
        for _ in range(rounds)
    ]
    over = {level: middle([turn[level] / turn[least] for turn in turns]) for level in levels}
    report.table(
        "More runs at once",
        ("runs at once", "CPU per call, ms", f"over that at {least}"),
        [
            (f"{level:,}", middle([turn[level] for turn in turns]) * 1e3, ratio)
            for level, ratio in over.items()
        ],
        f"{BEST}; {LATENCY * 1e3:.0f} ms a call, once all connections are open; medians of {rounds} turns.",
    )
    report.target(f"CPU per call at {most:,} over that at {least} at once", over[most], 1.2)
    return report


def _measured(rig: Rig, level: int, runs: int) -> float:
    """Seconds of CPU per call, with so many runs at once."""
    setup = Setup(client="ours", in_flight=level)
    with rig.worker("llama_index_openai", setup, loop="uvloop+gc") as worker:
        entry = Entry(BEST, worker, "mixture")
        rig.run(entry, level, in_flight=level)  # connections are made
        sample = rig.run(entry, runs, in_flight=level)
    if sample.errors:
        raise RuntimeError(f"{BEST}, {level} at once: {sample.errors[0]}")
    return sample.cpu / sample.arrived
