"""Cuts references to the room for them: the longest first, at the end of a line or a sentence. Pure."""

import re
from collections.abc import Callable, Sequence

MARK = " [... cut to fit the context window]"
"""Marks the end of a reference that was cut."""

_END = re.compile(r"\n|[.!?\u2026][\"')\]]*(?=\s)|[\u3002\uff01\uff1f]")


def fit(texts: Sequence[str], room: int, count: Callable[[str], int]) -> tuple[str, ...]:
    """Cut texts until all of them fit.

    Args:
        texts: the texts.
        room: the number of tokens for all of them together.
        count: returns the number of tokens of a text.

    Returns:
        The texts in the same order, the longest ones cut. A text without any room left is "".
    """
    sizes = [count(text) for text in texts]
    most = level(sizes, room)
    return tuple(
        text if size <= most else cut(text, most, count)
        for text, size in zip(texts, sizes, strict=True)
    )


def level(sizes: Sequence[int], room: int) -> int:
    """Find the size to which the longest texts must be cut.

    Args:
        sizes: the sizes of the texts.
        room: the size for all of them together.

    Returns:
        The largest size per text with which all fit. Texts that are shorter stay whole.
    """
    left, most = max(room, 0), max(sizes, default=0)
    for position, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return most


def cut(text: str, room: int, count: Callable[[str], int]) -> str:
    """Cut a text.

    Args:
        text: the text.
        room: the number of tokens for the result.
        count: returns the number of tokens of a text.

    Returns:
        The beginning of the text, and ``MARK``; "" if not even one word and the mark fit.
    """
    length = len(text)
    size = max(1, count(text))
    while length > 0:
        length = min(int(length * room / size), length - 1)
        piece = _to_an_end(text[: max(length, 0)])
        if not piece:
            return ""
        shorter = piece + MARK
        size = count(shorter)
        if size <= room:
            return shorter
        length = len(piece)
    return ""


def _to_an_end(piece: str) -> str:
    """The piece up to the last end of a line or sentence in its second half; without one, up to the last word's end."""
    half = len(piece) // 2
    ends = [found.end() for found in _END.finditer(piece, half)]
    if ends:
        return piece[: ends[-1]].rstrip()
    space = piece.rfind(" ", half)
    return piece[: space if space > 0 else len(piece)].rstrip()
