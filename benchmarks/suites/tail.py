"""Slow answers: how long the slowest runs take when a layer need not wait for everybody."""

from contextlib import ExitStack
from typing import Any

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle, percentile

LATENCY, SIGMA = 0.1, 1.0
QUORUM = 4


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """Log-normal latencies, the same ones for every policy."""
    report = Report("tail")
    runs, in_flight, latency = (12, 12, LATENCY / 2) if quick else (600, 12, LATENCY)
    to_quorum = _time_to_quorum(latency)
    policies: dict[str, dict[str, Any]] = {
        "wait for all": {},
        f"quorum {QUORUM} of 6, no grace": {"quorum": QUORUM, "grace": 0.0},
        f"quorum {QUORUM} of 6, grace of half the time to quorum": {
            "quorum": QUORUM,
            "grace": to_quorum / 2,
        },
        "hedged after the usual time": {"call": {"hedge_after": "usual"}},
        "quorum, grace and hedging": {
            "quorum": QUORUM,
            "grace": to_quorum / 2,
            "call": {"hedge_after": "usual"},
        },
    }
    if quick:
        policies = dict(list(policies.items())[:3:2])
    rows: list[tuple[str, float, float, float, float]] = []
    for name, options in policies.items():
        with ExitStack() as stack:
            setup = Setup(client="ours", options=options)
            entry = Entry(
                name, stack.enter_context(rig.worker("llama_index_openai", setup)), "mixture"
            )
            rig.sim.configure("*", latency=0.0)
            rig.run(entry, runs=in_flight, in_flight=in_flight)
            rig.sim.reset()
            rig.sim.configure("*", latency=latency, latency_sigma=SIGMA)
            sample = rig.run(entry, runs, in_flight)
            seconds = sample.seconds
            assert not sample.errors, sample.errors[0]
            shares = (middle(seconds), percentile(seconds, 0.95), percentile(seconds, 0.99))
            rows.append((name, *shares, sample.arrived / runs))
    report.table(
        "Slow answers",
        ("", "p50, s", "p95, s", "p99, s", "requests a run"),
        rows,
        f"Log-normal latencies with a median of {latency * 1e3:.0f} ms and sigma {SIGMA:g}; {runs} runs, {in_flight} at "
        f"once. The median time to the quorum is {to_quorum * 1e3:.0f} ms.",
    )
    grace = rows[1 if quick else 2][3]
    report.target("p99 with quorum and grace over that of waiting for all", grace / rows[0][3], 0.6)
    return report


def _time_to_quorum(latency: float) -> float:
    """The median of the fourth of six such latencies: computed, since nobody knows it when a recipe is written."""
    import random

    draw = random.Random(0)
    layers = (sorted(draw.lognormvariate(0, SIGMA) for _ in range(6)) for _ in range(4000))
    return latency * middle([layer[QUORUM - 1] for layer in layers])
