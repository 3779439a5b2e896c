"""Another way to send requests to LLMs than directly. Without a detour, nothing of it is imported or made."""

from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, closing
from contextvars import ContextVar
from functools import lru_cache
from inspect import getclosurevars, unwrap
from typing import Any, Protocol

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from .characters import mended_response


class Detour(Protocol):
    """Another way to send requests to LLMs: through their providers' batch APIs."""

    def asking(self, llm: LLM) -> AbstractAsyncContextManager[LLM | None]:
        """A context for one request: yields the LLM to use instead, or None to use the LLM itself.

        A mixture is asked directly: its members take the detour.

        The LLM to use instead awaits the answer to its request by ``answer_to``.
        """
        ...


DETOUR: ContextVar[Detour | None] = ContextVar("detour", default=None)
"""The detour of this context, for whole answers; None sends requests directly."""
_ANSWER: ContextVar[Any] = ContextVar("answer", default=None)
"""The answer to the next request of this context; None while it is not known."""


class _Handed(BaseException):
    """Ends the making of a request. No client takes it for a failed connection, as it might an ``Exception``."""

    def __init__(self, answer: Awaitable[Any]) -> None:
        super().__init__()
        self.answer = answer


def answer_to(answer: Awaitable[Any]) -> Any:
    """Leave the making of a request, whose answer comes later.

    Args:
        answer: Its answer, some time.
    """
    # An exception leaves the SDK's frames, so that none of its memory is held for the hours until the answer.
    raise _Handed(answer)


def known_answer() -> Any:
    """The answer to this request, if it has been made before; else None."""
    return _ANSWER.get()


async def chat_by_detour(
    detour: Detour,
    llm: LLM,
    messages: Sequence[ChatMessage],
    parameters: dict[str, Any],
    directly: Coroutine[Any, Any, ChatResponse],
) -> ChatResponse:
    """Ask an LLM by a detour, or directly if the detour does not take it.

    Args:
        detour: the detour.
        llm: the LLM.
        messages: the conversation.
        parameters: keyword arguments of the request.
        directly: makes the request directly. It is closed if it is not needed.

    Returns:
        The response.
    """
    with closing(directly):
        async with detour.asking(llm) as stand_in:
            if stand_in is None:
                return await directly
            return mended_response(await _late_answer(stand_in, messages, parameters))


async def _late_answer(
    llm: LLM, messages: Sequence[ChatMessage], parameters: dict[str, Any]
) -> ChatResponse:
    """Ask an LLM whose requests are answered late: make the request, wait, and make it again with its answer at hand.

    So neither LlamaIndex's nor the SDK's part of a request is in memory while it waits. The first time it is made without
    LlamaIndex's callbacks, which see one request.
    """
    try:
        return await _without_callbacks(type(llm))(llm, messages, **parameters)
    except _Handed as handed:
        answer = handed.answer
    token = _ANSWER.set(await answer)
    try:
        return await llm.achat(messages, **parameters)
    finally:
        _ANSWER.reset(token)


@lru_cache
def _without_callbacks(kind: type[LLM]) -> Any:
    """A class's ``achat`` inside LlamaIndex's decorators; as it is, if they are not those that are known here."""
    method: Any = unwrap(kind.achat)
    return getclosurevars(method).nonlocals.get("f", method)
