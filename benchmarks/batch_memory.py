"""The memory of a batch in a process of its own; writes one number, in KiB.

python benchmarks/batch_memory.py plain 100000            the peak over what is in memory after the imports
python benchmarks/batch_memory.py waiting 50000 ADDRESS   what each run takes that waits for a provider's batch API
"""

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llama_index.llms.openai import OpenAI
from worker import Memory

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.batch import Report, arun_batch
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def questions(count: int) -> Iterator[str]:
    """Short questions, all different."""
    return (f"What is {number} + 1?" for number in range(count))


async def plain(count: int, out: Path) -> float:
    """The peak of a batch whose LLM answers at once."""

    def reply(_: object) -> str:
        llm._requests.clear()  # noqa: SLF001 - it keeps every request for tests
        return "an answer"

    llm = ScriptedLLM(reply)
    await arun_batch(llm, list(questions(16)), out.with_name("before.jsonl"))
    gc.collect()
    memory = Memory()
    report = await arun_batch(llm, questions(count), out)
    assert report.answered == count
    return memory.peak - memory.before


async def waiting(count: int, out: Path, address: str) -> float:
    """What a run takes that waits: one of the two calls of a mixture is in a batch that does not end."""
    proposer, aggregator = (
        OpenAI(model, api_key="simulated-key", api_base=address)
        for model in ("gpt-4.1-mini", "gpt-4.1")
    )
    mixture = MixtureOfAgents(llm=aggregator, proposers=[proposer], num_layers=1)
    before: list[Memory] = []

    def watch(report: Report) -> None:
        if not before:
            gc.collect()
            before.append(Memory())
        elif sum(batch.total for batch in report.batches) == count:
            gc.collect()
            print((Memory().before - before[0].before) / count, flush=True)
            os._exit(0)  # the batch never ends

    size = {"batch_size": count, "in_flight": count}
    await arun_batch(mixture, questions(count), out, via="batch-api", watch=watch, **size)
    return 0.0


def main(what: str, count: str, *address: str) -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as folder:
        measured = {"plain": plain, "waiting": waiting}[what]
        print(asyncio.run(measured(int(count), Path(folder) / "answers.jsonl", *address)))


if __name__ == "__main__":
    main(*sys.argv[1:])
