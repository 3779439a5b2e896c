"""One run at a time: what a mixture adds to the time and the CPU of its calls."""

from collections.abc import Sequence
from contextlib import ExitStack

from peers import Peer
from report import Report
from rig import Entry, Rig, Sample, Setup, cpu_over, middle

LATENCY = 0.1
REPLY = "An answer of some words, as models give them. " * 12
IDEAL = "gather of raw aiohttp"
GATHER, MIXTURE = "gather of OpenAI.achat", "mixture"
SHARED = f"{MIXTURE}, shared clients"
OURS = f"{SHARED}, uvloop, calm collector"  # as in a process of one's own that serves many runs


def run(rig: Rig, peers: dict[Peer, str], *, quick: bool) -> Report:
    """CPU without latency, then wall time with it."""
    report = Report("single")
    rounds, runs = (2, 1) if quick else (20, 8)
    with ExitStack() as stack:
        entries = _entries(rig, peers, stack, quick=quick)
        first = [
            Entry(f"{entry.name}, first token", entry.worker, "first_token")
            for entry in entries
            if entry.name in (_STREAMING[::3] if quick else _STREAMING)
        ]
        rig.sim.configure("*", reply=REPLY)
        cpu = {
            name: middle([sample.cpu / sample.arrived for sample in samples])
            for name, samples in rig.interleave(entries, rounds, runs).items()
        }
        pair = [entry for entry in entries if entry.name in (GATHER, MIXTURE)]
        both = rig.interleave(pair, 2 * rounds, runs)
        # A stream that comes all at once is read all at once: its words come apart, as a provider's do.
        rig.sim.configure("*", reply=REPLY, latency=LATENCY, per_token=0.002)
        walls = rig.interleave([*entries, *first], 1 if quick else rounds)
    path = LATENCY * (entries[0].worker.setup.layers + 1)
    wall = {name: _seconds(samples) for name, samples in walls.items()}
    report.table(
        "One run at a time",
        ("", "wall / critical path", "CPU per call, ms", "wall / gather", "CPU / gather"),
        [
            (
                e.name,
                wall[e.name] / path,
                cpu[e.name] * 1e3,
                wall[e.name] / wall[GATHER],
                cpu[e.name] / cpu[GATHER],
            )
            for e in entries
        ]
        + [(f.name, wall[f.name] / path, None, None, None) for f in first],
        f"6 proposers x 2 layers + aggregator; wall time at {LATENCY * 1e3:.0f} ms a call (critical path "
        f"{path * 1e3:.0f} ms), CPU at 0 ms; medians of {rounds}, interleaved. The promised CPU ratio is the median of "
        f"{2 * rounds} ratios, each of two consecutive samples. optillm instead asks one model three times in "
        "sequence. LLMs over shared clients are made without retries, as in a mixture. All others have their default "
        "retries.",
    )
    report.target(
        "wall time over a gather of the same LLM objects", wall[MIXTURE] / wall[GATHER], 1.02
    )
    over = cpu_over(both[MIXTURE], both[GATHER])
    report.target("CPU over a gather of the same LLM objects", over, 1.05)
    report.target("wall time over the critical path, own clients", wall[OURS] / path, 1.08)
    ideal = wall[f"{IDEAL}, first token"]
    report.target(
        f"first token over that of a {IDEAL}, own clients",
        wall[f"{OURS}, first token"] / ideal,
        1.05,
    )
    for async_ in (name for name in (MIXTURE, SHARED) if name in wall):
        ratio = wall[f"{async_}, sync"] / wall[async_]
        report.target(f"sync over async ({async_})", ratio, 1.10)
    if "mixture-llm" in cpu:
        report.target(
            "CPU per call over mixture-llm, own clients", cpu[OURS] / cpu["mixture-llm"], 0.85
        )
    return report


_STREAMING = (IDEAL, MIXTURE, SHARED, OURS)


def _entries(rig: Rig, peers: dict[Peer, str], stack: ExitStack, *, quick: bool) -> list[Entry]:
    def worker(name: str, loop: str = "asyncio", **setup: str) -> Entry:
        return Entry("", stack.enter_context(rig.worker(name, Setup(**setup), loop=loop)), "gather")  # type: ignore[arg-type]

    raw, default, ours = (
        worker("raw_aiohttp"),
        worker("llama_index_openai"),
        worker("llama_index_openai", "uvloop+gc", client="ours"),
    )
    entries = [
        Entry(IDEAL, raw.worker, "gather"),
        Entry(GATHER, default.worker, "gather"),
        Entry(MIXTURE, default.worker, "mixture"),
        Entry(f"{MIXTURE}, sync", default.worker, "sync"),
        Entry(OURS, ours.worker, "mixture"),
    ]
    if quick:
        return entries
    sdk, sdk_aiohttp = worker("openai_sdk"), worker("openai_sdk", client="aiohttp")
    shared, steps = worker("llama_index_openai", client="ours"), worker("workflow")
    return [
        *entries,
        Entry("gather of the OpenAI SDK", sdk.worker, "gather"),
        Entry("gather of the OpenAI SDK over aiohttp", sdk_aiohttp.worker, "gather"),
        Entry("gather of OpenAI.achat, shared clients", shared.worker, "gather"),
        Entry(SHARED, shared.worker, "mixture"),
        Entry(f"{SHARED}, sync", shared.worker, "sync"),
        Entry("LlamaIndex Workflow steps", steps.worker, "run"),
        *(
            Entry(peer.name, stack.enter_context(rig.worker(peer.contestant, python=python)), "run")
            for peer, python in peers.items()
        ),
    ]


def _seconds(samples: Sequence[Sample]) -> float:
    return middle([second for sample in samples for second in sample.seconds])
