"""Tools and schemas that a client brings, told each LLM in the way of its own class (forms.py).

LlamaIndex's OpenAI class is told what the client wrote, to the letter: it is OpenAI's own format.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, ConfigDict
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import ToolMetadata

from llama_index.packs.mixture_of_agents.forms import Schema, Told, Tools
from llama_index.packs.mixture_of_agents.llms import is_openai

from .request import ChatRequest, JsonSchemaFormat, NamedTool, SchemaFormat

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
        with_schema: whether it says, too, which schema an answer has that calls none; OpenAI's class alone is told so.
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
        if isinstance(wanted, JsonSchemaFormat):
            self._as_written["response_format"] = _written(wanted)

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        if is_openai(llm):
            others = {name: value for name, value in kwargs.items() if name != "tool_choice"}
            return list(messages), {**others, **deepcopy(self._as_written)}
        return super().told(llm, messages, kwargs)


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
