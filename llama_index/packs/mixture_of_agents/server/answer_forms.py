"""What a client wants an answer to be besides prose: calls of its tools, or a JSON schema filled in."""

import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ConfigDict
from llama_index.core.llms.llm import LLM
from llama_index.core.tools.types import ToolMetadata

from llama_index.packs.mixture_of_agents._providers.facts import is_openai
from llama_index.packs.mixture_of_agents._providers.structured import PreparedChat, Schema, Tools

_NOTHING_NEEDED: dict[str, Any] = {"type": "object", "properties": {}}


class OfferedTools(Tools):
    """The tools of a request, and how they may be used.

    Args:
        specs: the tools, as OpenAI's API describes them.
        choice: ``tool_choice`` of that API; None if the client says nothing.
        parallel: ``parallel_tool_calls`` of that API; None if the client says nothing.
        response_format: ``response_format`` of that API with a JSON schema, for an answer that calls no tool.

    Attributes:
        several: whether one answer may call more than one.
        with_schema: whether an answer that calls none has a schema. OpenAI's class is sent that beside the tools, any
            other class as one more tool.
    """

    def __init__(
        self,
        specs: Sequence[dict[str, Any]],
        choice: str | dict[str, Any] | None = None,
        *,
        parallel: bool | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> None:
        self.several, self.with_schema = parallel is not False, response_format is not None
        super().__init__(
            [_Offered(spec["function"]) for spec in specs],
            allow_parallel_tool_calls=self.several,
            tool_required=choice == "required",
        )
        self[:] = specs
        as_written = {
            "tools": list(specs),
            "tool_choice": choice,
            "parallel_tool_calls": parallel,
            "response_format": response_format,
        }
        self._as_written = {name: one for name, one in as_written.items() if one is not None}
        taken = {spec["function"]["name"] for spec in specs}
        self._answer = (
            _answer_tool(response_format["json_schema"], taken) if response_format else None
        )

    def prepare(
        self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> PreparedChat:
        if is_openai(llm):
            others = {name: value for name, value in kwargs.items() if name != "tool_choice"}
            return list(messages), {**others, **deepcopy(self._as_written)}
        choice = kwargs.get("tool_choice")
        if self._answer is None or choice not in (None, "none"):
            return super().prepare(llm, messages, kwargs)
        offered: Sequence[Any] = () if choice else self._tools
        others = {name: value for name, value in kwargs.items() if name != "tool_choice"}
        tools = Tools(
            [*offered, self._answer], allow_parallel_tool_calls=self.several, tool_required=True
        )
        return tools.prepare(llm, messages, others)

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


def _answer_tool(schema: Mapping[str, Any], taken: Collection[str]) -> "_Offered":
    """The schema of an answer as a tool, under a name that no other tool has."""
    name = schema["name"]
    while name in taken:
        name += "_"
    parameters = schema.get("schema")
    return _Offered({"name": name, "description": _GIVES_THE_ANSWER, "parameters": parameters})


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

    def prepare(
        self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> PreparedChat:
        if is_openai(llm):
            return list(messages), {**kwargs, "response_format": deepcopy(self.as_written)}
        return Schema.prepare(self, llm, messages, kwargs)


def wanted_schema(response_format: dict[str, Any]) -> WantedSchema:
    """The JSON schema of a request.

    Args:
        response_format: as OpenAI's API writes it; its type is ``json_schema``.
    """
    described = response_format["json_schema"]
    return WantedSchema(_class_of(described), response_format)


def _class_of(described: Mapping[str, Any]) -> type[BaseModel]:
    """A class that says it has this schema, for LLM classes that take schemas as classes; it checks nothing."""
    name, description = described["name"], described.get("description") or ""
    schema = {"title": name, "description": description, **described["schema"]}

    class Wanted(BaseModel):
        model_config = ConfigDict(extra="allow")

        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return deepcopy(schema)

    Wanted.__name__ = name
    return Wanted
