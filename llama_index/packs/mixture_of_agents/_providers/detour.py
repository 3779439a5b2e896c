"""Another way to send requests to LLMs than directly. Without a detour, nothing of it is imported or made."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from .callbacks import method_to_await
from .characters import mended_response


class Detour(Protocol):
    """Another way to send requests to LLMs: through their providers' batch APIs."""

    def stand_in(self, llm: LLM) -> LLM | None:
        """The LLM to use instead; None to use the LLM itself. It awaits the answer to its request by ``answer_to``.

        A mixture is asked directly: its members take the detour.
        """
        ...

    def directly(self) -> AbstractAsyncContextManager[None]:
        """A context for one request to an LLM itself."""
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


def chat_by_detour(
    detour: Detour,
    llm: LLM,
    messages: Sequence[ChatMessage],
    parameters: dict[str, Any],
    ask: Callable[[], Coroutine[Any, Any, ChatResponse]],
) -> Coroutine[Any, Any, ChatResponse]:
    """Ask an LLM by a detour, or directly if the detour does not take it.

    Args:
        detour: the detour.
        llm: the LLM.
        messages: the conversation.
        parameters: keyword arguments of the request.
        ask: makes the request directly.

    Returns:
        A coroutine that returns the response.
    """
    stand_in = detour.stand_in(llm)
    return (
        _asked_directly(detour, ask)
        if stand_in is None
        else _late_answer(stand_in, messages, parameters)
    )


async def _asked_directly(
    detour: Detour, ask: Callable[[], Coroutine[Any, Any, ChatResponse]]
) -> ChatResponse:
    async with detour.directly():
        return await ask()


async def _late_answer(
    llm: LLM, messages: Sequence[ChatMessage], parameters: dict[str, Any]
) -> ChatResponse:
    """Ask an LLM whose requests are answered late: make the request, wait, and make it again with its answer at hand.

    So neither LlamaIndex's nor the SDK's part of a request is in memory while it waits. The first time it is made without
    LlamaIndex's callbacks, which see one request.
    """
    try:
        made = await method_to_await(llm, "achat", unheard=True)(messages, **parameters)
        return mended_response(made)
    except _Handed as handed:
        answer = handed.answer
    token = _ANSWER.set(await answer)
    try:
        return mended_response(await llm.achat(messages, **parameters))
    finally:
        _ANSWER.reset(token)
