"""Hedging: a proposer that is late is asked a second time. Outcomes: whose cancellation it was."""

import asyncio
import gc
import time
import weakref
from contextlib import suppress
from typing import Any

import pytest
from asking import QUESTION, ask
from members import one_proposer

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents._concurrency.tasks import hedged
from llama_index.packs.mixture_of_agents._engine.endpoint import UsualTime
from llama_index.packs.mixture_of_agents._engine.timed_task import TimedTask
from llama_index.packs.mixture_of_agents.policies import CallPolicy, Limits
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


async def test_the_first_request_wins_if_it_is_faster_after_all() -> None:
    late, cancelled = asyncio.Event(), asyncio.Event()

    async def first(_: Any) -> str:
        await late.wait()
        return "the first one"

    async def second(_: Any) -> str:
        late.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    result = await ask(one_proposer(ScriptedLLM(first, second), CallPolicy(hedge_after=0.01)))
    assert result.answer == "the first one"
    assert cancelled.is_set()
    assert result.calls[0].attempts == 2


async def test_an_answer_in_time_is_asked_for_once() -> None:
    llm = ScriptedLLM("at once")
    result = await ask(one_proposer(llm, CallPolicy(hedge_after=30)))
    assert len(llm.asked) == 1
    assert not result.calls[0].hedged


async def test_a_failure_in_time_is_tried_again_and_not_hedged() -> None:
    llm = ScriptedLLM(ConnectionResetError("gone"), "at last")
    result = await ask(one_proposer(llm, CallPolicy(hedge_after=30, backoff=0)))
    assert result.answer == "at last"
    assert not result.calls[0].hedged


async def test_a_bad_answer_of_one_leaves_the_other_its_time() -> None:
    second_is_done = asyncio.Event()

    async def first(_: Any) -> str:
        await second_is_done.wait()
        return "good"

    async def second(_: Any) -> str:
        asyncio.get_running_loop().call_soon(second_is_done.set)
        return ""

    result = await ask(
        one_proposer(ScriptedLLM(first, second), CallPolicy(hedge_after=0.01, retries=0))
    )
    assert result.answer == "good"
    assert not result.failures


async def test_only_proposers_are_hedged() -> None:
    async def slow(_: Any) -> str:
        await asyncio.sleep(0.1)
        return "the end"

    aggregator = ScriptedLLM(slow)
    policy = CallPolicy(hedge_after=0.01)
    recipe = moa([ScriptedLLM("proposal")], aggregator, layers=1, call=policy)
    await MixtureOfAgents(recipe).achat(QUESTION)
    assert len(aggregator.asked) == 1


async def test_a_hedge_takes_no_slot_that_is_not_free() -> None:
    async def slow(_: Any) -> str:
        await asyncio.sleep(0.1)
        return "slow"

    llm = ScriptedLLM(slow)
    result = await ask(one_proposer(llm, CallPolicy(hedge_after=0.01), limits=Limits(in_flight=1)))
    assert result.answer == "slow"
    assert len(llm.asked) == 1
    assert not result.calls[0].hedged


async def test_nothing_is_left_running_when_one_has_won() -> None:
    before = asyncio.all_tasks()

    async def never() -> str:
        await asyncio.Event().wait()
        return "never"

    async def at_once() -> str:
        return "at once"

    asked = iter([never(), at_once()])
    answer = await hedged(lambda: next(asked), lambda: next(asked), 0.01, bool)
    assert answer == "at once"
    assert asyncio.all_tasks() == before


def test_the_usual_time_is_known_after_ten_answers_and_forgets_the_odd_one_out() -> None:
    usual = UsualTime()
    for seconds in range(9):
        usual.add(float(seconds))
        assert usual.seconds is None
    for _ in range(91):
        usual.add(1.0)
    usual.add(500.0)
    assert usual.seconds is not None
    assert usual.seconds < 10
    for _ in range(100):
        usual.add(3.0)
    assert usual.seconds == 3.0


async def test_whoever_takes_longer_than_usual_is_asked_again() -> None:
    async def hangs(_: Any) -> str:
        await asyncio.Event().wait()
        return "never"

    llm = ScriptedLLM(*["as usual"] * 10, hangs, "the second one")
    recipe = moa([Proposer(llm)], None, layers=1, call=CallPolicy(hedge_after="usual"))
    mixture = MixtureOfAgents(recipe)
    for _ in range(10):
        await mixture.achat(QUESTION)
    assert len(llm.asked) == 10
    response = await mixture.achat(QUESTION)
    assert response.message.content == "the second one"


async def test_a_cancelled_error_of_ones_own_is_an_outcome() -> None:
    async def gives_up() -> str:
        raise asyncio.CancelledError("on its own")

    value, error = await TimedTask[str]().outcome(gives_up())
    assert value is None
    assert isinstance(error, asyncio.CancelledError)


async def test_a_cancellation_from_outside_is_raised_though_what_was_awaited_swallows_it() -> None:
    begun = asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "an answer after all"

    async def asks() -> None:
        await TimedTask[str]().outcome(stubborn())

    asking = asyncio.ensure_future(asks())
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_time_limit_ends_what_takes_longer() -> None:
    task, ended = TimedTask[None](0.01), asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    value, error = await task.outcome(forever())
    assert (value, type(error), task.expired, ended.is_set()) == (None, TimeoutError, True, True)


async def test_a_time_limit_can_be_put_off() -> None:
    task = TimedTask[str](0.05)

    async def slow() -> str:
        task.put_off(30)
        await asyncio.sleep(0.1)
        return "in time"

    assert await task.outcome(slow()) == ("in time", None)
    assert not task.expired


async def test_a_time_limit_that_was_taken_away_can_be_set_again() -> None:
    task = TimedTask[None](0.05)

    async def forever() -> None:
        task.put_off(None)
        await asyncio.sleep(0.1)
        task.put_off(0.01)
        await asyncio.Event().wait()

    _, error = await asyncio.wait_for(task.outcome(forever()), 5)
    assert isinstance(error, TimeoutError)


async def test_a_time_limit_that_is_up_cannot_be_put_off() -> None:
    task, loop = TimedTask[None](0.01), asyncio.get_running_loop()

    async def too_late() -> None:
        loop.call_later(0.02, task.put_off, 30)
        time.sleep(0.05)  # noqa: ASYNC251  # then both are due at once, the limit first
        await asyncio.Event().wait()

    _, error = await asyncio.wait_for(task.outcome(too_late()), 5)
    assert isinstance(error, TimeoutError)


async def test_a_limit_that_is_put_off_with_each_piece_of_a_stream_keeps_one_timer() -> None:
    def timers() -> int:
        return sum(isinstance(one, asyncio.TimerHandle) for one in gc.get_objects())

    gc.collect()
    before, task = timers(), TimedTask[int](30)

    async def stream() -> int:
        for _ in range(1000):
            task.put_off(None)
            task.put_off(30)
        return timers()

    most, _ = await task.outcome(stream())
    assert most == before + 1


async def test_a_limit_may_come_nearer() -> None:
    task = TimedTask[None](30)

    async def forever() -> None:
        task.put_off(0.01)
        await asyncio.Event().wait()

    _, error = await asyncio.wait_for(task.outcome(forever()), 5)
    assert isinstance(error, TimeoutError)


async def test_a_failed_task_leaves_nothing_to_the_garbage_collector() -> None:
    class OfItsOwnError(Exception): ...

    async def fails() -> None:
        raise OfItsOwnError

    gc.collect()
    gc.disable()
    try:
        _, error = await TimedTask[None](30).outcome(fails())
        assert isinstance(error, OfItsOwnError)
        kept = weakref.ref(error)
        del error
        assert kept() is None
    finally:
        gc.enable()
