"""Reads the tokens of a response of any provider, and estimates them if none were reported."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._messages.prompts import text_of
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Usage

from .faults import Fault
from .responses import get

_OTHER_PLACES = (
    ("data", "usage"),  # MistralAI's chunks
    ("message", "usage"),  # Anthropic's first event
    ("response", "usage"),  # the last event of OpenAI's Responses
    ("x_groq", "usage"),
)
_OF_CHATS = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
"""OpenAI's names for tokens of a chat (https://platform.openai.com/docs/api-reference/chat/object, "usage")."""
_OF_RESPONSES = (
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
)
"""The same for a response (https://platform.openai.com/docs/api-reference/responses/object, "usage")."""
_BYTES_PER_TOKEN = 4
_PERHAPS_BILLED = (FailureKind.TIMEOUT, FailureKind.CONNECTION, FailureKind.BAD_RESPONSE)
_NEVER_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ClientConnectorError",
        "ConnectionRefusedError",
    }
)


def read_usage(response: ChatResponse) -> Usage | None:
    """Read the usage that a provider reported in an answer or a chunk.

    Returns:
        The usage, without a count of requests; None if there is none.
    """
    more: dict[str, Any] = response.additional_kwargs  # type: ignore[reportUnknownMemberType]
    inner = get(more, "mixture", "usage") if more else None
    if isinstance(inner, Usage):  # a mixture answered: this is the usage of its members
        return replace(inner, requests=0)
    raw = response.raw
    found = get(
        raw, "usage"
    )  # OpenAI, OpenAI-like, Anthropic, Ollama, and MistralAI's whole answers
    if found is None:
        others = (get(raw, *place) for place in _OTHER_PLACES)
        found = next((usage for usage in others if usage is not None), None)
    if found is None:
        metadata = get(raw, "usage_metadata")
        found = (
            metadata if metadata is not None else response.message.additional_kwargs.get("usage")
        )
    usage = _read(found) or _read(get(response, "additional_kwargs")) or _ollama(raw)
    return usage if usage and (usage.input_tokens or usage.output_tokens) else None


def _read(found: Any) -> Usage | None:
    if get(found, "prompt_tokens") is not None:
        return _openai(found)
    if get(found, "input_tokens") is not None or get(found, "output_tokens") is not None:
        return (
            _openai(found, _OF_RESPONSES)
            if get(found, "input_tokens_details") is not None
            else _anthropic(found)
        )
    return _google(found) if get(found, "prompt_token_count") is not None else None


def _count(found: Any, *path: str) -> int:
    value = get(found, *path)
    return value if isinstance(value, int) and value > 0 else 0


def _openai(found: Any, names: tuple[str, str, str, str] = _OF_CHATS) -> Usage:
    """Read OpenAI's usage, also MistralAI's and that of OpenAI-like servers."""
    sent, received, of_sent, of_received = names
    return Usage(
        _count(found, sent),
        _count(found, received),
        _count(found, of_received, "reasoning_tokens"),
        _count(found, of_sent, "cached_tokens"),
    )


def _anthropic(found: Any) -> Usage:
    """Read Anthropic's usage. Its ``input_tokens`` exclude tokens read from or written to the cache."""
    read, written = (
        _count(found, "cache_read_input_tokens"),
        _count(found, "cache_creation_input_tokens"),
    )
    return Usage(
        _count(found, "input_tokens") + read + written,
        _count(found, "output_tokens"),
        _count(found, "output_tokens_details", "thinking_tokens"),
        read,
        cache_write_tokens=written,
    )


def _google(found: Any) -> Usage:
    """Read Google's usage. Candidates' tokens exclude thoughts, and the prompt's exclude tool results."""
    thoughts = _count(found, "thoughts_token_count")
    return Usage(
        _count(found, "prompt_token_count") + _count(found, "tool_use_prompt_token_count"),
        _count(found, "candidates_token_count") + thoughts,
        thoughts,
        _count(found, "cached_content_token_count"),
    )


def _ollama(raw: Any) -> Usage | None:
    """Read Ollama's counts. It leaves out a count of 0, and its class then reports no "usage"."""
    counts = _count(raw, "prompt_eval_count"), _count(raw, "eval_count")
    return Usage(*counts) if any(counts) else None


def latest(before: Usage | None, now: Usage | None) -> Usage | None:
    """Combine the usage of two chunks of a stream. Counts only grow, and may arrive in different chunks."""
    if before is None or now is None:
        return now or before
    return Usage(
        max(before.input_tokens, now.input_tokens),
        max(before.output_tokens, now.output_tokens),
        max(before.reasoning_tokens, now.reasoning_tokens),
        max(before.cached_tokens, now.cached_tokens),
        cache_write_tokens=max(before.cache_write_tokens, now.cache_write_tokens),
    )


def estimate_usage(messages: Sequence[ChatMessage], text: str) -> Usage:
    """Estimate the usage of an answer with core's tokenizer. That is slow for long texts.

    Args:
        messages: the messages that were sent.
        text: the answer.

    Returns:
        The usage, marked as estimated.
    """
    from llama_index.core.utils import get_tokenizer  # pyright: ignore[reportUnknownVariableType]

    try:
        # LlamaIndex declares its lists bare.
        tokenizer: Callable[[str], list[int]] = get_tokenizer()  # pyright: ignore[reportUnknownVariableType]
        return Usage(len(tokenizer(_sent(messages))), len(tokenizer(text)), estimated=True)
    except Exception:  # noqa: BLE001 - the user may have set any tokenizer, and it must not fail an answer
        return unanswered_usage(messages, [text])


def unanswered_usage(messages: Sequence[ChatMessage], received: Sequence[str]) -> Usage:
    """Estimate the usage of a request without a complete answer, at four bytes a token. That is fast.

    Args:
        messages: the messages that were sent.
        received: the pieces of the answer that arrived.

    Returns:
        The usage, marked as estimated.
    """
    sizes = (len(text.encode(errors="replace")) for text in (_sent(messages), "".join(received)))
    sent, got = (-(-size // _BYTES_PER_TOKEN) for size in sizes)
    return Usage(sent, got, estimated=True)


def is_perhaps_billed(fault: Fault, error: BaseException | None) -> bool:
    """Whether a provider may bill a failed request: it may have reached the provider, and no status says that it failed.

    Args:
        fault: what the error means.
        error: the error.
    """
    if fault.kind not in _PERHAPS_BILLED or fault.status is not None:
        return False
    while error is not None:
        if any(cls.__name__ in _NEVER_SENT for cls in type(error).__mro__):
            return False
        error = error.__cause__ or error.__context__
    return True


def _sent(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(text_of(message) for message in messages)
