"""Many runs at once: how many a second, what a call costs, what a run weighs."""

from contextlib import ExitStack
from dataclasses import dataclass

from peers import Peer
from report import Report
from rig import KIB, Entry, Rig, Sample, Setup

LATENCY = 0.1
REPLY = "An answer of some words, as models give them. " * 12
OURS, BARE = "mixture, shared clients", "gather of OpenAI.achat"
PLAIN = "mixture"
BEST = f"{OURS}, uvloop, calm collector"


@dataclass(frozen=True)
class Contestant:
    """Who runs, and up to how many at once it is worth waiting for."""

    name: str
    module: str
    variant: str
    most: int = 1000
    client: str = "default"
    loop: str = "asyncio"
    python: str | None = None


CONTESTANTS = (
    Contestant("gather of raw aiohttp", "raw_aiohttp", "gather"),
    Contestant("gather of the OpenAI SDK over aiohttp", "openai_sdk", "gather", 200, "aiohttp"),
    Contestant(BARE, "llama_index_openai", "gather"),
    Contestant(
        "gather of OpenAI.achat over one aiohttp client",
        "llama_index_openai",
        "gather",
        50,
        "aiohttp",
    ),
    Contestant(PLAIN, "llama_index_openai", "mixture", 200),
    Contestant(OURS, "llama_index_openai", "mixture", 1000, "ours"),
    Contestant(f"{OURS}, uvloop", "llama_index_openai", "mixture", 200, "ours", "uvloop"),
    Contestant(
        BEST,
        "llama_index_openai",
        "mixture",
        1000,
        "ours",
        "uvloop+gc",
    ),
    Contestant("LlamaIndex Workflow steps", "workflow", "run", 50),
)


def run(rig: Rig, peers: dict[Peer, str], *, quick: bool) -> Report:
    """50, 200 and 1,000 at once, each contestant in a fresh process, so that memory is its own."""
    report = Report("in_flight")
    others = [
        Contestant(p.name, p.contestant, "run", p.most_in_flight, python=python)
        for p, python in peers.items()
    ]
    contestants = [one for one in (*CONTESTANTS, *others) if not quick or one.name in (BARE, BEST)]
    levels = {20: (40, 1)} if quick else {50: (200, 3), 200: (400, 3), 1000: (2000, 1)}
    found: dict[tuple[str, int], Sample] = {}
    rig.sim.configure("*", reply=REPLY, latency=LATENCY)
    for level, (runs, rounds) in levels.items():
        here = [one for one in contestants if level <= one.most]
        samples = _measured(rig, here, level, runs, rounds)
        found |= {(name, level): sample for name, sample in samples.items()}
        report.table(
            f"{level:,} runs at once",
            ("", "queries a second", "CPU per call, ms", "memory per run, KiB", "errors"),
            [_row(name, sample, level) for name, sample in samples.items()],
            f"{runs:,} runs, {level:,} of them at once until fewer are left, {LATENCY * 1e3:.0f} ms a call; medians of {rounds}. "
            f"Memory is the peak of the process above its memory before, divided by the runs at once.",
        )
    _targets(report, found, list(levels))
    return report


def _measured(
    rig: Rig, contestants: list[Contestant], level: int, runs: int, rounds: int
) -> dict[str, Sample]:
    samples: dict[str, list[Sample]] = {one.name: [] for one in contestants}
    for _ in range(rounds):
        for one in contestants:
            with ExitStack() as stack:
                setup = Setup(client=one.client, in_flight=level)
                options = {"python": one.python} if one.python else {}
                worker = stack.enter_context(
                    rig.worker(one.module, setup, loop=one.loop, **options)
                )
                entry = Entry(one.name, worker, one.variant)
                rig.run(entry, runs=2)
                samples[one.name].append(rig.run(entry, runs, in_flight=level))
    return {
        name: sorted(found, key=lambda sample: sample.wall)[len(found) // 2]
        for name, found in samples.items()
    }


def _row(name: str, sample: Sample, level: int) -> tuple[str, float, float, float, int]:
    done = len(sample.seconds)
    return (
        name,
        done / sample.wall,
        sample.cpu / max(1, sample.arrived) * 1e3,
        _memory(sample, level),
        len(sample.errors),
    )


def _memory(sample: Sample, level: int) -> float:
    return (sample.memory_peak - sample.memory_before) / level


def _texts() -> float:
    """KiB of answers that one run receives, and sends on as references."""
    setup = Setup()
    width = len(setup.proposers)
    return len(REPLY) * (setup.calls + width * (setup.calls - width)) / KIB


def _cpu(sample: Sample) -> float:
    return sample.cpu / max(1, sample.arrived)


def _plain_targets(report: Report, found: dict[tuple[str, int], Sample]) -> None:
    """What a user gets who writes the README's lines and sets nothing."""
    for level, bound in ((50, 3.5), (200, 4.0)):
        if (PLAIN, level) in found:
            plain, bare = found[PLAIN, level], found[BARE, level]
            name = f"over {BARE}, {level} at once, nothing set"
            report.target(f"queries a second {name}", bare.wall / plain.wall, bound, at_least=True)
            if level == 50:
                report.target(f"CPU per call {name}", _cpu(plain) / _cpu(bare), 0.28)


def _targets(report: Report, found: dict[tuple[str, int], Sample], levels: list[int]) -> None:
    _plain_targets(report, found)
    for level in levels:
        mine = found[BEST, level]
        for other, bound in (("mixture-llm", 4.0), (BARE, 2.0)):
            if (other, level) in found:
                ratio = found[other, level].wall / mine.wall
                report.target(
                    f"queries a second over {other}, {level} at once, own clients",
                    ratio,
                    bound,
                    at_least=True,
                )
        report.target(
            f"memory per run, {level} at once, own clients",
            _memory(mine, level),
            240.0 + _texts(),
            unit="KiB",
        )
        report.target(
            f"errors, {level} at once, own clients", float(len(mine.errors)), 0.0, unit=""
        )
