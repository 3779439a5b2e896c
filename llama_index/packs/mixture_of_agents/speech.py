"""What of a streamed answer is said aloud: not the thinking, which some models stream before it. Pure."""

import re
from typing import Any

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
