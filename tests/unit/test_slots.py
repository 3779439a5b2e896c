"""How much may be under way at once, and how much in a minute."""

import asyncio
import random
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from asking import ask
from hypothesis import given
from hypothesis import strategies as st
from limiting import Recording, with_limiter
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from members import settle

from llama_index.packs.mixture_of_agents import (
    DeadlineExceeded,
    MixtureOfAgents,
    Proposer,
    RecipeError,
    moa,
)
from llama_index.packs.mixture_of_agents._concurrency.slots import Slots
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy, Limits
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

# --- slots ---------------------------------------------------------------------------------------


async def taken(slots: Slots, *keys: str) -> list[asyncio.Task[None]]:
    """One task per key that asks for a slot; those that are done have one."""
    tasks = [asyncio.create_task(slots.acquire(key)) for key in keys]
    await settle()
    return tasks


def done(tasks: list[asyncio.Task[None]]) -> str:
    return "".join("x" if task.done() else "." for task in tasks)


async def test_slots_are_given_in_the_order_of_asking() -> None:
    slots = Slots(total=2)
    tasks = await taken(slots, *"abcd")
    assert done(tasks) == "xx.."
    slots.release("a")
    await settle()
    assert done(tasks) == "xxx."
    slots.release("b")
    await settle()
    assert done(tasks) == "xxxx"


async def test_a_key_that_has_all_its_slots_holds_up_no_other_key() -> None:
    slots = Slots(total=3, per_key=1)
    tasks = await taken(slots, *"aabcd")
    assert done(tasks) == "x.xx."
    slots.release("c")
    await settle()
    assert done(tasks) == "x.xxx"
    slots.release("a")
    await settle()
    assert done(tasks) == "xxxxx"


async def test_one_key_at_a_time_lets_all_of_that_key_through_and_then_the_next() -> None:
    slots = Slots(one_key=True)
    tasks = await taken(slots, *"abaca")
    assert done(tasks) == "x.x.x"
    for _ in range(2):
        slots.release("a")
    await settle()
    assert done(tasks) == "x.x.x"
    slots.release("a")
    await settle()
    assert done(tasks) == "xxx.x"
    slots.release("b")
    await settle()
    assert done(tasks) == "xxxxx"


async def test_who_gives_up_waiting_leaves_the_slot_to_the_next() -> None:
    slots = Slots(total=1)
    _, second, third = await taken(slots, *"abc")
    second.cancel()
    slots.release("a")
    await settle()
    assert second.cancelled()
    assert third.done()


async def test_who_is_cancelled_in_the_moment_of_getting_a_slot_gives_it_back() -> None:
    slots = Slots(total=1)
    _, second, third = await taken(slots, *"abc")
    slots.release("a")
    second.cancel()
    await settle()
    assert second.cancelled()
    assert third.done()


async def test_a_slot_can_be_tried_for() -> None:
    slots = Slots(total=1)
    assert slots.try_acquire("a")
    assert not slots.try_acquire("b")
    slots.release("a")
    assert slots.try_acquire("b")


@given(
    total=st.none() | st.integers(1, 3),
    per_key=st.none() | st.integers(1, 2),
    one_key=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_no_limit_is_ever_passed_and_nobody_waits_forever(
    total: int | None, per_key: int | None, one_key: bool, seed: int
) -> None:
    slots, under_way = Slots(total, per_key, one_key=one_key), Counter[str]()
    chance = random.Random(seed)

    async def one(key: str, *, cancel: bool) -> None:
        waiting = asyncio.ensure_future(slots.acquire(key))
        for _ in range(chance.randint(0, 5)):
            await asyncio.sleep(0)
        if cancel and waiting.cancel():
            await asyncio.gather(waiting, return_exceptions=True)
            return
        await waiting
        under_way[key] += 1
        assert total is None or sum(under_way.values()) <= total
        assert per_key is None or under_way[key] <= per_key
        assert not one_key or sum(count > 0 for count in under_way.values()) == 1
        for _ in range(chance.randint(0, 5)):
            await asyncio.sleep(0)
        under_way[key] -= 1
        slots.release(key)

    async def all_of_them() -> None:
        keys = (chance.choice("abc") for _ in range(20))
        await asyncio.gather(*(one(key, cancel=chance.random() < 0.3) for key in keys))

    asyncio.run(asyncio.wait_for(all_of_them(), 10))
    assert slots.try_acquire("z"), "all slots are back"


def test_slots_serve_several_loops_in_several_threads() -> None:
    slots, under_way, most = Slots(total=2), Counter[str](), []

    async def hold() -> None:
        await slots.acquire("a")
        under_way["a"] += 1
        most.append(under_way["a"])
        await asyncio.sleep(0.002)
        under_way["a"] -= 1
        slots.release("a")

    async def many() -> None:
        await asyncio.gather(*(hold() for _ in range(10)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 40
    assert max(most) == 2


def test_a_loop_that_was_closed_while_waiting_holds_up_nobody() -> None:
    slots = Slots(total=1)
    assert slots.try_acquire("a")
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(slots.acquire("b"))
    loop.run_until_complete(settle())
    loop.close()
    slots.release("a")
    assert slots.try_acquire("c")
    abandoned.get_coro().close()  # type: ignore[union-attr]


async def test_waiting_for_a_slot_takes_nothing_from_the_time_of_an_attempt() -> None:
    async def slow(_: Any) -> str:
        await asyncio.sleep(0.1)
        return "slow"

    proposers = [Proposer(ScriptedLLM(slow), name=name) for name in "abcd"]
    policy = CallPolicy(timeout=0.25, retries=0)
    recipe = moa(proposers, None, layers=1, limits=Limits(in_flight=1), call=policy)
    assert not (await ask(MixtureOfAgents(recipe))).failures


async def test_waiting_for_a_slot_ends_with_the_call() -> None:
    async def hangs(_: Any) -> str:
        await asyncio.Event().wait()
        return "never"

    proposers = [Proposer(ScriptedLLM(hangs), name="hangs"), Proposer(ScriptedLLM("x"), name="x")]
    recipe = moa(proposers, None, layers=1, limits=Limits(in_flight=1), deadline=0.4, reserve=0)
    with pytest.raises(DeadlineExceeded) as raised:
        await ask(MixtureOfAgents(recipe))
    kinds = {failure.agent: (failure.kind, failure.attempts) for failure in raised.value.failures}
    assert kinds == {"hangs": (FailureKind.TIMEOUT, 1), "x": (FailureKind.TIMEOUT, 0)}


async def test_a_straggler_that_waits_for_a_slot_leaves_it_to_others() -> None:
    release = asyncio.Event()

    async def slow(_: Any) -> str:
        await release.wait()
        return "slow"

    first = ScriptedLLM(slow, model="first")
    limits = Limits(in_flight=1)
    recipe = moa([first, ScriptedLLM("second")], ScriptedLLM("end"), layers=1, limits=limits)
    mixture = MixtureOfAgents(recipe)
    running = asyncio.ensure_future(ask(mixture))
    await settle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    release.set()
    assert (await asyncio.wait_for(ask(mixture), 10)).answer == "end"


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"Limits\.in_flight"):
        Limits(in_flight=0)
    with pytest.raises(RecipeError, match=r"Limits\.per_endpoint"):
        Limits(per_endpoint=0)


# --- requests and tokens per minute --------------------------------------------------------------


async def test_tokens_per_minute_hold_calls_back() -> None:
    limiter = TokenBucketRateLimiter(tokens_per_minute=6000)
    llms = [with_limiter(ScriptedLLM("x"), limiter) for _ in range(3)]
    proposers = [Proposer(llm, name=f"p{i}") for i, llm in enumerate(llms)]
    mixture = MixtureOfAgents(moa(proposers, None, layers=1, max_tokens=2990))
    started = time.perf_counter()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ask(mixture), 0.5)
    assert time.perf_counter() - started < 5
    assert sum(len(llm.asked) for llm in llms) < 3, "6000 are not enough for three calls of 3000"


async def test_a_request_that_is_larger_than_the_limit_goes_through_alone() -> None:
    llm = with_limiter(ScriptedLLM("x"), TokenBucketRateLimiter(tokens_per_minute=100))
    mixture = MixtureOfAgents(moa([llm], None, layers=1, max_tokens=5000))
    assert (await asyncio.wait_for(ask(mixture), 10)).answer == "x"


async def test_requests_per_minute_are_not_counted_twice() -> None:
    limiter = TokenBucketRateLimiter(requests_per_minute=6)
    llm = with_limiter(ScriptedLLM("x"), limiter)
    recipe = moa([Proposer(llm, name=f"p{i}") for i in range(6)], None, layers=1)
    result = await asyncio.wait_for(ask(MixtureOfAgents(recipe)), 10)
    assert len(result.proposals) == 6


async def test_a_rate_limiter_that_breaks_is_a_failure_of_the_call() -> None:
    class Broken(Recording):
        async def async_acquire(self, num_tokens: int = 0) -> None:
            raise ConnectionError(f"no redis for {num_tokens} tokens")

    recipe = moa([with_limiter(ScriptedLLM("x"), Broken()), ScriptedLLM("y")], None, layers=1)
    result = await ask(MixtureOfAgents(replace(recipe, call=CallPolicy(retries=0))))
    assert [failure.kind for failure in result.failures] == [FailureKind.CONNECTION]
