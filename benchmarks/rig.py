"""The rig: the simulated providers on one CPU, the contestants' processes on another, turn by turn."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

HERE = Path(__file__).parent
PROPOSERS = ("gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "gpt-4", "gpt-4-32k", "gpt-3.5-turbo")
AGGREGATOR = "gpt-4o"
KIB = 1024


def _cpus() -> tuple[int | None, int | None]:
    """A CPU for the contestants and one for the server; None where there are not two to choose."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None, None
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return first, second


@dataclass(frozen=True)
class Setup:
    """What a contestant is told: where the providers are, and what the mixture is."""

    base: str = ""
    key: str = "simulated-key"
    proposers: Sequence[str] = PROPOSERS
    aggregator: str = AGGREGATOR
    layers: int = 2
    in_flight: int = 1
    client: str = "default"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many calls one run makes."""
        return len(self.proposers) * self.layers + 1


@dataclass(frozen=True)
class Sample:
    """One measurement of some runs.

    wall, cpu: seconds of all of them together. seconds: of each run, or to its first token.
    memory_before, memory_peak: KiB. arrived: requests that the providers received.
    """

    wall: float
    cpu: float
    seconds: list[float]
    errors: list[str]
    memory_before: int
    memory_peak: int
    arrived: int = 0


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: str, setup: Setup, python: str, loop: str = "asyncio") -> None:
        cpu = _cpus()[0]
        command = [python, str(HERE / "worker.py"), "any" if cpu is None else str(cpu), loop]
        clean = {
            **os.environ,
            "PYTHONPATH": os.environ.get("PYTHONPATH", "") if python == sys.executable else "",
        }
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean,
        )
        self.setup = setup
        self.contestant = contestant
        self.made = self.tell("make", contestant=contestant, setup=asdict(setup))

    def tell(self, do: str, **what: Any) -> dict[str, Any]:
        """Have it do something and wait for what came of it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"problem": "its process ended"}
        if "problem" in reply:
            raise RuntimeError(f"{self.contestant}: {reply['problem']}")
        return reply

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True)
class Entry:
    """A variant of a contestant, under the name that tables give it."""

    name: str
    worker: Worker
    variant: str

    @property
    def calls(self) -> int:
        """How many calls one of its runs makes."""
        return self.worker.setup.calls


class Rig:
    """The providers and whoever runs against them."""

    def __init__(self, sim: SimulatedProviders) -> None:
        self.sim = sim

    @classmethod
    @contextmanager
    def started(cls) -> "Iterator[Rig]":
        """A rig with its providers running."""
        with SimulatedProviders(cpu=_cpus()[1], keep_records=False, keep_bodies=False) as sim:
            yield cls(sim)

    @contextmanager
    def worker(
        self,
        contestant: str,
        setup: Setup | None = None,
        python: str = sys.executable,
        loop: str = "asyncio",
    ) -> Iterator[Worker]:
        """A process for a contestant; it ends with the block."""
        worker = Worker(contestant, replace(setup or Setup(), base=self.sim.base), python, loop)
        try:
            yield worker
        finally:
            worker.close()

    def run(self, entry: Entry, runs: int = 1, in_flight: int = 1) -> Sample:
        """Let one run, and count its requests."""
        before = self.sim.counts().arrived
        reply = entry.worker.tell("run", variant=entry.variant, runs=runs, in_flight=in_flight)
        return Sample(**reply, arrived=self.sim.counts().arrived - before)

    def interleave(
        self, entries: Sequence[Entry], rounds: int, runs: int = 1, in_flight: int = 1
    ) -> dict[str, list[Sample]]:
        """Let all run in turn, so many times, each first in turn; what each gave, by name. None may fail."""
        for entry in entries:
            self.run(
                entry, in_flight=in_flight, runs=in_flight
            )  # connections are made, caches filled
        samples: dict[str, list[Sample]] = {entry.name: [] for entry in entries}
        for number in range(rounds):
            shift = number % len(entries)
            for entry in (*entries[shift:], *entries[:shift]):
                sample = self.run(entry, runs, in_flight)
                if sample.errors:
                    raise RuntimeError(f"{entry.name}: {sample.errors[0]}")
                samples[entry.name].append(sample)
        return samples


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def cpu_over(samples: Sequence[Sample], others: Sequence[Sample]) -> float:
    """The median of the ratios of two samples that were taken one after the other.

    How fast the machine is changes in the course of a minute: a ratio of two medians is off by a tenth, this one by a
    few hundredths.
    """
    return middle([one.cpu / other.cpu for one, other in zip(samples, others, strict=True)])


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies, by the nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]
