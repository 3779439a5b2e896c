"""Who hears of a run: all of it, in order, told apart from others, and never in its way."""

import asyncio
import logging
from collections import defaultdict

import pytest
from asking import QUESTION
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    MixtureResult,
    QuorumNotMet,
    RunError,
    moa,
)
from llama_index.packs.mixture_of_agents.events import AnswerDelta, Event, RunFinished, RunStarted
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


class Heard:
    """A listener that keeps what it hears, run by run."""

    def __init__(self) -> None:
        self.runs: defaultdict[str, list[Event]] = defaultdict(list)

    def __call__(self, run: RunStarted, event: Event) -> None:
        self.runs[run.run_id].append(event)

    @property
    def only(self) -> list[Event]:
        (events,) = self.runs.values()
        return events


def mixture(*proposers: ScriptedLLM, **policies) -> MixtureOfAgents:
    aggregator = ScriptedLLM("the final answer", model="boss")
    return MixtureOfAgents(
        moa(proposers or [ScriptedLLM("a"), ScriptedLLM("b")], aggregator, **policies)
    )


async def test_a_listener_hears_what_the_result_is_made_of():
    heard, llm = Heard(), mixture()
    with llm.listen(heard):
        response = await llm.achat(QUESTION)
    result: MixtureResult = response.additional_kwargs["mixture"]
    assert MixtureResult.fold(heard.only) == result
    assert isinstance(heard.only[0], RunStarted)
    assert isinstance(heard.only[-1], RunFinished)


@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
async def test_a_listener_hears_the_answer_as_it_streams(way: str):
    heard, llm = Heard(), mixture()
    llm.listen(heard)
    if way == "stream_chat":
        said = "".join(chunk.delta or "" for chunk in llm.stream_chat(QUESTION))
    else:
        said = "".join([chunk.delta or "" async for chunk in await llm.astream_chat(QUESTION)])
    pieces = [event.text for event in heard.only if isinstance(event, AnswerDelta)]
    assert pieces == ["the", " final", " answer"]
    assert said == "the final answer"


async def test_runs_at_the_same_time_are_told_apart():
    go = asyncio.Event()
    waiting = 0

    async def reply(messages):
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            go.set()
        await go.wait()
        return f"about {messages[-1].content}"

    heard, llm = Heard(), mixture(ScriptedLLM(reply), layers=1)
    llm.listen(heard)
    questions = [[ChatMessage(role="user", content=word)] for word in ("one", "two")]
    await asyncio.gather(*(llm.achat(question) for question in questions))
    results = [MixtureResult.fold(events) for events in heard.runs.values()]
    said = {result.question: result.proposals[0].text for result in results}
    assert said == {"one": "about one", "two": "about two"}


async def test_after_closing_nothing_is_heard():
    heard, llm = Heard(), mixture()
    handle = llm.listen(heard)
    handle.close()
    await llm.achat(QUESTION)
    assert not heard.runs


async def test_a_listener_that_raises_does_not_break_the_run(caplog: pytest.LogCaptureFixture):
    calls = 0

    def broken(run: RunStarted, event: Event) -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    heard, llm = Heard(), mixture()
    llm.listen(broken)
    llm.listen(heard)
    with caplog.at_level(logging.ERROR):
        assert (await llm.achat(QUESTION)).message.content == "the final answer"
    assert calls == 1
    assert "hears no more of run" in caplog.text
    assert isinstance(heard.only[-1], RunFinished)
    await llm.achat(QUESTION)
    assert calls == 2


async def test_the_last_event_of_a_cancelled_run_says_so():
    asked = asyncio.Event()

    async def never(_):
        asked.set()
        await asyncio.Event().wait()

    heard, llm = Heard(), mixture(ScriptedLLM(never))
    llm.listen(heard)
    running = asyncio.ensure_future(llm.achat(QUESTION))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    last = heard.only[-1]
    assert isinstance(last, RunFinished)
    assert last.error == "the run was cancelled"


async def test_the_last_event_of_a_failed_run_says_why():
    heard, llm = Heard(), mixture(ScriptedLLM(ValueError("no")))
    llm.listen(heard)
    with pytest.raises(QuorumNotMet):
        await llm.achat(QUESTION)
    last = heard.only[-1]
    assert isinstance(last, RunFinished)
    assert last.error == "layer 1 needed 1 of 1 proposals and got 0"


async def test_a_selection_that_is_broken_ends_the_run_in_its_own_error():
    async def broken(step):
        raise KeyError("seven")

    heard, llm = Heard(), mixture(select=broken)
    llm.listen(heard)
    with pytest.raises(KeyError) as caught:
        await llm.achat(QUESTION)
    assert not isinstance(caught.value, RunError)
    last = heard.only[-1]
    assert isinstance(last, RunFinished)
    assert last.error == "KeyError: 'seven'"
