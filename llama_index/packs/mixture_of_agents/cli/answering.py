"""A mixture's answer to a conversation, shown as it comes."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents.llm import RESULT_KEY, MixtureOfAgents
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .screen import Screen
from .writer import Writer


def conversation(system: str | None, question: str) -> list[ChatMessage]:
    """A question with its system prompt, where there is one."""
    before = [ChatMessage(role="system", content=system)] if system else []
    return [*before, ChatMessage(role="user", content=question)]


async def answer(
    mixture: MixtureOfAgents,
    messages: Sequence[ChatMessage],
    screen: Screen,
    *,
    write: bool = True,
    hear: Callable[[str], object] = lambda _: None,
) -> MixtureResult:
    """Ask; the answer's pieces go to standard output as they come.

    Args:
        mixture: whom to ask.
        messages: the conversation.
        screen: where the run is shown.
        write: whether to write the answer.
        hear: told each piece of the answer.

    Raises:
        RunError: there is no answer.
    """
    result: MixtureResult | None = None
    with Writer() as writer, screen.watching(mixture):
        stream = await mixture.astream_chat(messages)
        async with aclosing(stream):
            async for chunk in stream:
                carried: Any = chunk.additional_kwargs  # type: ignore[reportUnknownMemberType]
                result = carried.get(RESULT_KEY, result)
                if chunk.delta:
                    hear(chunk.delta)
                    if write:
                        screen.clear()
                        writer.write(chunk.delta)
    assert result is not None, "the last chunk carries the result"
    return result
