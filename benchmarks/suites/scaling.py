"""Scaling: what a call costs as more runs are under way at once."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, cpu_over, middle

from suites.in_flight import BEST, LATENCY, PLAIN, REPLY

LEVELS = {50: 1000, 200: 1000, 1000: 3000}
"""Runs at once, and how many are measured."""
ROUNDS = 7
THREADS = 50
SETTINGS = {BEST: ("ours", "uvloop+gc"), PLAIN: ("default", "asyncio")}
"""The HTTP clients and the loop of each contestant."""


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The levels in turns, each turn in fresh processes; ratios are those of a turn."""
    report = Report("scaling")
    if quick:  # nothing to be seen in a few seconds
        return report
    rig.sim.configure("*", reply=REPLY, latency=LATENCY)
    for name in SETTINGS:
        _add(report, rig, name)
    _add_collector(report, rig)
    _add_threads(report, rig)
    return report


def _add(report: Report, rig: Rig, name: str) -> None:
    turns = [{level: _measured(rig, level, name) for level in LEVELS} for _ in range(ROUNDS)]
    over = {level: middle([turn[level] / turn[50] for turn in turns]) for level in LEVELS}
    best = name == BEST
    report.table(
        "More runs at once" if best else "More runs at once, nothing set",
        ("runs at once", "CPU per call, ms", "over that at 50"),
        [
            (f"{level:,}", middle([turn[level] for turn in turns]) * 1e3, ratio)
            for level, ratio in over.items()
        ],
        f"{name}; {LATENCY * 1e3:.0f} ms a call, once all connections are open; medians of {ROUNDS} turns.",
    )
    what = "CPU per call at 1,000 over that at 50 at once"
    report.target(what if best else f"{what}, nothing set", over[1000], 1.2 if best else 1.1)


def _add_collector(report: Report, rig: Rig) -> None:
    """What Python's collector costs where nobody has calmed it."""
    with (
        rig.worker("llama_index_openai", Setup(in_flight=50)) as default,
        rig.worker("llama_index_openai", Setup(in_flight=50), loop="asyncio+gc") as calm,
    ):
        entries = (Entry("default", default, "mixture"), Entry("calm", calm, "mixture"))
        samples = rig.interleave(entries, 2 * ROUNDS, LEVELS[50], in_flight=50)
    over = cpu_over(samples["default"], samples["calm"])
    report.target("CPU of the default collector over a calm one, 50 at once", over, 1.15)


def _add_threads(report: Report, rig: Rig) -> None:
    """What blocking callers cost, each in a thread of its own."""
    rig.sim.configure("*", reply=REPLY)  # the threads' share is largest where nothing waits
    with rig.worker("llama_index_openai", Setup(client="ours", in_flight=THREADS)) as worker:
        entries = [Entry(name, worker, name) for name in ("mixture", "sync")]
        samples = rig.interleave(entries, ROUNDS, 3 * THREADS, in_flight=THREADS)
    over = cpu_over(samples["sync"], samples["mixture"])
    report.target(f"CPU of sync over async, {THREADS} threads, own clients, 0 ms a call", over, 1.2)


def _measured(rig: Rig, level: int, name: str) -> float:
    """Seconds of CPU per call, with so many runs at once."""
    client, loop = SETTINGS[name]
    setup = Setup(client=client, in_flight=level)
    with rig.worker("llama_index_openai", setup, loop=loop) as worker:
        entry = Entry(name, worker, "mixture")
        rig.run(entry, level, in_flight=level)  # connections are made
        sample = rig.run(entry, LEVELS[level], in_flight=level)
    if sample.errors:
        raise RuntimeError(f"{name}, {level} at once: {sample.errors[0]}")
    return sample.cpu / sample.arrived
