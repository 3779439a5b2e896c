"""A streamed answer, heard to its end."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatResponse

from llama_index.packs.mixture_of_agents.events import Usage

from .responses import finish_reason
from .usage import latest, read_usage

OnChunk = Callable[[str, ChatResponse], None]
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
        on_chunk: called with each new piece of text that is no thinking, and the chunk it came in.
        ends: takes its first chunk and its last ones; empty as long as nothing was heard.
    """
    speech = Speech()
    try:
        async for chunk in chunks:
            ends[1:] = [*ends[1:][1 - _TAIL :], chunk]
            on_chunk(speech.hear(chunk.delta or "", chunk.raw), chunk)
        if ends and (held_back := speech.rest()):
            on_chunk(held_back, ends[-1])
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
    last, reason = ends[-1] if ends else None, reasons[-1] if reasons else ""
    return Streamed(text, last, reason, usage)


_OPENING = re.compile(r"\s*<think(?:ing)?>")
_CLOSING = re.compile(r"</think(?:ing)?>\s*")
_MAY_OPEN = re.compile(r"\s*(?:<(?:t(?:h(?:i(?:n(?:k(?:i(?:n(?:g)?)?)?)?)?)?)?)?)?\Z")


class Speech:
    """One streamed answer, heard piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._held = ""
        self._begins = True
        self._thinks = False
        self._has_thought = False

    @property
    def whole(self) -> str:
        """All of it, with the thinking in ``<think>`` tags."""
        return "".join(self._pieces)

    def hear(self, piece: str, raw: Any = None) -> str:
        """What of a further piece is said aloud.

        Args:
            piece: the piece.
            raw: what the LLM class took it from. LlamaIndex's MistralAI class streams thinking as if it were text,
                and hands on the content chunk that it took it from, whose type tells.
        """
        thinks = getattr(raw, "type", None) == "thinking"
        if thinks != self._thinks:
            self._thinks = thinks
            self._pieces.append("<think>" if thinks else "</think>")
        self._pieces.append(piece)
        if thinks:
            return ""
        if not self._begins:
            return piece
        self._held += piece
        return self._behind_tags()

    def rest(self) -> str:
        """What was held back to the end, since it could have become a tag."""
        held, self._held = self._held, ""
        return "" if _OPENING.match(held) else held

    def _behind_tags(self) -> str:
        """What stands behind the tags at the beginning, once it is clear that no more of them are to come."""
        while _OPENING.match(self._held):
            closed = _CLOSING.search(self._held)
            if not closed:
                return ""
            self._held = self._held[closed.end() :]
            self._has_thought = True
        if _MAY_OPEN.match(self._held):
            return ""
        said = self._held.lstrip() if self._has_thought else self._held
        self._held, self._begins = "", False
        return said
