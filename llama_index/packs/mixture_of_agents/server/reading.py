"""A request in LlamaIndex's words: messages, and the keyword arguments of a chat."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from pydantic import TypeAdapter

from .problems import Refused, invalid
from .request import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

_object = TypeAdapter(dict[str, Any])
_PARAMETERS = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
)


def parameters_of(request: ChatRequest) -> dict[str, Any]:
    """What the caller has set, by LlamaIndex's names."""
    given = {name: getattr(request, name) for name in _PARAMETERS}
    given["max_tokens"] = request.max_completion_tokens or request.max_tokens
    return {name: value for name, value in given.items() if value is not None}


def messages_of(request: ChatRequest) -> list[ChatMessage]:
    """The conversation.

    Raises:
        Refused: an image or a sound in it cannot be read.
    """
    return [_readable(number, message) for number, message in enumerate(request.messages)]


def _readable(number: int, message: Message) -> ChatMessage:
    try:
        return _message(message)
    except ValueError:
        place = f"messages[{number}].content"
        raise Refused(invalid("an image or a sound in it cannot be read", place)) from None


def _message(message: Message) -> ChatMessage:
    blocks = list(_blocks(message.content))
    if isinstance(message, UserMessage):
        return ChatMessage(role=MessageRole.USER, blocks=blocks)
    if isinstance(message, AssistantMessage):
        calls = [_call(call) for call in message.tool_calls or ()]
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[*blocks, *calls])
    if isinstance(message, ToolMessage):
        told = {"tool_call_id": message.tool_call_id}
        return ChatMessage(role=MessageRole.TOOL, blocks=blocks, additional_kwargs=told)
    # A developer's word is a system's to whoever does not know the role; OpenAI's class turns it back where it matters.
    return ChatMessage(role=MessageRole.SYSTEM, blocks=blocks)


def _blocks(content: str | Sequence[Any] | None) -> Iterator[ContentBlock]:
    if isinstance(content, str):
        yield TextBlock(text=content)
        return
    for part in content or ():
        if isinstance(part, TextPart):
            yield TextBlock(text=part.text)
        elif isinstance(part, RefusalPart):
            yield TextBlock(text=part.refusal)
        elif isinstance(part, ImagePart):
            yield ImageBlock(url=part.image_url.url, detail=part.image_url.detail)
        elif isinstance(part, AudioPart):
            sound = base64.b64decode(part.input_audio.data)
            yield AudioBlock(audio=sound, format=part.input_audio.format)


def _call(call: ToolCall) -> ToolCallBlock:
    # Some LLM classes want the arguments as an object; what is none is told as it was written.
    told: Any = call.function.arguments
    with suppress(ValueError):
        told = _object.validate_json(told)
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.function.name, tool_kwargs=told)
