"""The body of Anthropic's Messages API, rewritten as a chat request: https://docs.anthropic.com/en/api/messages.

Only the format changes here. What a chat request allows, and what it means, is decided in chat_schema.py.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field

from .chat_schema import ChatRequest, JsonSchema, Many, Open, Parts, Text, Unsupported


class TextBlock(Open):
    type: Literal["text"]
    text: Text


class Base64Source(Open):
    type: Literal["base64"]
    media_type: str
    data: str


class UrlSource(Open):
    type: Literal["url"]
    url: str


class ImageBlock(Open):
    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource, Field(discriminator="type")]


class ToolUseBlock(Open):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(Open):
    type: Literal["tool_result"]
    tool_use_id: str
    content: Text | Many[Annotated[TextBlock | ImageBlock, Field(discriminator="type")]] = ""
    is_error: bool = False


class ThinkingBlock(Open):
    """Thinking of an earlier answer. The aggregator keeps its own thinking, so it is not read."""

    type: Literal["thinking", "redacted_thinking"]


UserBlock: TypeAlias = Annotated[
    TextBlock | ImageBlock | ToolResultBlock, Field(discriminator="type")
]
AssistantBlock: TypeAlias = Annotated[
    TextBlock | ToolUseBlock | ThinkingBlock, Field(discriminator="type")
]


class UserTurn(Open):
    """A message of the user, or results of tools."""

    role: Literal["user"]
    content: Text | Parts[UserBlock]


class AssistantTurn(Open):
    role: Literal["assistant"]
    content: Text | Many[AssistantBlock]


class SystemTurn(Open):
    """An instruction in the middle of the conversation."""

    role: Literal["system"]
    content: Text | Parts[TextBlock]


class Tool(Open):
    """A tool of the client's. Anthropic's own server tools have another ``type`` and are refused."""

    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: JsonSchema


class ToolChoice(Open):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class SchemaFormat(Open):
    type: Literal["json_schema"]
    # A field named "schema" would hide a method of pydantic's.
    definition: Annotated[JsonSchema, Field(alias="schema")]


class OutputConfig(Open):
    format: SchemaFormat | None = None


class TokensRequest(Open):
    """The body of ``/v1/messages/count_tokens``. ``model_extra`` holds the fields that it does not name."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    messages: Annotated[
        Many[Annotated[UserTurn | AssistantTurn | SystemTurn, Field(discriminator="role")]],
        Field(min_length=1),
    ]
    system: Text | Many[TextBlock] | None = None
    tools: Many[Tool] | None = None
    tool_choice: ToolChoice | None = None


class MessagesRequest(TokensRequest):
    """The body of ``/v1/messages``; ``mixture`` is ours."""

    max_tokens: Annotated[int, Field(ge=1)]
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop_sequences: Many[str] | None = None
    output_config: OutputConfig | None = None
    output_format: SchemaFormat | None = None  # its name in the SDKs' beta
    # SDKs send an empty list, which means none.
    mcp_servers: Annotated[Unsupported, BeforeValidator(lambda servers: servers or None)] = None
    mixture: dict[str, Any] | None = None


_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_of(request: TokensRequest) -> ChatRequest:
    """The same request in OpenAI's format.

    Raises:
        ValidationError: A chat request does not allow it.
    """
    body: dict[str, Any] = {"model": request.model, "messages": [*_messages(request)]}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if choice := request.tool_choice:
            named = {"type": "function", "function": {"name": choice.name}}
            body["tool_choice"] = _CHOICES.get(choice.type, named)
            if choice.disable_parallel_tool_use:
                body["parallel_tool_calls"] = False
    if isinstance(request, MessagesRequest):
        wanted = request.output_format or (request.output_config and request.output_config.format)
        settings = {
            "max_tokens": request.max_tokens,
            "stream": request.stream,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": request.stop_sequences,
            "response_format": _format(wanted) if wanted else None,
            "mixture": request.mixture,
        }
        body |= {name: value for name, value in settings.items() if value is not None}
    return ChatRequest.model_validate(body)


def _messages(request: TokensRequest) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": "system", "content": _text(request.system)}
    for turn in request.messages:
        if isinstance(turn, UserTurn):
            yield from _user(turn.content)
        elif isinstance(turn, AssistantTurn):
            yield _assistant(turn.content)
        else:
            yield {"role": "system", "content": _text(turn.content)}


def _user(content: str | Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Tool results become messages of their own, ahead of the rest. A tool message holds text, so images follow it."""
    if isinstance(content, str):
        yield {"role": "user", "content": content}
        return
    parts: list[dict[str, Any]] = []
    for block in content:
        if isinstance(block, ToolResultBlock):
            inner = [] if isinstance(block.content, str) else block.content
            yield {
                "role": "tool",
                "tool_call_id": block.tool_use_id,
                "content": block.content if isinstance(block.content, str) else _text(inner),
            }
            parts += [_part(one) for one in inner if isinstance(one, ImageBlock)]
        else:
            parts.append(_part(block))
    if parts:
        yield {"role": "user", "content": parts}


def _part(block: TextBlock | ImageBlock) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    source = block.source
    inline = isinstance(source, Base64Source)
    url = f"data:{source.media_type};base64,{source.data}" if inline else source.url
    return {"type": "image_url", "image_url": {"url": url}}


def _assistant(content: str | Sequence[Any]) -> dict[str, Any]:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    calls = [_call(block) for block in content if isinstance(block, ToolUseBlock)]
    message = {"role": "assistant", "content": _text(content)}
    return {**message, "tool_calls": calls} if calls else message


def _call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {
        "id": block.id,
        "type": "function",
        "function": {"name": block.name, "arguments": arguments},
    }


def _text(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block, TextBlock))


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    function = {"name": tool.name, **described, "parameters": tool.input_schema}
    return {"type": "function", "function": function}


def _format(wanted: SchemaFormat) -> dict[str, Any]:
    described = {"name": "answer", "schema": wanted.definition}
    return {"type": "json_schema", "json_schema": described}
