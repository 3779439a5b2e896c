"""What a client asks: the body of https://platform.openai.com/docs/api-reference/chat/create.

A field that is not named here is ignored; ``ChatRequest.model_extra`` holds it. A field without which the answer would
be a wrong one is refused by its name.

Only one of many mistakes is reported: to list them all would take longer than anything else that a request can cause.
"""

import json
import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST = 4096
"""Entries of a list."""
DEEPEST = 100
"""Levels of a JSON schema, which is copied and written level by level: each takes some of Python's own stack."""
_PERHAPS_UNSAYABLE = re.compile(rb"\\u[dD]|NaN|Infinity|\d[eE]\+?\d{3}")


def _encodable(text: str) -> str:
    if not text.isascii():
        text.encode()  # JSON can say half a character ("\\ud800"), which no request to a provider can carry
    return text


def _few(value: Any) -> Any:
    if isinstance(value, (list, dict)) and len(cast("Any", value)) > MOST:
        raise ValueError(f"holds more than {MOST:,} entries")
    return cast("Any", value)


def _whole(value: Any) -> Any:
    """Some clients write every number with a point: ``16.0``."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if exact else value


def _one(value: Any) -> Any:
    if value != 1:
        raise ValueError("only 1 is supported: a request has one answer")
    return 1


def _no_logprobs(value: Any) -> Any:
    if value:
        raise ValueError("log probabilities are not supported; leave them out")
    return False


def _with_text(stop: str | list[str] | None) -> str | list[str] | None:
    """Stop words without text stop nothing, and providers refuse them."""
    return [word for word in stop if word] or None if isinstance(stop, list) else stop or None


def _unsupported(value: Any) -> None:
    if value is not None:
        raise ValueError("is not supported; leave it out")


def _text_alone(value: Any) -> Any:
    if value != ["text"]:
        raise ValueError('only ["text"] is supported')
    return value


def _shallow(schema: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [schema]
    for _ in range(DEEPEST):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return schema
    raise ValueError(f"is nested more than {DEEPEST} levels deep")


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


T = TypeVar("T")
Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Many: TypeAlias = Annotated[list[T], Field(fail_fast=True), BeforeValidator(_few)]
Parts: TypeAlias = Annotated[Many[T], Field(min_length=1)]
Unsupported: TypeAlias = Annotated[None, BeforeValidator(_unsupported)]
Text: TypeAlias = Annotated[str, AfterValidator(_encodable)]
JsonSchema: TypeAlias = Annotated[dict[str, Any], AfterValidator(_shallow)]


def is_sayable(body: bytes) -> bool:
    """Whether a body that is JSON holds only what a request to a provider can carry.

    Python reads more than that: half a character (a lone surrogate), and numbers that are none (NaN, Infinity, 1e999).
    """
    if not _PERHAPS_UNSAYABLE.search(body):
        return True
    try:
        json.dumps(json.loads(body), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


class Open(BaseModel):
    """Reads the fields that it names. Any other field is ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(Open):
    type: Literal["text"]
    text: Text


class ImageAddress(Open):
    url: Annotated[str, Field(pattern=r"^(https?://|data:image/)")]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Open):
    type: Literal["image_url"]
    image_url: ImageAddress


class Audio(Open):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Open):
    type: Literal["input_audio"]
    input_audio: Audio


class RefusalPart(Open):
    type: Literal["refusal"]
    refusal: str


AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
UserPart: TypeAlias = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class CalledFunction(Open):
    name: str
    arguments: str


class ToolCall(Open):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class _Named(Open):
    name: Text | None = None


class Instruction(_Named):
    role: Literal["system", "developer"]
    content: Text | Parts[TextPart]


class UserMessage(_Named):
    role: Literal["user"]
    content: Text | Parts[UserPart]


class AssistantMessage(_Named):
    role: Literal["assistant"]
    content: Text | Parts[AssistantPart] | None = None
    refusal: Text | None = None
    tool_calls: Many[ToolCall] | None = None


class ToolMessage(Open):
    role: Literal["tool"]
    content: Text | Parts[TextPart]
    tool_call_id: Annotated[str, Field(min_length=1)]


Message: TypeAlias = Annotated[
    Instruction | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(Open):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class Tool(Open):
    type: Literal["function"]
    function: Function


class FunctionName(Open):
    name: str


class NamedTool(Open):
    type: Literal["function"]
    function: FunctionName


class SchemaFormat(Open):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    # A field named "schema" would hide a method of pydantic's.
    definition: Annotated[JsonSchema, Field(alias="schema")]
    strict: bool | None = None


class PlainFormat(Open):
    type: Literal["text", "json_object"]


class JsonSchemaFormat(Open):
    type: Literal["json_schema"]
    json_schema: SchemaFormat


class StreamOptions(Open):
    include_usage: bool | None = None


class MixtureOptions(BaseModel):
    """Our own part of a request. A field that it does not name is refused."""

    model_config = ConfigDict(strict=True, extra="forbid")

    proposals: bool = False
    show: Literal["reasoning"] | None = None
    proposers: Annotated[list[str], Field(min_length=1, max_length=12)] | None = None
    aggregator: str | None = None
    layers: Annotated[Whole, Field(ge=1, le=6)] | None = None
    recipe: str | None = None
    fan_out: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def keep_one_stranger(cls, body: Any) -> Any:
        """Drop all unknown fields but the first, which is the one that is reported."""
        if not isinstance(body, dict):
            return body
        given = cast("dict[str, Any]", body)
        strangers = set([name for name in given if name not in cls.model_fields][1:])
        return {name: value for name, value in given.items() if name not in strangers}


class ChatRequest(BaseModel):
    """The body of a request; ``mixture`` is ours."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True), BeforeValidator(_few)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Many[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[
        PlainFormat | JsonSchemaFormat | None, Field(discriminator="type")
    ] = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Whole, Field(ge=1)] | None = None
    stop: Annotated[str | Many[str] | None, AfterValidator(_with_text)] = None
    seed: Whole | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Annotated[dict[str, float], BeforeValidator(_few)] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    n: Annotated[Literal[1], BeforeValidator(_one)] | None = None
    logprobs: Annotated[Literal[False], BeforeValidator(_no_logprobs)] | None = None
    modalities: Annotated[list[str], BeforeValidator(_text_alone)] | None = None
    mixture: MixtureOptions | None = None

    audio: Unsupported = None
    function_call: Unsupported = None
    functions: Unsupported = None
    top_logprobs: Unsupported = None
    web_search_options: Unsupported = None

    # These concern OpenAI's own servers alone, or save them work.
    metadata: Any = None
    moderation: Any = None
    prediction: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    user: Any = None
