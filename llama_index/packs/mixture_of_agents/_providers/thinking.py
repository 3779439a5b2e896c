"""Thinking that a model writes into its text, in ``<think>`` or ``<thinking>`` tags.

One rule for every answer: thinking stands at the beginning. Either a tag opens it there, or only its closing tag is
in the text, because the server put the opening one into the prompt. A closing tag without an opening one must end its
paragraph or stand on a line of its own. A tag that is quoted, in code, or in the middle of an answer is text.
"""

import re
from typing import Any

from .characters import mended

_OPENING = re.compile(r"\s*<think(?:ing)?>")
_CLOSING = re.compile(r"""(?<![`'"])</think(?:ing)?>(?![`'"])""")
_LONGEST_TAG = len("</thinking>")
_MARKS = re.compile(
    r"(?P<fence>```|~~~)|(?P<opening><think(?:ing)?>)"
    r"|^[ \t]*(?P<closing></think(?:ing)?>)[ \t\r]*$"
    r"""|(?<![\s`'"])</think(?:ing)?>(?=[ \t\r]*(?:\n\s*\n|\s*\Z))""",
    re.MULTILINE,
)


def split_thinking(text: str) -> tuple[str, str]:
    """Split an answer into its thinking and the rest.

    Args:
        text: the whole text of an answer.

    Returns:
        The thinking without its tags, and the text without its thinking; both stripped.
    """
    thoughts: list[str] = []
    end = 0
    while opening := _OPENING.match(text, end):
        closing = _CLOSING.search(text, opening.end())
        end = closing.end() if closing else len(text)
        thoughts.append(text[opening.end() : closing.start() if closing else end].strip())
    if not end and (closing := _unopened_closing(text)):
        thoughts.append(text[: closing.start()].strip())
        end = closing.end()
    return "".join(thoughts), text[end:].strip()


def _unopened_closing(text: str) -> re.Match[str] | None:
    """The closing tag of thinking whose opening tag is not in the text."""
    if "</think" not in text:
        return None
    in_code = False
    for mark in _MARKS.finditer(text):
        if mark["fence"]:
            in_code = not in_code
        elif not in_code:
            return None if mark["opening"] else mark
    return None


class Speech:
    """Separates the text of a stream from its thinking, piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""
        self._spaces: list[str] = []
        self._held = ""
        self._answers = self._thinks = self._has_thought = False

    @property
    def whole(self) -> str:
        """The whole text, with the thinking that stands in tags."""
        return "".join(self._pieces)

    def hear(self, piece: str, raw: Any = None) -> str:
        """Take a further piece.

        Args:
            piece: the piece.
            raw: what the LLM class took it from. LlamaIndex's MistralAI class streams thinking as if it were text,
                and hands on the content chunk that it took it from, whose type tells.

        Returns:
            The text that can be shown now. It may be empty, and may hold the end of earlier pieces.
        """
        if getattr(raw, "type", None) == "thinking":
            return ""
        piece = self._half + piece
        # A character may come in two halves (a surrogate pair), in two pieces.
        self._half = piece[-1:] if "\ud800" <= piece[-1:] <= "\udbff" else ""
        return self._take(mended(piece.removesuffix(self._half)))

    def rest(self) -> str:
        """The text that was held back until the end because a tag could have followed."""
        last = self._take(mended(self._half)) if self._half else ""
        held = "" if self._thinks else "".join(self._spaces) + self._held
        self._half = self._held = ""
        self._spaces.clear()
        return last + held

    def _take(self, piece: str) -> str:
        self._pieces.append(piece)
        return piece if self._answers else self._behind_tags(self._held + piece)

    def _behind_tags(self, text: str) -> str:
        """The text behind the tags at the beginning, once it is clear that no more of them follow."""
        end = 0
        while True:
            if self._thinks:
                closing = _CLOSING.search(text, end)
                if not closing or closing.end() == len(text):
                    self._held = _last_tag(text)
                    return ""
                end, self._thinks, self._has_thought = closing.end(), False, True
            opening = _OPENING.match(text, end)
            if not opening:
                break
            end, self._thinks = opening.end(), True
            self._spaces.clear()
        start = text[end:].lstrip()
        if not self._has_thought:
            self._spaces.append(text[end : len(text) - len(start)])
        if any(tag.startswith(start) for tag in ("<think>", "<thinking>")):
            self._held = start
            return ""
        said = "".join(self._spaces) + start
        self._spaces.clear()
        self._held, self._answers = "", True
        return said


def _last_tag(text: str) -> str:
    """The end of a text that can still become a closing tag, with the character before it."""
    begin = text.rfind("<")
    return text[max(0, begin - 1) :] if 0 <= begin >= len(text) - _LONGEST_TAG else text[-1:]
