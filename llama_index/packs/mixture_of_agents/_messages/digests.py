"""Content hashes. Equal conversations and settings have equal hashes, in every process."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from pydantic import BaseModel


def digest(*parts: Any) -> str:
    """Hash plain data, messages, pydantic models and functions.

    Args:
        parts: the data. A function counts by its name. An object without readable content counts by its ``str``, which
            usually differs between objects: no two of them share a digest by mistake.

    Returns:
        The first 32 hex digits of a SHA-256.
    """
    return hashlib.sha256(_ENCODER.encode(parts).encode()).hexdigest()[:32]


def conversation_digest(messages: Sequence[ChatMessage], tools: Any = None) -> str:
    """Hash a conversation: every message, and the tools that are offered."""
    return digest(list(messages), tools)


def _plain(thing: Any) -> Any:
    if isinstance(thing, ChatMessage):
        return [thing.role, thing.blocks, thing.additional_kwargs]  # type: ignore[reportUnknownMemberType]
    if isinstance(thing, BaseModel):
        return thing.model_dump(exclude_none=True)
    if isinstance(thing, (bytes, bytearray)):
        return hashlib.sha256(thing).hexdigest()
    if isinstance(thing, Enum):
        return thing.value
    if isinstance(thing, Mapping):
        return dict(thing)  # type: ignore[reportUnknownArgumentType]
    if isinstance(thing, (set, frozenset)):
        return sorted(map(str, thing))  # type: ignore[reportUnknownArgumentType]
    named = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{named}" if named else str(thing)


_ENCODER = json.JSONEncoder(default=_plain, sort_keys=True, separators=(",", ":"))
