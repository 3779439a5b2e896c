"""Numbers of tokens: an upper bound, which costs almost nothing, and an exact count, which takes time."""

from collections.abc import Iterable, Sequence

from llama_index.core.base.llms.types import ChatMessage, TextBlock

from .prompts import text_of

_PER_MESSAGE = 8
"""Tokens that a message costs besides its text. No known chat template takes more."""
_PER_BLOCK = 1500
"""Assumed tokens of an image, a document or a sound. No provider tells the number in advance."""


def count_tokens(text: str) -> int:
    """Count a text's tokens with LlamaIndex's global tokenizer (tiktoken, unless the user set another)."""
    from llama_index.core.utils import get_tokenizer  # type: ignore[reportUnknownVariableType]

    return len(get_tokenizer()(text)) if text else 0  # type: ignore[reportUnknownArgumentType]


def most_tokens(texts: Iterable[str]) -> int:
    """An upper bound for the tokens of texts: no tokenizer makes more tokens than there are bytes."""
    return sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts
    )


def tokens_of(messages: Sequence[ChatMessage]) -> int:
    """Count the tokens of messages."""
    return sum(count_tokens(text_of(message)) for message in messages) + _beside_text(messages)


def most_tokens_of(messages: Sequence[ChatMessage]) -> int:
    """An upper bound for the tokens of messages."""
    return most_tokens(map(text_of, messages)) + _beside_text(messages)


def _beside_text(messages: Sequence[ChatMessage]) -> int:
    blocks = sum(
        not isinstance(block, TextBlock) for message in messages for block in message.blocks
    )
    return _PER_MESSAGE * len(messages) + _PER_BLOCK * blocks
