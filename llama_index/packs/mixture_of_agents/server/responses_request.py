"""The body of OpenAI's Responses API, rewritten as a chat request: https://platform.openai.com/docs/api-reference/responses.

Only the format changes here. What a chat request allows, and what it means, is decided in chat_schema.py.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeAlias, cast

from openai.types.shared.reasoning_effort import ReasoningEffort
from pydantic import ConfigDict, Discriminator, Field, Tag

from .chat_schema import ChatRequest, JsonSchema, Many, Open, Text
from .error_bodies import Refused, invalid

Messages: TypeAlias = list[dict[str, Any]]
"""Messages in the format of chat completions."""


class TextPart(Open):
    """Text, of the user or of an earlier answer."""

    type: Literal["input_text", "output_text", "text"]
    text: Text


class RefusalPart(Open):
    """An earlier answer that refused."""

    type: Literal["refusal"]
    refusal: Text


class ImagePart(Open):
    type: Literal["input_image"]
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


Part: TypeAlias = Annotated[TextPart | RefusalPart | ImagePart, Field(discriminator="type")]


class MessageItem(Open):
    role: Literal["user", "assistant", "system", "developer"]
    content: Text | Many[Part]
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallItem(Open):
    call_id: str
    name: str
    arguments: str


class FunctionOutputItem(Open):
    call_id: str
    output: Text | Many[Part]


class ReasoningItem(Open):
    """Reasoning of an earlier answer. The aggregator keeps its own, so it is not read."""


def _kind(item: Any) -> str | None:
    return str(cast("Any", item).get("type", "message")) if isinstance(item, dict) else None


Item: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class Tool(Open):
    """A function of the client's. OpenAI's built-in tools have another ``type`` and are refused."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class NamedTool(Open):
    """The one function that must be called."""

    type: Literal["function"]
    name: str


class Format(Open):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    definition: Annotated[JsonSchema | None, Field(alias="schema")] = None
    strict: bool | None = None


class TextSettings(Open):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Open):
    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class ResponsesRequest(Open):
    """The body of ``/v1/responses``; ``mixture`` is ours. ``model_extra`` holds the fields that it does not name."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    input: Text | Annotated[Many[Item], Field(min_length=1)]
    instructions: Text | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool | None = None
    background: Literal[False] | None = None
    conversation: None = None
    prompt: None = None
    tools: Many[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    reasoning: Reasoning | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    mixture: dict[str, Any] | None = None


def conversation_of(request: ResponsesRequest) -> Messages:
    """The messages of the request itself, without its instructions."""
    if isinstance(request.input, str):
        return [{"role": "user", "content": request.input}]
    return _merged(request.input)


def chat_of(request: ResponsesRequest, conversation: Messages) -> ChatRequest:
    """The same request in the format of chat completions.

    Args:
        request: The request.
        conversation: Every message up to now: those of the responses before it, then its own.

    Raises:
        ValidationError: A chat request does not allow it.
        Refused: A JSON schema is missing.
    """
    first = [{"role": "system", "content": request.instructions}] if request.instructions else []
    body: dict[str, Any] = {"model": request.model, "messages": [*first, *conversation]}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        choice = request.tool_choice
        named = isinstance(choice, NamedTool)
        body["tool_choice"] = (
            {"type": "function", "function": {"name": choice.name}} if named else choice
        )
        body["parallel_tool_calls"] = request.parallel_tool_calls
    text = request.text or TextSettings()
    settings = {
        "stream": request.stream,
        "max_completion_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "reasoning_effort": request.reasoning and request.reasoning.effort,
        "verbosity": text.verbosity,
        "response_format": _format(text.format) if text.format else None,
        "mixture": request.mixture,
    }
    body |= {name: value for name, value in settings.items() if value is not None}
    return ChatRequest.model_validate(body)


def _merged(items: Sequence[Any]) -> Messages:
    """A message for each item; the calls that follow a turn of the assistant's belong to that turn."""
    messages: Messages = []
    for item in items:
        if isinstance(item, FunctionCallItem):
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(_call(item))
        else:
            messages += _messages(item)
    return messages


def _messages(item: Any) -> Iterator[dict[str, Any]]:
    if isinstance(item, FunctionOutputItem):
        text, images = _split(item.output)
        yield {"role": "tool", "tool_call_id": item.call_id, "content": text}
        if images:
            yield {"role": "user", "content": images}
    elif isinstance(item, MessageItem):
        if item.role == "user" and not isinstance(item.content, str):
            yield {"role": "user", "content": [_part(part) for part in item.content]}
        else:
            yield {"role": item.role, "content": _split(item.content)[0]}


def _split(content: str | Sequence[Any]) -> tuple[str, list[dict[str, Any]]]:
    """The text of a content, and its images as parts of a message."""
    if isinstance(content, str):
        return content, []
    parts = [_part(part) for part in content]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return text, [part for part in parts if part["type"] != "text"]


def _part(part: TextPart | RefusalPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        address = {"url": part.image_url, "detail": part.detail}
        return {"type": "image_url", "image_url": address}
    return {"type": "text", "text": part.text if isinstance(part, TextPart) else part.refusal}


def _call(item: FunctionCallItem) -> dict[str, Any]:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": _described(tool, parameters=tool.parameters)}


def _format(wanted: Format) -> dict[str, Any]:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    if wanted.definition is None or not wanted.name:
        raise Refused(invalid("a JSON schema needs a name and a schema", "text.format"))
    return {"type": "json_schema", "json_schema": _described(wanted, schema=wanted.definition)}


def _described(one: Tool | Format, **schema: dict[str, Any] | None) -> dict[str, Any]:
    """What a function and a schema have in common; a field that is null is left out."""
    fields = {"name": one.name, "description": one.description, **schema, "strict": one.strict}
    return {name: value for name, value in fields.items() if value is not None}


def assistant_message(text: str, calls: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """An answer as the message that the next request continues from.

    Args:
        text: Its text.
        calls: Its tool calls: id, name and arguments as JSON.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            _call(FunctionCallItem(call_id=call_id, name=name, arguments=arguments))
            for call_id, name, arguments in calls
        ]
    elif not text:
        message["content"] = ""
    return message
