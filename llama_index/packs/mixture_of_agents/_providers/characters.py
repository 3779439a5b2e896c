"""Replaces lone surrogates. JSON can hold such a half of a character, but no file or request can.

Every answer of an LLM passes through here once, where it enters. Each lone surrogate becomes U+FFFD.
"""

import json
import re
from typing import Any, cast

from llama_index.core.base.llms.types import ChatResponse

_TEXTS = frozenset({"text", "content", "tool_kwargs"})
"""The fields of blocks that hold what a model wrote."""
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def mended(text: str) -> str:
    """The text without surrogates: a pair becomes one character, and a lone one becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def mended_response(response: ChatResponse) -> ChatResponse:
    """Mend the text, the thinking and the tool arguments of a response.

    Args:
        response: the response; it is not changed.

    Returns:
        A mended copy; the same object if there is nothing to mend.
    """
    message = response.message
    changes = [_changes(block) for block in message.blocks]
    if not any(changes):
        return response
    blocks = [
        block.model_copy(update=change)
        for block, change in zip(message.blocks, changes, strict=True)
    ]
    mended_message = message.model_copy(update={"blocks": blocks})
    return response.model_copy(update={"message": mended_message})


def _changes(block: Any) -> dict[str, Any]:
    """The fields of a block that need mending, with their new values."""
    changes: dict[str, Any] = {}
    fields = cast("dict[str, Any]", vars(block))
    for name in _TEXTS.intersection(fields):
        value = fields[name]
        new = _mended_arguments(value) if name == "tool_kwargs" else _mended_data(value)
        if new != value:
            changes[name] = new
    return changes


def _mended_arguments(arguments: Any) -> Any:
    """Mend the arguments of a tool call: data, or JSON text. Escapes in incomplete JSON stay."""
    if not isinstance(arguments, str) or not _ESCAPED_HALF.search(arguments):
        return _mended_data(arguments)
    try:
        read = json.loads(arguments)
    except ValueError:
        return mended(arguments)
    whole = _mended_data(read)
    return arguments if whole == read else json.dumps(whole)


def _mended_data(data: Any) -> Any:
    """The data with every string in it mended."""
    if isinstance(data, str):
        return mended(data)
    if isinstance(data, dict):
        pairs = cast("dict[Any, Any]", data)
        return {_mended_data(key): _mended_data(value) for key, value in pairs.items()}
    if isinstance(data, list):
        items = cast("list[Any]", data)
        return [_mended_data(item) for item in items]
    return data
