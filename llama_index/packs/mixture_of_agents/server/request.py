"""What a client asks: the body of https://platform.openai.com/docs/api-reference/chat/create.

A field that is not named here is refused, as OpenAI does. Within messages, fields that no LLM class can be told are
left aside, so that an answer can be sent back as it came.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _encodable(text: str) -> str:
    if not text.isascii():
        text.encode()  # JSON can say half a character ("\\ud800"), which no request to a provider can carry
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_encodable)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class TextPart(_Part):
    type: Literal["text"]
    text: Text


class ImageAddress(_Part):
    url: Annotated[str, Field(pattern=r"^(https?://|data:image/)")]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_Part):
    type: Literal["image_url"]
    image_url: ImageAddress


class Audio(_Part):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(_Part):
    type: Literal["input_audio"]
    input_audio: Audio


class RefusalPart(_Part):
    type: Literal["refusal"]
    refusal: str


Said: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Shown: TypeAlias = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class CalledFunction(_Part):
    name: str
    arguments: str


class ToolCall(_Part):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Instruction(_Part):
    role: Literal["system", "developer"]
    content: Text | list[TextPart]


class UserMessage(_Part):
    role: Literal["user"]
    content: Text | list[Shown]


class AssistantMessage(_Part):
    role: Literal["assistant"]
    content: Text | list[Said] | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(_Part):
    role: Literal["tool"]
    content: Text | list[TextPart]
    tool_call_id: str


Message: TypeAlias = Annotated[
    Instruction | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(_Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Part):
    type: Literal["function"]
    function: Function


class FunctionName(_Part):
    name: str


class NamedTool(_Part):
    type: Literal["function"]
    function: FunctionName


class SchemaFormat(_Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    # A field named "schema" would hide a method of pydantic's.
    definition: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class PlainFormat(_Part):
    type: Literal["text", "json_object"]


class JsonSchemaFormat(_Part):
    type: Literal["json_schema"]
    json_schema: SchemaFormat


class StreamOptions(_Part):
    include_usage: bool = False


class MixtureOptions(_Part):
    model_config = ConfigDict(strict=True, extra="forbid")
    proposals: bool = False


class ChatRequest(BaseModel):
    """The body of a request; ``mixture`` is ours."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[
        PlainFormat | JsonSchemaFormat | None, Field(discriminator="type")
    ] = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    mixture: MixtureOptions | None = None

    # What says something to OpenAI's own servers alone is taken and left aside.
    metadata: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    store: Any = None
    user: Any = None
