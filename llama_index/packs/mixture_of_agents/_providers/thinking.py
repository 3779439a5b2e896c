"""Separates a model's thinking from its text, where the model writes it in ``<think>`` or ``<thinking>`` tags.

One rule holds for every answer: thinking stands at the beginning. Usually a tag opens it there. Some servers put the
opening tag into the prompt, so that only the closing tag is in the text. Such a closing tag must end its paragraph or
stand on a line of its own. A tag that is quoted, in code, or in the middle of an answer is text.
"""

import re
from typing import Any

from .characters import mended

_OPENING = re.compile(r"(?<!\s)\s*<think(?:ing)?>")  # looking back keeps a search of blanks linear
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


class ThinkingFilter:
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

    def feed(self, piece: str, raw: Any = None) -> str:
        """Take a further piece.

        Args:
            piece: the piece.
            raw: the provider's chunk. LlamaIndex's MistralAI class streams thinking as if it were text; the type of
                this chunk shows which it is.

        Returns:
            The text that can be shown now. It may be empty, and may begin with text held back from earlier pieces.
        """
        # ``getattr`` would take long to find that a chunk of OpenAI's SDK has no type.
        if getattr(raw, "__dict__", {}).get("type") == "thinking":
            return ""
        piece = self._half + piece
        # The two halves of a surrogate pair may arrive in two pieces.
        self._half = piece[-1:] if "\ud800" <= piece[-1:] <= "\udbff" else ""
        return self._take(mended(piece.removesuffix(self._half)))

    def rest(self) -> str:
        """Return the text that was held back because it could have become a tag."""
        last = self._take(mended(self._half)) if self._half else ""
        held = "" if self._thinks else "".join(self._spaces) + self._held
        self._half = self._held = ""
        self._spaces.clear()
        return last + held

    def _take(self, piece: str) -> str:
        self._pieces.append(piece)
        return piece if self._answers else self._behind_tags(self._held + piece)

    def _behind_tags(self, text: str) -> str:
        """The text after the tags at the beginning; "" while another tag may follow."""
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
        shown = "".join(self._spaces) + start
        self._spaces.clear()
        self._held, self._answers = "", True
        return shown


def _last_tag(text: str) -> str:
    """The end of a text that may become a closing tag, and the character before it."""
    begin = text.rfind("<")
    return text[max(0, begin - 1) :] if 0 <= begin >= len(text) - _LONGEST_TAG else text[-1:]
