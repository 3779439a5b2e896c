"""A contestant in a process of its own: makes it, runs it as told, reports time, CPU and memory.

Needs nothing but Python, so that it also runs in a peer's environment. Speaks JSON, a line each
way, over standard input and output.
"""

import asyncio
import gc
import importlib
import inspect
import json
import os
import resource
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

QUESTION = "What is the difference between a generator and an iterator?"


class Memory:
    """What this process holds, in KiB; 0 where the system does not tell (it does on Linux)."""

    def __init__(self) -> None:
        self.before = self._read("VmRSS")
        if self.before:
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

    @property
    def peak(self) -> int:
        return self._read("VmHWM")

    @staticmethod
    def _read(name: str) -> int:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


async def measure(ask: Any, runs: int, in_flight: int) -> dict[str, Any]:
    """Run a contestant, with so many runs at once as told."""
    numbers, seconds, errors = iter(range(runs)), [], []
    pool = None if inspect.iscoroutinefunction(ask) else ThreadPoolExecutor(in_flight)

    async def lane() -> None:
        for _ in numbers:
            begun = time.perf_counter()
            try:
                loop = asyncio.get_running_loop()
                said = await (loop.run_in_executor(pool, ask, QUESTION) if pool else ask(QUESTION))
                if not said:
                    errors.append("no answer")
            except Exception as error:  # noqa: BLE001 - a contestant may fail in any way; it is counted
                errors.append(f"{type(error).__name__}: {error}"[:300])
                continue
            seconds.append(said if isinstance(said, float) else time.perf_counter() - begun)

    gc.collect()
    memory = Memory()
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(lane() for _ in range(in_flight)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if pool:
        pool.shutdown()
    return {
        "wall": wall,
        "cpu": cpu,
        "seconds": seconds,
        "errors": errors,
        "memory_before": memory.before,
        "memory_peak": memory.peak,
    }


async def allocated(ask: Any, runs: int) -> dict[str, Any]:
    """How many bytes of Python objects are left over by so many runs, the first ones aside."""
    await measure(ask, runs, 1)
    gc.collect()
    tracemalloc.start()
    await measure(ask, runs, 1)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {"kept": kept}


async def serve(answers: Any, *, calm: bool = False) -> None:
    """Do what standard input says until it ends."""
    loop = asyncio.get_running_loop()
    asks: dict[str, Any] = {}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            if command["do"] == "make":
                gc.disable()  # what is imported stays; searching it takes a third of the time
                module = importlib.import_module(f"contestants.{command['contestant']}")
                gc.enable()
                begun = time.process_time()
                asks = module.make(SimpleNamespace(**command["setup"]))
                reply: dict[str, Any] = {"cpu": time.process_time() - begun, "variants": list(asks)}
                if calm:  # what is there now stays; what comes goes by itself
                    gc.freeze()
                    gc.set_threshold(500_000, 5, 10)
            elif command["do"] == "allocated":
                reply = await allocated(asks[command["variant"]], command["runs"])
            else:
                reply = await measure(
                    asks[command["variant"]], command["runs"], command["in_flight"]
                )
        except Exception as error:  # noqa: BLE001 - a contestant may fail in any way; the rig says so
            reply = {"problem": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def main(cpu: str, loop: str) -> None:
    """The command: the CPU to run on (or "any"), and "asyncio" or "uvloop", with "+gc" for a calm collector."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a contestant prints is no answer
    if cpu != "any":
        os.sched_setaffinity(0, {int(cpu)})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    work = serve(answers, calm=loop.endswith("+gc"))
    if loop.startswith("asyncio"):
        asyncio.run(work)
    else:
        import uvloop

        made = uvloop.new_event_loop()
        asyncio.set_event_loop(made)
        made.run_until_complete(work)
    os._exit(0)  # tidying up what was imported would take a second


if __name__ == "__main__":
    main(*sys.argv[1:])
