"""A run goes no faster than its reader: pieces of a stream wait in small buffers, and nobody holds the loop."""

import asyncio
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.events import AnswerDelta
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.server.in_flight import Run, Runs
from llama_index.packs.mixture_of_agents.server.metrics import Metrics
from llama_index.packs.mixture_of_agents.server.served_model import Model, Question
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

ASKED = (ChatMessage(role="user", content="Why?"),)
WORDS = 2000
LONG = " ".join(str(number) for number in range(WORDS))
SHORT = " ".join(LONG.split()[:100])
A_FEW = 40
"""Pieces that may be on their way between an LLM and the reader of its answer."""


def mixture(**settings: Any) -> MixtureOfAgents:
    return MixtureOfAgents(
        llm=ScriptedLLM(LONG), proposers=[ScriptedLLM("a")], num_layers=1, **settings
    )


LLMS = {"alone": lambda: ScriptedLLM(LONG), "mixed": mixture}


def begin(llm: Any) -> Run:
    return Runs(Metrics(), None).begin(Model("one", llm), Question(ASKED, {}), stream=True)


async def turns(number: int) -> None:
    """Let everything else take its turns on the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", LLMS)
async def test_a_run_waits_while_nobody_reads_its_stream(kind):
    run = begin(LLMS[kind]())
    pieces = run.pieces()
    heard = list(await anext(pieces))
    await turns(2 * WORDS)
    assert not run.task.done()
    async for more in pieces:
        assert len(more) < A_FEW
        heard += more
    assert "".join(map(str, heard)) == LONG
    assert run.result().finish_reason == "stop"


@pytest.mark.parametrize("kind", LLMS)
async def test_the_first_piece_is_there_long_before_the_last(kind):
    run = begin(LLMS[kind]())
    first = await anext(run.pieces())
    assert len("".join(map(str, first)).split()) < A_FEW
    assert not run.task.done()
    await run.stop()


@pytest.mark.parametrize("kind", LLMS)
async def test_between_two_turns_of_the_loop_a_long_stream_handles_a_few_pieces(kind):
    run, heard, most = begin(LLMS[kind]()), [], 0

    async def read() -> None:
        async for pieces in run.pieces():
            heard.extend(pieces)

    reading = asyncio.ensure_future(read())
    while not reading.done():
        before = len(heard)
        await asyncio.sleep(0)
        most = max(most, len(heard) - before)
    await reading
    assert len(heard) == WORDS
    assert most < A_FEW


@pytest.mark.parametrize("kind", LLMS)
async def test_a_run_that_waits_for_its_reader_can_be_stopped(kind):
    run = begin(LLMS[kind]())
    await anext(run.pieces())
    await turns(WORDS)
    await run.stop()
    assert run.task.cancelled()


async def test_a_mixtures_run_waits_while_nobody_reads_its_events():
    happening, heard = mixture().happening(ASKED), ""
    async for event in happening:
        if isinstance(event, AnswerDelta):
            heard += event.text
            break
    await turns(2 * WORDS)
    assert len(asyncio.all_tasks()) > 1
    async for event in happening:
        heard += event.text if isinstance(event, AnswerDelta) else ""
    assert heard == LONG
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    "limit",
    [{"call": CallPolicy(timeout=1)}, {"call": CallPolicy(deadline=1)}, {"deadline": 1}],
    ids=["timeout", "the call's deadline", "the run's deadline"],
)
async def test_the_time_that_a_reader_takes_is_not_the_llms(limit):
    llm = MixtureOfAgents(
        llm=ScriptedLLM(SHORT), proposers=[ScriptedLLM("a")], num_layers=1, **limit
    )
    stream = await llm.astream_chat(ASKED)
    await anext(stream)
    over = asyncio.get_running_loop().time() + 1.1
    while asyncio.get_running_loop().time() < over:
        await turns(10)
    *_, last = [chunk async for chunk in stream]
    assert last.message.content == SHORT
