"""How many tokens a text or a conversation has: at most, for almost nothing; or counted, where that is needed."""

from collections.abc import Iterable, Sequence

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from .prompts import text_of

_PER_MESSAGE = 8
"""Tokens that a message costs beside its text; no chat template known takes more."""
_PER_BLOCK = 1500
"""Tokens that an image, a document or a sound is taken to cost; nobody says before."""


def count_tokens(text: str) -> int:
    """The tokens of a text, by LlamaIndex's global tokenizer (tiktoken, unless the user set another)."""
    from llama_index.core.utils import get_tokenizer  # type: ignore[reportUnknownVariableType]

    return len(get_tokenizer()(text)) if text else 0  # type: ignore[reportUnknownArgumentType]


def most_tokens(texts: Iterable[str]) -> int:
    """At most so many tokens have these texts: no tokenizer makes more of a text than it has bytes."""
    return sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts
    )


def tokens_of(messages: Sequence[ChatMessage]) -> int:
    """The tokens of messages, counted."""
    return sum(count_tokens(text_of(message)) for message in messages) + _beside_text(messages)


def most_tokens_of(messages: Sequence[ChatMessage]) -> int:
    """At most so many tokens have these messages."""
    return most_tokens(map(text_of, messages)) + _beside_text(messages)


def _beside_text(messages: Sequence[ChatMessage]) -> int:
    blocks = sum(
        not isinstance(block, TextBlock) for message in messages for block in message.blocks
    )
    return _PER_MESSAGE * len(messages) + _PER_BLOCK * blocks
