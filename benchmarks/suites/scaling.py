"""Scaling: what a call costs as more runs are under way at once."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, cpu_over, middle

from suites.in_flight import BEST, CONTESTANTS, LATENCY, PLAIN, REPLY, Contestant

LEVELS = {50: 1000, 200: 1000, 1000: 3000}
"""Runs at once, and how many are measured."""
ROUNDS = 7
THREADS = 50
RAW = "gather of raw aiohttp"
BOUNDS = {BEST: 1.2, PLAIN: 1.1, RAW: None}
"""What a call at 1,000 may cost over one at 50; raw aiohttp shows what no mixture over it can undercut."""
COLLECTOR = 1.15


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """The levels in turns, each turn in fresh processes; ratios are those of a turn."""
    report = Report("scaling")
    if quick:  # nothing to be seen in a few seconds
        return report
    rig.sim.configure("*", reply=REPLY, latency=LATENCY)
    for name, bound in BOUNDS.items():
        _add(report, rig, name, bound)
    _add_collector(report, rig)
    _add_threads(report, rig)
    return report


def _add(report: Report, rig: Rig, name: str, bound: float | None) -> None:
    turns = [{level: _measured(rig, level, name) for level in LEVELS} for _ in range(ROUNDS)]
    over = {level: middle([turn[level] / turn[50] for turn in turns]) for level in LEVELS}
    report.table(
        f"More runs at once, {name}",
        ("runs at once", "CPU per call, ms", "over that at 50"),
        [
            (f"{level:,}", middle([turn[level] for turn in turns]) * 1e3, ratio)
            for level, ratio in over.items()
        ],
        f"{LATENCY * 1e3:.0f} ms a call, once all connections are open; medians of {ROUNDS} turns.",
    )
    if bound:
        report.target(f"CPU per call at 1,000 over that at 50 at once, {name}", over[1000], bound)


def _add_collector(report: Report, rig: Rig) -> None:
    """What Python's collector costs where nobody has calmed it."""
    rows: list[tuple[str, float]] = []
    for name in (PLAIN, RAW):
        one = _contestant(name)
        # A full collection searches all that was imported, so both import the same.
        setup = Setup(in_flight=50, options={"imports": ["llama_index.llms.openai"]})
        with (
            rig.worker(one.module, setup) as default,
            rig.worker(one.module, setup, loop="asyncio+gc") as calm,
        ):
            entries = (Entry("default", default, one.variant), Entry("calm", calm, one.variant))
            samples = rig.interleave(entries, 2 * ROUNDS, LEVELS[50], in_flight=50)
        rows.append((name, cpu_over(samples["default"], samples["calm"])))
    report.table(
        "The garbage collector",
        ("", "CPU with Python's default collector, over a calm one"),
        rows,
        f"50 runs at once, {LATENCY * 1e3:.0f} ms a call; medians of {2 * ROUNDS} ratios of consecutive samples. "
        "Both processes have imported LlamaIndex.",
    )
    what = "CPU of the default collector over a calm one, 50 at once, nothing set"
    report.target(what, rows[0][1], COLLECTOR)


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
    one = _contestant(name)
    setup = Setup(client=one.client, in_flight=level)
    with rig.worker(one.module, setup, loop=one.loop) as worker:
        entry = Entry(name, worker, one.variant)
        rig.run(entry, level, in_flight=level)  # connections are made
        sample = rig.run(entry, LEVELS[level], in_flight=level)
    if sample.errors:
        raise RuntimeError(f"{name}, {level} at once: {sample.errors[0]}")
    return sample.cpu / sample.arrived


def _contestant(name: str) -> Contestant:
    return next(one for one in CONTESTANTS if one.name == name)
