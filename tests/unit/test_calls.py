"""One call: how long it may take, where it is made, and what becomes of whatever its LLM raises."""

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from asking import QUESTION, ask
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback
from members import (
    AT_ONCE,
    forever,
    one_proposer,
)

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    Proposer,
    QuorumNotMet,
    moa,
)
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread, iterate_in_thread
from llama_index.packs.mixture_of_agents._engine.calls import Caller
from llama_index.packs.mixture_of_agents._engine.job import Job
from llama_index.packs.mixture_of_agents._engine.request import CANCELLED, Request, RunState
from llama_index.packs.mixture_of_agents.errors import FailureKind, RunError
from llama_index.packs.mixture_of_agents.events import CallFinished, Event
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


async def test_a_call_that_hangs_every_time_is_a_timeout() -> None:
    policy = CallPolicy(timeout=0.05, backoff=0, retries=1)
    with pytest.raises(QuorumNotMet) as raised:
        await ask(one_proposer(ScriptedLLM(forever), policy))
    (failure,) = raised.value.failures
    assert (failure.kind, failure.attempts) == (FailureKind.TIMEOUT, 2)
    assert "gave up after 0.0" in failure.message


async def test_a_calls_deadline_is_for_all_of_its_attempts() -> None:
    policy = CallPolicy(timeout=0.2, deadline=0.3, backoff=0, retries=9)
    with pytest.raises(QuorumNotMet) as raised:
        await ask(one_proposer(ScriptedLLM(forever), policy))
    (failure,) = raised.value.failures
    assert failure.attempts == 2
    assert 0.3 <= failure.elapsed < 1


async def test_a_time_limit_that_the_llm_raises_itself_is_tried_again() -> None:
    llm = ScriptedLLM(TimeoutError("mine"), asyncio.TimeoutError(), "at last")
    result = await ask(one_proposer(llm, CallPolicy(backoff=0)))
    assert (result.answer, len(llm.asked)) == ("at last", 3)


class Blocking(CustomLLM):
    """An LLM of one's own: its async methods are core's, which call the blocking ones."""

    barrier: Any = None

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="blocking")

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self.barrier.wait(10)
        return ChatResponse(message=ChatMessage(role="assistant", content=f"{messages}{kwargs}"))

    def complete(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def stream_complete(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


async def test_llms_that_block_are_asked_at_the_same_time() -> None:
    barrier = threading.Barrier(6)
    proposers = [Proposer(Blocking(barrier=barrier), name=f"p{number}") for number in range(6)]
    result = await ask(MixtureOfAgents(moa(proposers, None, layers=1, call=CallPolicy(retries=0))))
    assert len(result.proposals) == 6


async def test_a_thread_that_was_given_up_ends_unheard() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go_on.wait(10)
        return "too late"

    waiting = asyncio.ensure_future(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()


async def test_a_thread_that_waits_for_a_socket_is_hung_up_on_and_ends() -> None:
    here, there = socket.socketpair()
    ended = threading.Event()

    def work() -> None:
        with here:
            try:
                with here.makefile("rb") as file:
                    file.read(1)
            finally:
                ended.set()

    waiting = asyncio.ensure_future(in_thread(work))
    await asyncio.sleep(0.1)
    assert not ended.is_set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, 5)
    with there:
        assert there.recv(1) == b"", "the other end sees it closed"


async def test_a_blocking_iterator_is_closed_when_its_reader_leaves() -> None:
    closed = threading.Event()

    def numbers() -> Any:
        try:
            number = 0
            while True:
                yield number
                number += 1
                time.sleep(0.001)
        finally:
            closed.set()

    iterator = iterate_in_thread(numbers)
    assert [await anext(iterator) for _ in range(3)] == [0, 1, 2]
    await iterator.aclose()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(closed.wait, 10)


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), KeyboardInterrupt()])
async def test_what_a_thread_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    def work() -> None:
        raise error

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected):
        await in_thread(work)


# --- whatever it raises --------------------------------------------------------------------------


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "error",
    [
        Odd(),
        RuntimeError("no"),
        MemoryError(),
        RecursionError(),
        AssertionError(),
        StopAsyncIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_an_llm_raises_becomes_a_record(error: Exception) -> None:
    recipe = moa([ScriptedLLM(error), ScriptedLLM("good")], None, layers=1)
    result = await ask(MixtureOfAgents(recipe))
    assert result.answer == "good"
    assert len(result.failures) == 1


async def call(llm: Any, raises: type[BaseException]) -> list[Event]:
    """The events of one call, made without a run around it, that raises."""
    recipe = moa([Proposer(llm, name="p")], None, layers=1)
    happened: list[Event] = []
    job = Job(recipe, Caller(recipe), QUESTION)
    request = Request(recipe.layers[0].proposers[0], "proposer", 1, QUESTION)
    with pytest.raises(raises):
        await job.caller.call(request, RunState(job, happened.append))
    return happened


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_is_no_fault_of_an_llm_passes_through_and_is_on_record_once(
    error: type[BaseException],
) -> None:
    llm = ScriptedLLM(error())
    happened = await call(llm, error)
    assert len(llm.asked) == 1
    (finished,) = [event for event in happened if isinstance(event, CallFinished)]
    assert finished.failure
    assert finished.failure.kind == CANCELLED.kind


async def test_a_call_that_is_cancelled_while_it_waits_to_be_tried_again_is_on_record_once() -> (
    None
):
    happened: list[Event] = []
    recipe = moa([ScriptedLLM(ConnectionError("gone"))], None, layers=1, call=CallPolicy(backoff=9))
    retrying = asyncio.Event()

    def listen(event: Event) -> None:
        happened.append(event)
        if event.kind == "call_retried":
            retrying.set()

    request = Request(recipe.layers[0].proposers[0], "proposer", 1, QUESTION)
    job = Job(recipe, Caller(recipe), QUESTION)
    calling = asyncio.ensure_future(job.caller.call(request, RunState(job, listen)))
    await retrying.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [event.kind for event in happened] == ["call_started", "call_retried", "call_finished"]


async def test_an_exception_that_holds_a_secret_is_no_cause_that_a_traceback_would_print() -> None:
    leaking = ValueError("Incorrect API key provided: sk-abcdefgh12345678")
    with pytest.raises(RunError) as raised:
        await MixtureOfAgents(moa([ScriptedLLM(leaking)], None, layers=1)).achat(QUESTION)
    assert raised.value.failures[0].exception is leaking
    assert raised.value.__cause__ is None


async def test_failures_for_different_reasons_have_no_common_cause() -> None:
    llms = [ScriptedLLM(ValueError("no")), ScriptedLLM(KeyError("other"))]
    with pytest.raises(RunError) as raised:
        await MixtureOfAgents(moa(llms, None, layers=1, call=AT_ONCE)).achat(QUESTION)
    assert raised.value.__cause__ is None
