"""A run that is over leaves nothing: no task, and no memory for the garbage collector to find later."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
from asking import QUESTION
from llama_index.core.base.llms.types import ChatResponse

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents.recipe import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def gone(_: object) -> None:
    raise ConnectionError("gone")


async def whole(mixture: MixtureOfAgents) -> ChatResponse:
    return await mixture.achat(QUESTION)


async def streamed(mixture: MixtureOfAgents) -> ChatResponse:
    return [chunk async for chunk in await mixture.astream_chat(QUESTION)][-1]


async def blocking(mixture: MixtureOfAgents) -> ChatResponse:
    return mixture.chat(QUESTION)


@pytest.mark.parametrize("ask", [whole, streamed, blocking])
async def test_the_events_of_a_run_go_with_its_response(
    ask: Callable[[MixtureOfAgents], Awaitable[ChatResponse]], no_collector: None
) -> None:
    fails_once = ScriptedLLM(gone, "B.")
    mixture = MixtureOfAgents(
        llm=ScriptedLLM("C."),
        proposers=[ScriptedLLM("A."), fails_once],
        call=CallPolicy(backoff=0),
    )
    response = await ask(mixture)
    assert len(fails_once.asked) == 3
    message = weakref.ref(response.additional_kwargs["mixture"].message)
    assert message() is not None
    del response
    await asyncio.sleep(0)  # what the loop has still to call
    assert message() is None


class Late(Exception):
    """A built-in error cannot be referred to weakly."""


async def test_what_a_thread_raises_that_nobody_waits_for_is_not_kept(no_collector: None) -> None:
    given_up, raised = threading.Event(), []

    def trouble() -> Late:
        error = Late()
        raised.append(weakref.ref(error))
        return error

    def work() -> None:
        given_up.wait(10)
        raise trouble()

    before = set(threading.enumerate())
    call = asyncio.create_task(in_thread(work))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    del call
    given_up.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    await asyncio.sleep(0)  # what the thread has told the loop
    assert [one() for one in raised] == [None]
