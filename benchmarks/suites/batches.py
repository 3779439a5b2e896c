"""Batches: the memory of many questions, and of many that wait for a provider's batch API."""

import subprocess
import sys

from peers import Peer
from report import Report
from rig import HERE, Rig


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """Each number is of a process of its own."""
    report = Report("batches")
    many, waiting = (2_000, 500) if quick else (100_000, 50_000)
    rig.sim.configure("*", batch_seconds=1e9, batch_rows=waiting)
    peak = _measured("plain", many) / 1024
    each = _measured("waiting", waiting, rig.sim.openai_base)
    report.table(
        "The memory of a batch",
        ("", "questions", ""),
        [
            ("peak over the imports, MiB", f"{many:,}", peak),
            ("each that waits in the collector, KiB", f"{waiting:,}", each),
        ],
        "An LLM that answers at once; a mixture of one proposer and an aggregator, whose first call waits for a batch.",
    )
    report.target(f"peak of {many:,} questions over the imports", peak, 150.0, unit="MiB")
    report.target("a run that waits in the collector", each, 20.0, unit="KiB")
    return report


def _measured(*command: object) -> float:
    words = [sys.executable, str(HERE / "batch_memory.py"), *map(str, command)]
    return float(subprocess.check_output(words, cwd=HERE).split()[-1])
