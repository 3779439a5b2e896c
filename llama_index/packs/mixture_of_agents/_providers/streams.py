"""Reads a streamed answer to its end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ChatResponse

from llama_index.packs.mixture_of_agents.events import Usage

from .characters import mended_response
from .responses import finish_reason
from .thinking import Speech
from .usage import latest, read_usage

OnChunk = Callable[[str, ChatResponse], Awaitable[None]]
"""Takes a piece of text and the chunk it came in. It returns when its reader has room for more."""
_TAIL = 3
"""How many last chunks of a stream (and its first) are searched for usage and a finish reason: a provider may send
these apart, and looking into every chunk takes as long as making it."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A streamed answer.

    Attributes:
        text: as the deltas said it; what integrations accumulate in ``message`` is not always right.
        last: the last chunk, or None.
        finish_reason: why it stopped; "" for no word on that.
        usage: the tokens that the provider reported, or None.
    """

    text: str
    last: ChatResponse | None
    finish_reason: str
    usage: Usage | None


async def heard(
    chunks: AsyncIterator[ChatResponse], on_chunk: OnChunk, ends: list[ChatResponse]
) -> Streamed:
    """Hear a stream to its end, and close it.

    Args:
        chunks: the stream.
        on_chunk: awaited with each new piece of text that is no thinking, and the chunk it came in. The provider's socket
            is not read meanwhile.
        ends: takes its first chunk and its last ones; empty as long as nothing was heard.
    """
    speech = Speech()
    try:
        async for chunk in chunks:
            ends[1:] = [*ends[1:][1 - _TAIL :], chunk]
            await on_chunk(speech.hear(chunk.delta or "", chunk.raw), chunk)
        if ends and (held_back := speech.rest()):
            await on_chunk(held_back, ends[-1])
    finally:
        close = getattr(chunks, "aclose", None)
        if close:
            await close()
    return _streamed(speech.whole, ends)


def _streamed(text: str, ends: Sequence[ChatResponse]) -> Streamed:
    reasons = [reason for chunk in ends if (reason := finish_reason(chunk.raw))]
    usage: Usage | None = None
    for chunk in ends:
        usage = latest(usage, read_usage(chunk))
    last, reason = mended_response(ends[-1]) if ends else None, reasons[-1] if reasons else ""
    return Streamed(text, last, reason, usage)
