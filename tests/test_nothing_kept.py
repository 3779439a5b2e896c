"""A run that is over leaves nothing: no task, and no memory for the garbage collector to find later."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.recipe import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

ASKED = [ChatMessage(role="user", content="Why?")]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def gone(_: object) -> None:
    raise ConnectionError("gone")


async def whole(mixture: MixtureOfAgents) -> ChatResponse:
    return await mixture.achat(ASKED)


async def streamed(mixture: MixtureOfAgents) -> ChatResponse:
    return [chunk async for chunk in await mixture.astream_chat(ASKED)][-1]


async def blocking(mixture: MixtureOfAgents) -> ChatResponse:
    return mixture.chat(ASKED)


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
