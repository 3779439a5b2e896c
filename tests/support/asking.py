"""A question, and the ways to ask it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult, Recipe

QUESTION = [ChatMessage(role="user", content="What is six times seven?")]
ALL_WAYS = ("chat", "achat", "stream_chat", "astream_chat")
in_every_way = pytest.mark.parametrize("way", ALL_WAYS)
sync_and_async = pytest.mark.parametrize("way", ["chat", "achat"])
whole_and_streamed = pytest.mark.parametrize("way", ["achat", "astream_chat"])


async def respond(
    llm: LLM, way: str = "achat", asked: str | Sequence[ChatMessage] = QUESTION, **settings: Any
) -> ChatResponse:
    """Call the LLM's method of that name, a sync one in a thread.

    Returns:
        The response; of a stream the last one, whose text is that of the pieces together.
    """
    method = getattr(llm, way)
    messages = [ChatMessage(content=asked)] if isinstance(asked, str) else asked
    if way == "chat":
        return await asyncio.to_thread(method, messages, **settings)
    if way == "achat":
        return await method(messages, **settings)
    if way == "stream_chat":
        chunks = await asyncio.to_thread(lambda: list(method(messages, **settings)))
    else:
        chunks = [chunk async for chunk in await method(messages, **settings)]
    whole = chunks[-1].message.content or ""
    assert "".join(chunk.delta or "" for chunk in chunks) == whole
    return chunks[-1]


async def ask(
    mixture: MixtureOfAgents | Recipe,
    way: str = "achat",
    asked: str | Sequence[ChatMessage] = QUESTION,
    **settings: Any,
) -> MixtureResult:
    """The result of a run that ``respond`` starts."""
    llm = MixtureOfAgents(mixture) if isinstance(mixture, Recipe) else mixture
    response = await respond(llm, way, asked, **settings)
    return response.additional_kwargs["mixture"]


async def stream_into(pieces: list[str], llm: LLM) -> None:
    """Add the pieces of a streamed answer as they come."""
    async for chunk in await llm.astream_chat(QUESTION):
        pieces += [chunk.delta or ""]
