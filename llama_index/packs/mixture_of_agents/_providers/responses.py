"""Reads an LLM's response: its text, its thinking, why it stopped, and whether it is usable. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock

from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Proposal

from .characters import mended
from .thinking import split_thinking

_CONTENT_FILTER = frozenset(
    {"content_filter", "content-filter", "safety", "refusal", "prohibited_content", "blocklist"}
)
INCOMPLETE = "incomplete"
"""The finish reason of a stream that ended without one, although its provider always gives one."""
_LENGTH = frozenset({"length", "max_tokens", "model_length", INCOMPLETE})

_STOPPED = (
    ("stop_reason",),  # Anthropic's whole answers
    ("delta", "stop_reason"),  # Anthropic's last event
    ("done_reason",),  # Ollama
    ("finish_reason",),  # Google GenAI
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an LLM.

    Attributes:
        text: without thinking, stripped at its ends.
        thinking: the provider's thinking blocks, and the text in ``<think>`` tags.
        finish_reason: the provider's word for why it stopped, in lower case; "" if it gave none.
        tool_calls: whether the answer calls tools.
    """

    text: str
    thinking: str = ""
    finish_reason: str = ""
    tool_calls: bool = False


def read(response: ChatResponse) -> tuple[Answer, ...]:
    """Read the answers in a response: one, or n if the request asked for n samples."""
    choices = _choices(response.raw)
    if _refuses(choices):
        reason = "refusal"
    else:
        reason = _reason(choices[0]) if choices else finish_reason(response.raw)
    return (_of_message(response.message, reason), *map(_of_choice, choices[1:]))


def is_refusal(raw: Any) -> bool:
    """Whether a response, or a chunk of one, holds a refusal (a field of OpenAI's beside the text)."""
    return _refuses(_choices(raw))


def _choices(raw: Any) -> list[Any]:
    choices = get(raw, "choices")
    return choices if isinstance(choices, list) else []  # type: ignore[reportUnknownVariableType]


def _refuses(choices: list[Any]) -> bool:
    first = choices[0] if choices else None
    return bool(get(get(first, "message") or get(first, "delta"), "refusal"))


def assembled(text: str, last: ChatResponse | None, reason: str) -> Answer:
    """Assemble the answer of a stream.

    Args:
        text: the joined deltas.
        last: the last chunk; None if there was none.
        reason: the finish reason.

    Returns:
        The answer, with the thinking and the tool calls of the last chunk.
    """
    if last is None:
        return Answer("", finish_reason=reason)
    answer = _answer(text, "", reason, _of_message(last.message, reason).tool_calls)
    # MistralAI's class adds a longer thinking block with each chunk, so the last block holds all.
    blocks = [block for block in last.message.blocks if block.block_type == "thinking"]
    thinking = answer.thinking or (blocks[-1].content if blocks else "") or ""
    return replace(answer, thinking=thinking)


def verdict(
    answer: Answer, *, tools: bool = False, truncated: Literal["reject", "keep"] = "reject"
) -> FailureKind | None:
    """Decide whether an answer is usable.

    Args:
        answer: the answer.
        tools: whether tool calls alone are an answer. They may be for an aggregator, never for a proposer.
        truncated: whether to keep an answer that was cut off at the token limit.

    Returns:
        Why the answer is not usable; None if it is.
    """
    if answer.tool_calls and tools:
        return None
    if answer.finish_reason in _CONTENT_FILTER:
        return FailureKind.CONTENT_FILTER
    if answer.finish_reason == "error":
        return FailureKind.BAD_RESPONSE
    if answer.finish_reason in _LENGTH and (truncated == "reject" or not answer.text):
        return FailureKind.TRUNCATED
    if answer.text:
        return None
    if answer.tool_calls:
        return FailureKind.ONLY_TOOL_CALLS
    return FailureKind.ONLY_THINKING if answer.thinking else FailureKind.EMPTY


def usable(
    answers: Sequence[Answer],
    *,
    tools: bool = False,
    truncated: Literal["reject", "keep"] = "reject",
) -> tuple[tuple[Answer, ...], FailureKind | None]:
    """Pick the usable answers of one response.

    Args:
        answers: the answers; at least one.
        tools: as for ``verdict``.
        truncated: as for ``verdict``.

    Returns:
        The usable answers, and None. If there are none: why the first answer is not usable.
    """
    kinds = [verdict(answer, tools=tools, truncated=truncated) for answer in answers]
    useful = tuple(answer for answer, kind in zip(answers, kinds, strict=True) if kind is None)
    return useful, None if useful else kinds[0]


def explained(kind: FailureKind, answer: Answer) -> str:
    """Why an answer is of no use, in words; ``kind`` is the verdict on it."""
    if kind == FailureKind.TRUNCATED and not answer.text:
        return "the token limit was reached before the answer began; raise max_tokens (thinking counts too)"
    return _EXPLANATIONS[kind]


_EXPLANATIONS = {
    FailureKind.EMPTY: "the answer was empty",
    FailureKind.ONLY_THINKING: "the answer held only thinking",
    FailureKind.ONLY_TOOL_CALLS: "the answer held only tool calls",
    FailureKind.BAD_RESPONSE: "the provider ended the answer with an error",
    FailureKind.CONTENT_FILTER: "the provider's content filter stopped the answer",
    FailureKind.TRUNCATED: "the answer was cut off at its token limit; raise max_tokens, or keep such answers with "
    'CallPolicy(truncated="keep"), the default',
}


def ended_by(reason: str) -> Literal["stop", "length", "content_filter"]:
    """Translate any provider's finish reason into OpenAI's word."""
    if reason in _LENGTH:
        return "length"
    return "content_filter" if reason in _CONTENT_FILTER else "stop"


def is_cut_off(proposals: Sequence[Proposal]) -> bool:
    """Whether one of the proposals was cut off."""
    return any(proposal.finish_reason in _LENGTH for proposal in proposals)


def calls_tools(message: ChatMessage) -> bool:
    """Whether a message holds a tool call."""
    return any(block.block_type == "tool_call" for block in message.blocks)


def answer_message(
    response: ChatResponse | None, proposals: Sequence[Proposal], *, streamed: bool
) -> ChatMessage:
    """Make the message of an answer.

    Args:
        response: the response, or the last chunk of a stream. None makes an empty message.
        proposals: the proposals that were read from it, without thinking.
        streamed: whether the response is the last chunk of a stream. Its own text may be wrong then.

    Returns:
        The message, with the text of the first proposal.
    """
    if response is None:
        return ChatMessage(role=MessageRole.ASSISTANT, content="")
    text = proposals[0].text if proposals else ""
    blocks = list(response.message.blocks)
    current = "".join(block.text for block in blocks if isinstance(block, TextBlock))
    if streamed or current != text:
        thinking = [block for block in blocks if block.block_type == "thinking"][-1:]
        calls = [block for block in blocks if block.block_type == "tool_call"]
        blocks = [*thinking, *([TextBlock(text=text)] if text else []), *calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)


def _of_message(message: ChatMessage, reason: str) -> Answer:
    text = thinking = ""
    tool_calls = bool(message.additional_kwargs.get("tool_calls"))
    for block in message.blocks:
        if block.block_type == "text":
            text += block.text or ""
        elif block.block_type == "thinking":
            thinking += block.content or ""
        elif block.block_type == "tool_call":
            tool_calls = True
    return _answer(text, thinking, reason, tool_calls)


def _of_choice(choice: Any) -> Answer:
    return _answer(str(get(choice, "message", "content") or ""), "", _reason(choice), False)


def _answer(text: str, thinking: str, reason: str, tool_calls: bool) -> Answer:
    found, text = split_thinking(mended(text))
    return Answer(text, thinking + found, reason, tool_calls)


def _reason(choice: Any) -> str:
    return _word(get(choice, "finish_reason"))


def _word(reason: Any) -> str:
    return str(
        getattr(reason, "value", None) or getattr(reason, "name", None) or reason or ""
    ).lower()


def finish_reason(raw: Any) -> str:
    """Read why the model stopped, from a raw response of OpenAI, MistralAI, Anthropic, Ollama or Google GenAI."""
    if raw is None:
        return ""
    for name in ("choices", "candidates"):
        choices = get(raw, name) or get(raw, "data", name)
        if isinstance(choices, list) and choices:
            return _reason(choices[0])
    return _word(next((word for place in _STOPPED if (word := get(raw, *place))), None))


def get(thing: Any, *path: str) -> Any:
    """The value at the end of a path of keys or attributes; None if it is missing."""
    for name in path:
        is_mapping = isinstance(thing, dict)
        thing = thing.get(name) if is_mapping else getattr(thing, name, None)
    return thing
