"""Answers whose content is a list of parts, as Mistral's reasoning models send them, made the text that it stands for.

LlamaIndex's OpenAI class, and MistralAI's for models that it does not know, read text alone.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

_LIST = re.compile(rb'"content"\s*:\s*\[|"refusal"\s*:\s*"[^"]')


class PlainText:
    """Rewrites an answer, or the lines of a stream: thinking as text in ``<think>`` tags, further parts as their text."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._thinks = False

    def body(self, content: bytes) -> bytes:
        """A whole answer, as JSON."""
        return self._rewritten(content, "message") if _LIST.search(content) else content

    def feed(self, piece: bytes) -> bytes:
        """The whole lines of a stream up to now; the rest is held back until its line ends."""
        before, end, rest = piece.rpartition(b"\n")
        if not end:
            self._line.append(piece)
            return b""
        text = b"".join([*self._line, before, end])
        self._line = [rest] if rest else []
        if not (self._thinks or _LIST.search(text)):
            return text
        return b"".join(self._event(line) for line in text.splitlines(keepends=True))

    def rest(self) -> bytes:
        """What has been held back."""
        return b"".join(self._line)

    def _event(self, line: bytes) -> bytes:
        name, colon, data = line.partition(b":")
        if name != b"data" or not colon:
            return line
        text = self._rewritten(data, "delta")
        return line if text is data else b"data: " + text + b"\n"

    def _rewritten(self, text: bytes, place: str) -> bytes:
        try:
            said: Any = json.loads(text)
            choices = cast("list[dict[str, Any]]", said["choices"])
            told = [choice[place] for choice in choices if isinstance(choice.get(place), dict)]
        except (ValueError, KeyError, TypeError, AttributeError):
            return text
        for message in told:
            content = message.get("content")
            if content is None and message.get("refusal"):
                content = ""  # LlamaIndex's OpenAI class leaves out chunks without content
            message["content"] = self._text(content)
        return json.dumps(said).encode()

    def _text(self, content: Any) -> Any:
        parts = cast("list[Any]", content) if isinstance(content, list) else [content]
        if not isinstance(content, (list, str)):
            return content
        return "".join(map(self._part, parts))

    def _part(self, part: Any) -> str:
        is_mapping = isinstance(part, Mapping)
        thinking: Any = cast("Mapping[str, Any]", part).get("thinking") if is_mapping else None
        text = _words(thinking or part)
        if not text or bool(thinking) == self._thinks:
            return text
        self._thinks = bool(thinking)
        return f"<think>{text}" if thinking else f"</think>{text}"


def _words(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(map(_words, cast("list[Any]", part)))
    return _words(part.get("text") or "") if isinstance(part, Mapping) else ""  # type: ignore[reportUnknownArgumentType]
