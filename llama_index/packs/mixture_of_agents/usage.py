"""Tokens from a response, whichever provider it came from. Pure, but for the estimate's tokenizer."""

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from .events import Usage
from .prompts import text_of


def _get(thing: Any, *path: str) -> Any:
    for name in path:
        is_mapping = isinstance(thing, dict)
        thing = thing.get(name) if is_mapping else getattr(thing, name, None)
    return thing


def _count(*candidates: Any) -> int:
    return next((c for c in candidates if isinstance(c, int)), 0)


def read_usage(response: ChatResponse) -> Usage | None:
    """The usage a provider reported, without a count of requests; None where it reported none."""
    raw = response.raw
    for found in (_get(raw, "usage"), _get(raw, "data", "usage"), _get(raw, "message", "usage")):
        if _get(found, "prompt_tokens") is not None:
            return _openai(found)
        if _get(found, "input_tokens") is not None or _get(found, "output_tokens") is not None:
            return _anthropic(found)
    if _get(raw, "usage_metadata") is not None:
        return _google(_get(raw, "usage_metadata"))
    if _get(raw, "prompt_eval_count") is not None or _get(raw, "eval_count") is not None:
        return Usage(_count(_get(raw, "prompt_eval_count")), _count(_get(raw, "eval_count")))
    if _get(response, "additional_kwargs", "prompt_tokens") is not None:
        return _openai(_get(response, "additional_kwargs"))
    return None


def _openai(found: Any) -> Usage:
    """OpenAI's and MistralAI's: https://platform.openai.com/docs/api-reference/chat/object, "usage"."""
    return Usage(
        _count(_get(found, "prompt_tokens")),
        _count(_get(found, "completion_tokens")),
        _count(_get(found, "completion_tokens_details", "reasoning_tokens")),
        _count(_get(found, "prompt_tokens_details", "cached_tokens")),
    )


def _anthropic(found: Any) -> Usage:
    """Anthropic counts cached input beside ``input_tokens``, not within it."""
    read, written = _count(_get(found, "cache_read_input_tokens")), _count(_get(found, "cache_creation_input_tokens"))
    return Usage(_count(_get(found, "input_tokens")) + read + written, _count(_get(found, "output_tokens")), 0, read)


def _google(found: Any) -> Usage:
    """Google counts thoughts beside the candidates' tokens, not within them."""
    thoughts = _count(_get(found, "thoughts_token_count"))
    return Usage(
        _count(_get(found, "prompt_token_count")),
        _count(_get(found, "candidates_token_count")) + thoughts,
        thoughts,
        _count(_get(found, "cached_content_token_count")),
    )


def estimate_usage(messages: Sequence[ChatMessage], text: str) -> Usage:
    """Usage counted by core's tokenizer, marked as estimated."""
    from llama_index.core.utils import get_tokenizer  # pyright: ignore[reportUnknownVariableType]

    # LlamaIndex declares its lists bare.
    tokenizer: Callable[[str], list[int]] = get_tokenizer()  # pyright: ignore[reportUnknownVariableType]
    sent = "\n".join(text_of(message) for message in messages)
    return Usage(len(tokenizer(sent)), len(tokenizer(text)), estimated=True)
