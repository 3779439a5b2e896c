"""How many tokens a text has: at most, for nothing; or counted, where that is needed."""

from collections.abc import Iterable


def most_tokens(texts: Iterable[str]) -> int:
    """An upper bound, almost for free: no tokenizer makes more tokens of a text than it has bytes."""
    return sum(
        len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts
    )


def count_tokens(text: str) -> int:
    """The tokens of a text, by LlamaIndex's global tokenizer (tiktoken, unless the user set another)."""
    from llama_index.core.utils import get_tokenizer  # type: ignore[reportUnknownVariableType]

    return len(get_tokenizer()(text))  # type: ignore[reportUnknownArgumentType]
