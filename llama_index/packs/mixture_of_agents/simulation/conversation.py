"""Reads a request: the texts of its messages, and the references in its prompt."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

MARKER = "Responses from models:"
_NUMBERED = re.compile(r"^(\d+)\. ", re.MULTILINE)


def messages_of(body: Json) -> list[Json]:
    """The messages of a chat request, or the prompt of a completion request as one message."""
    prompt = body.get("prompt")
    if prompt is not None:
        return [{"role": "user", "content": prompt if isinstance(prompt, str) else str(prompt)}]
    return body.get("messages") or []


def text_of(message: Json) -> str:
    """The text of a message. Its content may be a string or a list of blocks."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks: list[Json] = content or []
    return "\n".join(block["text"] for block in blocks if block.get("type") == "text")


def last_user_text(messages: list[Json]) -> str:
    """The text of the last user message; "" if there is none."""
    return next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")


def references_in(messages: list[Json]) -> list[str] | None:
    """Read the references of an aggregate-and-synthesize prompt.

    They follow "Responses from models:" in a system message or in the last user message, as
    "1. ...", "2. ...". The numbers must be consecutive: a numbered list within a reference is
    taken for the next reference only if it continues with exactly that number.

    Returns:
        The references; None without such a prompt.
    """
    texts = [text_of(m) for m in messages if m.get("role") in ("system", "developer")]
    for text in [*texts, last_user_text(messages)]:
        if MARKER in text:
            return _split(text.rpartition(MARKER)[2])
    return None


def count_tokens(text: str) -> int:
    """Count tokens as this simulation does: by words."""
    return len(text.split())


def _split(text: str) -> list[str]:
    starts: list[tuple[int, int]] = []
    for match in _NUMBERED.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append((match.start(), match.end()))
    ends = [start for start, _ in starts[1:]] + [len(text)]
    return [text[begin:end].strip() for (_, begin), end in zip(starts, ends, strict=False)]
