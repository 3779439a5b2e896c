"""Reads a streamed answer to its end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ChatResponse

from llama_index.packs.mixture_of_agents.events import Usage

from .characters import mended_response
from .responses import INCOMPLETE, finish_reason, is_refusal
from .thinking import ThinkingFilter
from .usage import latest, read_usage

OnChunk = Callable[[str, ChatResponse], Awaitable[None]]
"""Takes a piece of text and the chunk it came in. It returns when its reader has room for more."""
_TAIL = 3
"""The first chunk of a stream and so many last ones are searched for usage and a finish reason. A provider may send
these in different chunks; to search every chunk would take as long as to make it."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A streamed answer.

    Attributes:
        text: the joined deltas. The text that integrations accumulate in ``message`` is not always right.
        last: the last chunk; None if there was none.
        finish_reason: the provider's word for why it stopped; "" if it gave none, or ``INCOMPLETE``.
        usage: the tokens that the provider reported, or None.
    """

    text: str
    last: ChatResponse | None
    finish_reason: str
    usage: Usage | None


async def read_stream(
    chunks: AsyncIterator[ChatResponse],
    on_chunk: OnChunk,
    ends: list[ChatResponse],
    *,
    gives_reason: bool = False,
) -> Streamed:
    """Read a stream to its end, and close it.

    Args:
        chunks: the stream.
        on_chunk: awaited with each new piece of text that is no thinking, and its chunk. The stream is not read
            meanwhile.
        ends: a list, which receives the first chunk and the last ones. It stays empty until a chunk arrives.
        gives_reason: whether the provider's protocol promises a finish reason. A stream without one has broken off.
    """
    text = ThinkingFilter()
    try:
        async for chunk in chunks:
            # The first chunk stays, and the last few.
            ends[1:] = [*ends[1:][1 - _TAIL :], chunk]
            await on_chunk(text.feed(chunk.delta or "", chunk.raw), chunk)
        if ends and (held_back := text.rest()):
            await on_chunk(held_back, ends[-1])
    finally:
        # Not every LLM class returns an async generator.
        close = getattr(chunks, "aclose", None)
        if close:
            await close()
    return _streamed(text.whole, ends, INCOMPLETE if gives_reason else "")


def _streamed(text: str, ends: Sequence[ChatResponse], otherwise: str) -> Streamed:
    reasons = [reason for chunk in ends if (reason := finish_reason(chunk.raw))]
    usage: Usage | None = None
    for chunk in ends:
        usage = latest(usage, read_usage(chunk))
    # A stream without text is an empty answer, which is asked for again, and not an incomplete one.
    reason = reasons[-1] if reasons else otherwise if text else ""
    if not text and any(is_refusal(chunk.raw) for chunk in ends):
        reason = "refusal"
    return Streamed(text, mended_response(ends[-1]) if ends else None, reason, usage)
