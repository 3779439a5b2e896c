"""A request in LlamaIndex's words: messages, keyword arguments of a chat, tools and schemas."""

import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ConfigDict
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import ToolMetadata

from llama_index.packs.mixture_of_agents._messages.openai_format import message_of
from llama_index.packs.mixture_of_agents._providers.facts import is_openai
from llama_index.packs.mixture_of_agents._providers.structured import Schema, Told, Tools

from .chat_schema import ChatRequest, JsonSchemaFormat, Message, NamedTool, SchemaFormat
from .error_bodies import Refused, invalid

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
        Refused: An image or a sound in it cannot be read.
    """
    return [_read(number, message) for number, message in enumerate(request.messages)]


def _read(number: int, message: Message) -> ChatMessage:
    try:
        return message_of({"content": "", **message.model_dump(exclude_none=True)})
    except ValueError:
        place = f"messages[{number}].content"
        raise Refused(invalid("an image or a sound in it cannot be read", place)) from None


_NOTHING_NEEDED: dict[str, Any] = {"type": "object", "properties": {}}


def forms_of(request: ChatRequest) -> dict[str, Any]:
    """``tools`` and ``response_format`` as keyword arguments of a chat, where the client has set them.

    A schema beside tools is theirs to tell.
    """
    forms: dict[str, Any] = {}
    if request.tools:
        forms["tools"] = OfferedTools(request)
        choice = request.tool_choice
        if isinstance(choice, NamedTool):
            forms["tool_choice"] = choice.function.name
        elif choice == "none":
            forms["tool_choice"] = choice
    wanted = request.response_format
    if isinstance(wanted, JsonSchemaFormat) and not request.tools:
        forms["response_format"] = WantedSchema(_class_of(wanted.json_schema), _written(wanted))
    elif wanted and wanted.type == "json_object":
        forms["response_format"] = {"type": "json_object"}
    return forms


class OfferedTools(Tools):
    """The tools of a request, and what it says about their use.

    Attributes:
        several: whether one answer may call more than one.
        with_schema: whether an answer that calls none has a schema. OpenAI's class is sent that beside the tools, any
            other class as one more tool.
    """

    def __init__(self, request: ChatRequest) -> None:
        specs = [tool.model_dump(exclude_unset=True) for tool in request.tools or ()]
        several, choice = request.parallel_tool_calls, request.tool_choice
        self.several, wanted = several is not False, request.response_format
        self.with_schema = isinstance(wanted, JsonSchemaFormat)
        super().__init__(
            [_Offered(spec["function"]) for spec in specs],
            allow_parallel_tool_calls=self.several,
            tool_required=choice == "required",
        )
        self[:] = specs
        self._as_written: dict[str, Any] = {"tools": specs}
        if choice is not None:
            written = choice.model_dump() if isinstance(choice, NamedTool) else choice
            self._as_written["tool_choice"] = written
        if several is not None:
            self._as_written["parallel_tool_calls"] = several
        self._answer: _Offered | None = None
        if isinstance(wanted, JsonSchemaFormat):
            self._as_written["response_format"] = _written(wanted)
            self._answer = _answer_tool(wanted, {spec["function"]["name"] for spec in specs})

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        if is_openai(llm):
            others = {name: value for name, value in kwargs.items() if name != "tool_choice"}
            return list(messages), {**others, **deepcopy(self._as_written)}
        choice = kwargs.get("tool_choice")
        if self._answer is None or choice not in (None, "none"):
            return super().told(llm, messages, kwargs)
        offered: Sequence[Any] = () if choice else self._tools
        others = {name: value for name, value in kwargs.items() if name != "tool_choice"}
        tools = Tools(
            [*offered, self._answer], allow_parallel_tool_calls=self.several, tool_required=True
        )
        return tools.told(llm, messages, others)

    def answered(
        self, text: str, calls: tuple[ToolCallBlock, ...]
    ) -> tuple[str, tuple[ToolCallBlock, ...]]:
        """The text and the calls of an answer, without a call of the tool that stands for the schema.

        The client's own tools go first: a model that calls one as well has not seen its result yet.
        """
        name = self._answer and self._answer.metadata.name
        own = tuple(call for call in calls if call.tool_name != name)
        filled = next((call for call in calls if call.tool_name == name), None)
        if not self.several:
            own = own[:1]
        return (arguments_of(filled), ()) if filled and not own else (text, own)


def _answer_tool(wanted: JsonSchemaFormat, taken: Collection[str]) -> "_Offered":
    """The schema of an answer as a tool, under a name that no other tool has."""
    name = wanted.json_schema.name
    while name in taken:
        name += "_"
    schema = _written(wanted)["json_schema"].get("schema")
    return _Offered({"name": name, "description": _GIVES_THE_ANSWER, "parameters": schema})


_GIVES_THE_ANSWER = "Call this to give your answer, once you need no other tool."


def arguments_of(call: ToolCallBlock) -> str:
    """A tool call's arguments as JSON."""
    arguments = call.tool_kwargs
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


class _OfferedMetadata(ToolMetadata):
    """A tool's own JSON schema, whole, in place of the one that LlamaIndex makes of a pydantic class."""

    def __init__(self, function: Mapping[str, Any]) -> None:
        super().__init__(function.get("description") or "", function["name"])
        self._parameters = function.get("parameters") or _NOTHING_NEEDED

    def get_parameters_dict(self) -> dict[str, Any]:
        return deepcopy(dict(self._parameters))


class _Offered:
    """A tool that the client will call: LLM classes ask it for its description only."""

    def __init__(self, function: Mapping[str, Any]) -> None:
        self.metadata = _OfferedMetadata(function)


@dataclass(frozen=True, slots=True)
class WantedSchema(Schema):
    """The JSON schema of a request.

    Attributes:
        as_written: ``response_format`` as the client wrote it.
    """

    as_written: dict[str, Any]

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        if is_openai(llm):
            return list(messages), {**kwargs, "response_format": deepcopy(self.as_written)}
        return Schema.told(self, llm, messages, kwargs)


def _written(wanted: JsonSchemaFormat) -> dict[str, Any]:
    """``response_format`` as the client wrote it."""
    return wanted.model_dump(exclude_unset=True, by_alias=True)


def _class_of(wanted: SchemaFormat) -> type[BaseModel]:
    """A class that says it has this schema, for LLM classes that are told of schemas by classes; it checks nothing."""
    schema = {"title": wanted.name, "description": wanted.description or "", **wanted.definition}

    class Wanted(BaseModel):
        model_config = ConfigDict(extra="allow")

        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return deepcopy(schema)

    Wanted.__name__ = wanted.name
    return Wanted
