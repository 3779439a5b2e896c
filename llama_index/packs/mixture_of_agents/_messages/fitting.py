"""References cut fairly to the room there is for them: the longest first, at the end of a line or a sentence. Pure."""

import re
from collections.abc import Callable, Sequence

MARK = " [... cut to fit the context window]"
"""What stands at the end of a reference that was cut."""

_END = re.compile(r"\n|[.!?\u2026][\"')\]]*(?=\s)|[\u3002\uff01\uff1f]")


def fit(texts: Sequence[str], room: int, count: Callable[[str], int]) -> tuple[str, ...]:
    """Cut texts until they have room.

    Args:
        texts: the texts.
        room: tokens that all of them may have together.
        count: how many tokens a text has.

    Returns:
        As many texts, in the same order, none longer than it was; a text for which no room is left is "".
    """
    sizes = [count(text) for text in texts]
    most = level(sizes, room)
    return tuple(
        text if size <= most else cut(text, most, count)
        for text, size in zip(texts, sizes, strict=True)
    )


def level(sizes: Sequence[int], room: int) -> int:
    """The largest size that all may have so that they have room together: only what is longer is cut."""
    left, most = max(room, 0), max(sizes, default=0)
    for position, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - position)
        if size > share:
            return share
        left -= size
    return most


def cut(text: str, room: int, count: Callable[[str], int]) -> str:
    """A text's beginning that has room together with the mark; "" where there is none for a word and the mark."""
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
    """The piece up to its last line's, sentence's or, failing these, word's end in its second half."""
    half = len(piece) // 2
    ends = [found.end() for found in _END.finditer(piece, half)]
    if ends:
        return piece[: ends[-1]].rstrip()
    space = piece.rfind(" ", half)
    return piece[: space if space > 0 else len(piece)].rstrip()
