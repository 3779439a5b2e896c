"""Runs in a file, and a recipe that is run again against it without a network."""

import asyncio
from pathlib import Path

import pytest
from asking import (
    QUESTION,
    ask,
    in_every_way,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from members import (
    add,
)

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    MixtureOfAgentsPack,
    MixtureResult,
    RunError,
    moa,
)
from llama_index.packs.mixture_of_agents.errors import ReplayMiss
from llama_index.packs.mixture_of_agents.replay import replay, trace_to
from llama_index.packs.mixture_of_agents.result import saved_runs
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


async def test_what_is_replayed_takes_no_time_of_the_past(tmp_path: Path):
    async def slow(_):
        await asyncio.sleep(0.3)
        return "slow"

    file, mixture = (
        tmp_path / "runs.jsonl",
        MixtureOfAgents(moa([ScriptedLLM(slow)], ScriptedLLM())),
    )
    mixture.listen(trace_to(file))
    recorded, replayed = await ask(mixture), await ask(replay(mixture, file))
    assert recorded.elapsed > 0.6 > replayed.elapsed


async def test_another_question_is_a_miss_that_says_what_the_file_has(tmp_path: Path):
    file, mixture = (
        tmp_path / "runs.jsonl",
        MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("b"))),
    )
    mixture.listen(trace_to(file))
    await ask(mixture)
    with pytest.raises(ReplayMiss) as caught:
        await ask(replay(mixture, file), asked="What else?")
    assert str(caught.value) == (
        f"{file} holds no run of this conversation: 'What else?'"
        f" (it holds: '{QUESTION[0].content}')"
    )
    assert caught.value.result.error.startswith(str(file))


@in_every_way
async def test_a_missing_call_is_named(tmp_path: Path, way: str):
    file = tmp_path / "runs.jsonl"
    small = MixtureOfAgents(moa([ScriptedLLM("a", model="m1")], ScriptedLLM("b"), layers=1))
    small.listen(trace_to(file))
    await ask(small)
    wider = moa(
        [ScriptedLLM("a", model="m1"), ScriptedLLM("x", model="m2")], ScriptedLLM("b"), layers=1
    )
    with pytest.raises(ReplayMiss, match="lacks a call: proposer 'm2' in layer 1, in run"):
        await ask(replay(wider, file), way)
    deeper = moa([ScriptedLLM("a", model="m1")], ScriptedLLM("b"), layers=2)
    with pytest.raises(ReplayMiss, match="lacks a call: proposer 'm1' in layer 2"):
        await ask(replay(deeper, file), way)


async def test_one_run_of_a_file_answers_whatever_is_asked(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    mixture = MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("first", "second")))
    with mixture.listen(trace_to(file, {"layers": 2})):
        results = [await ask(mixture, text=text) for text in ("One?", "Two?")]
    assert (await ask(replay(mixture, file, 0), text="What else?")).answer == "first"
    by_id = replay(mixture, file, results[1].run_id)
    assert [(await ask(by_id)).answer for _ in range(2)] == ["second", "second"]
    assert MixtureResult.load(file).run.recipe == {"layers": 2}
    with pytest.raises(ValueError, match="no run 7"):
        replay(mixture, file, 7)


async def test_a_question_asked_several_times_is_answered_as_it_was_each_time(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    mixture = MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("first", "second")))
    mixture.listen(trace_to(file))
    for _ in range(2):
        await ask(mixture)
    again = replay(mixture, file)
    assert [(await ask(again)).answer for _ in range(3)] == ["first", "second", "second"]


@in_every_way
async def test_tool_calls_of_the_aggregator_are_replayed(tmp_path: Path, way: str):
    call = ToolSelection(tool_id="call-1", tool_name="add", tool_kwargs={"a": 2, "b": 3})
    recipe = moa([ScriptedLLM("use add")], ScriptedLLM(call), layers=1)
    mixture, file = MixtureOfAgents(recipe), tmp_path / "runs.jsonl"
    mixture.listen(trace_to(file))
    tool = FunctionTool.from_defaults(add)
    await mixture.achat_with_tools([tool], user_msg="2 + 3?")
    again = replay(recipe, file)
    if way == "chat":
        response = await asyncio.to_thread(again.chat_with_tools, [tool], user_msg="2 + 3?")
    elif way == "achat":
        response = await again.achat_with_tools([tool], user_msg="2 + 3?")
    elif way == "stream_chat":
        ask_streaming = lambda: list(again.stream_chat_with_tools([tool], user_msg="2 + 3?"))  # noqa: E731
        response = (await asyncio.to_thread(ask_streaming))[-1]
    else:
        chunks = await again.astream_chat_with_tools([tool], user_msg="2 + 3?")
        response = [chunk async for chunk in chunks][-1]
    assert again.get_tool_calls_from_response(response) == [call]
    with pytest.raises(ReplayMiss, match="no run of this conversation"):
        await again.achat([ChatMessage(role="user", content="2 + 3?")])


async def test_a_pack_is_replayed_too(tmp_path: Path):
    file, pack = tmp_path / "runs.jsonl", MixtureOfAgentsPack(ScriptedLLM("b"), ScriptedLLM("a"))
    pack.llm.listen(trace_to(file))
    await pack.arun("What is it?")
    pack.llm = replay(pack, file)
    assert await pack.arun("What is it?") == "b"


async def test_runs_that_failed_or_were_cancelled_are_in_the_file_too(tmp_path: Path):
    file, asked = tmp_path / "runs.jsonl", asyncio.Event()

    async def never(_):
        asked.set()
        await asyncio.Event().wait()

    for reply in (ValueError("no"), never):
        mixture = MixtureOfAgents(moa([ScriptedLLM(reply)], ScriptedLLM()))
        mixture.listen(trace_to(file))
        running = asyncio.ensure_future(ask(mixture))
        if reply is never:
            await asked.wait()
            running.cancel()
        with pytest.raises((RunError, asyncio.CancelledError)):
            await running
    errors = [run.error for run in saved_runs(file)]
    assert errors == ["layer 1 needed 1 of 1 proposals and got 0", "the run was cancelled"]


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        trace_to(tmp_path / "no-such-folder" / "runs.jsonl")


SMOLLM2 = Path(__file__).parents[1] / "support" / "smollm2.jsonl"
"""A run of a real model server, which tests/project/test_local_server.py describes."""


@in_every_way
async def test_a_run_of_a_real_model_is_replayed(way: str):
    proposers = [ScriptedLLM("Never.", model="smollm2"), ScriptedLLM("Never.", model="other")]
    aggregator = ScriptedLLM("Never.", model="smollm2")
    recorded = MixtureResult.load(SMOLLM2)
    replayed = await ask(replay(moa(proposers, aggregator, layers=1), SMOLLM2), way)
    assert replayed.answer == recorded.answer != ""
    assert [call.proposals for call in replayed.calls] == [
        call.proposals for call in recorded.calls
    ]
    assert replayed.usage.requests == 0
    assert not any(one.requests for one in (*proposers, aggregator))
