"""Corrects what providers send in place of the answer that was requested. Pure.

They send an error with status 200, an error inside a choice, ``"choices": null``, or a whole answer in place of a
stream. The SDKs and LlamaIndex's classes take all of these for answers, or fail at them in words of their own.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

LONGEST_ERROR = 2**16
"""The number of bytes of an error's body that are read."""

_ANSWERS = ("choices", "output", "content", "candidates")
"""The fields in which providers send answers. A body with one of them is an answer, even with an "error" field."""
_WORDS = re.compile(rb'"error"|"(?:message|detail)"\s*:\s*"')
"""Marks a body that is no answer. In an answer, "message" is an object."""
_MESSAGE = re.compile(rb'"message"\s*:\s*\{')


def error_in(content: bytes) -> Mapping[str, Any] | None:
    """Find an error that was sent in place of an answer: as JSON, or as the first event of a stream.

    Args:
        content: the body of a whole answer, or the beginning of a stream.

    Returns:
        The body that holds the error; None if there is no error.
    """
    text = content.strip()
    if len(text) > LONGEST_ERROR or not _WORDS.search(text):
        return None
    events = [line[5:] for line in text.splitlines() if line.startswith(b"data:")]
    body = _read(events[0] if events else text)
    if body is None:
        return None
    if error := _error_in_choice(body):
        return {"error": error}
    is_error = bool(body.get("error")) or "error" in (body.get("object"), body.get("type"))
    is_error |= any(isinstance(body.get(name), str) for name in ("message", "detail"))
    return body if is_error and not any(map(body.get, _ANSWERS)) else None


def corrected_events(lines: bytes, retry_after: str | None) -> bytes:
    """Correct the events of a stream: an error stands at the top of its event, and there are always choices.

    Args:
        lines: whole lines of the stream.
        retry_after: the response's Retry-After header. An error in a stream has no headers, so it becomes a field.
    """
    # Nearly all lines hold none of these marks and need not be parsed.
    if not any(mark in lines for mark in _MARKS):
        return lines
    return b"".join(_corrected(line, retry_after) for line in lines.splitlines(keepends=True))


_MARKS = (b'"error"', b'"message"', b'"choices":null', b'"choices": null')


def _corrected(line: bytes, retry_after: str | None) -> bytes:
    name, _, data = line.partition(b":")
    body = _read(data) if name == b"data" else None
    if body is None:
        return line
    if error := body.get("error") or _error_in_choice(body):
        body.pop("choices", None)
        if retry_after and isinstance(error, dict):
            error = {"retry_after": retry_after, **cast("dict[str, Any]", error)}
        body["error"] = error
    elif body.get("choices", ()) is None:
        body["choices"] = []
    elif _is_whole(body):
        body = _streamed(body)
    else:
        return line
    return b"data: " + json.dumps(body).encode() + b"\n"


def holds_message(content: bytes) -> bool:
    """Whether a body looks like a whole chat completion."""
    return b'"choices"' in content and _MESSAGE.search(content) is not None


def as_events(content: bytes) -> bytes:
    """A whole chat completion as the events of a stream.

    Args:
        content: the chat completion, as JSON.

    Returns:
        One event with everything, and the end of the stream. The content itself if it is no chat completion.
    """
    body = _read(content)
    if body is None or not _is_whole(body):
        return content
    return b"data: " + json.dumps(_streamed(body)).encode() + b"\n\ndata: [DONE]\n\n"


def _is_whole(body: Mapping[str, Any]) -> bool:
    choices: Any = body.get("choices")
    return isinstance(choices, list) and all(
        isinstance(one, dict) and "message" in one
        for one in choices  # type: ignore[reportUnknownVariableType]
    )


def _streamed(body: Mapping[str, Any]) -> dict[str, Any]:
    chunks = [_chunk(one) for one in body["choices"]]
    return {**body, "object": "chat.completion.chunk", "choices": chunks}


def _chunk(choice: dict[str, Any]) -> dict[str, Any]:
    delta: dict[str, Any] = dict(choice.get("message") or {})
    # Readers of a stream join the pieces of a tool call by its index, which whole answers lack.
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    rest = {name: value for name, value in choice.items() if name != "message"}
    return {**rest, "delta": delta}


def _error_in_choice(body: Mapping[str, Any]) -> Any:
    choices = body.get("choices")
    first: Any = choices[0] if isinstance(choices, list) and choices else None  # type: ignore[reportUnknownVariableType]
    return first.get("error") if isinstance(first, dict) else None  # type: ignore[reportUnknownVariableType]


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None
