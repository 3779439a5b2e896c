"""What the aggregator's answer may be besides prose: calls of tools, or a schema filled in.

Each LLM class has its own way to be told of either, and which aggregator answers is known only when it has. So a run
carries the tools or the schema themselves, and each aggregator that is asked is told in the way of its own class.
"""

# The ways of an LLM class to prepare its requests are protected methods.
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.llms.utils import parse_partial_json  # pyright: ignore[reportUnknownVariableType]
from llama_index.core.output_parsers.pydantic import PydanticOutputParser
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.program.utils import create_flexible_model

from llama_index.packs.mixture_of_agents._messages.prompts import inject
from llama_index.packs.mixture_of_agents._messages.views import Audience

from .facts import calls_functions, derives_from, knows_block

Told = tuple[list[ChatMessage], dict[str, Any]]
"""The messages to send to an LLM and the keyword arguments to send with them."""


TOOLS_PROMPT = (
    "You advise an assistant, which will write the answer and can call the tools listed here. You cannot call them: "
    "answer from what this conversation holds, say which tools the assistant should call and with which arguments "
    "where something is missing, and never make up what a tool would return.\n\nTools of the assistant:"
)
"""What proposers are told where the aggregator has tools; the list of tools follows it."""

SCHEMA_PROMPT = (
    "What you say will be used to fill in the form described here. Answer in prose, with everything that its fields "
    "ask for.\n\nForm:"
)
"""What proposers are told where the aggregator fills in a schema; its description follows it."""


class Form(Protocol):
    """Something that an aggregator's answer may be besides prose."""

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        """What to send to an LLM, so that it answers in this form."""
        ...

    def suits(self, llm: LLM) -> bool:
        """Whether the LLM can be asked for this form."""
        ...

    @property
    def prompt(self) -> str:
        """What proposers are told of it; its specs follow."""
        ...

    @property
    def specs(self) -> list[dict[str, Any]]:
        """The form as OpenAI's tool specs."""
        ...


class Tools(list[dict[str, Any]]):
    """Tools that the aggregator can call, as ``tools=`` of a chat: to whoever reads it a list of OpenAI's tool specs.

    Args:
        tools: the tools.
        allow_parallel_tool_calls: whether one answer may call several.
        tool_required: whether the answer must call one.
    """

    def __init__(
        self,
        tools: Sequence[Any],
        *,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
    ) -> None:
        super().__init__(tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools)
        self._tools = tools
        self._options = {
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
            "tool_required": tool_required,
        }

    @property
    def prompt(self) -> str:
        return TOOLS_PROMPT

    @property
    def specs(self) -> list[dict[str, Any]]:
        return self

    def suits(self, llm: LLM) -> bool:
        return isinstance(llm, FunctionCallingLLM) and calls_functions(llm)

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        assert isinstance(llm, FunctionCallingLLM)
        options: dict[str, Any] = {**kwargs, **self._options}
        choice = options.get("tool_choice")
        if choice is None:
            options.pop("tool_choice", None)  # a None would win over tool_required in some classes
        elif isinstance(choice, str) and not _resolves_tool_choice(llm):
            options["tool_choice"] = _named_tool(choice)
        prepared = dict(
            llm._prepare_chat_with_tools_compat(self._tools, chat_history=list(messages), **options)
        )
        return list(prepared.pop("messages")), prepared


@dataclass(frozen=True, slots=True)
class Schema:
    """A pydantic class that the answer fills in, as ``response_format=`` of a chat.

    Attributes:
        output_cls: the class.
    """

    output_cls: type[BaseModel]

    @property
    def prompt(self) -> str:
        return SCHEMA_PROMPT

    @property
    def specs(self) -> list[dict[str, Any]]:
        return Tools([get_function_tool(self.output_cls)])

    def suits(self, llm: LLM) -> bool:  # noqa: ARG002, every LLM can, one way or another
        return True

    def told(self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
        has_its_own_way = getattr(llm, "_should_use_structure_outputs", None)
        if has_its_own_way and has_its_own_way():
            return list(messages), llm._prepare_schema(dict(kwargs), self.output_cls)  # type: ignore[attr-defined]
        tools = Tools([get_function_tool(self.output_cls)], tool_required=True)
        ollama = derives_from(llm, "ollama")  # it has no way to require a tool
        if tools.suits(llm) and not ollama:
            return tools.told(llm, messages, kwargs)
        asked_for = (
            PydanticOutputParser(self.output_cls).get_format_string(escape_json=False).strip()
        )
        forced = {"format": self.output_cls.model_json_schema()} if ollama else {}
        return inject(messages, asked_for, "user"), {**kwargs, **forced}

    def read(self, response: ChatResponse) -> BaseModel:
        """The object that a whole answer holds.

        Raises:
            ValueError: it holds none, or one that does not fit.
        """
        calls = tool_selections(response)
        if calls:
            return self.output_cls.model_validate(calls[0].tool_kwargs)
        return PydanticOutputParser(self.output_cls).parse(response.message.content or "")


class Filling:
    """A schema being filled in by a streamed answer."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._schema = Schema(output_cls)
        self._unfinished = create_flexible_model(output_cls)
        self._last: ChatResponse | None = None
        self._told: tuple[bool, Any] | None = None

    def further(self, chunk: ChatResponse) -> Iterator[BaseModel]:
        """The object as far as it is now, where the chunk changed it: of the class itself where that already fits."""
        self._last = chunk
        calls = tool_selections(chunk)
        text = chunk.message.content or ""
        data = (
            calls[0].tool_kwargs
            if calls
            else _partial(text[text.find("{") :] if "{" in text else "")
        )
        try:
            yield from self._news(self._schema.output_cls.model_validate(data))
        except ValidationError:
            if any(value is not None for value in data.values()):
                yield from self._news(self._unfinished.model_validate(data))

    def end(self) -> Iterator[BaseModel]:
        """The whole object, where it is not the one that was told last.

        Raises:
            ValueError: the answer does not fit the class.
        """
        if self._last:
            yield from self._news(self._schema.read(self._last))

    def _news(self, filled: BaseModel) -> Iterator[BaseModel]:
        told = isinstance(filled, self._schema.output_cls), filled.model_dump()
        if told != self._told:
            self._told = told
            yield filled


def form_of(kwargs: Mapping[str, Any]) -> Form | None:
    """The form that a chat's keyword arguments ask for, where it is one that has to be told each LLM in its own way."""
    found = kwargs.get("tools"), kwargs.get("response_format")
    return next((form for form in found if isinstance(form, (Tools, Schema))), None)


def audience(messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Audience:
    """The proposers' views of a chat with these keyword arguments."""
    form = form_of(kwargs)
    if form:
        return Audience(messages, form.prompt, form.specs)
    return Audience(messages, TOOLS_PROMPT, kwargs.get("tools") or ())


def told(llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Told:
    """The messages and keyword arguments to send to an LLM for a chat, in the format of its class."""
    form = form_of(kwargs)
    rest = {name: value for name, value in kwargs.items() if value is not form or form is None}
    readable = [_readable(llm, message) for message in messages]
    return form.told(llm, readable, rest) if form else (readable, rest)


def _readable(llm: LLM, message: ChatMessage) -> ChatMessage:
    """The message in blocks that the LLM's class knows.

    Older classes keep tool calls in ``additional_kwargs``: they get them as they wrote them, if they did. Few know hints
    for a provider's cache or blocks that can be cited: these are left out, and their content stays.
    """
    foreign = [
        block
        for block in message.blocks
        if isinstance(block, _NOT_KNOWN_TO_ALL) and not knows_block(llm, type(block).__name__)
    ]
    if not foreign:
        return message
    blocks: list[ContentBlock] = []
    for block in message.blocks:
        blocks += _content(block) if any(block is one for one in foreign) else [block]
    more = dict(message.additional_kwargs)
    if calls := [block for block in foreign if isinstance(block, ToolCallBlock)]:
        more["tool_calls"] = more.get("tool_calls") or [_spelled_out(call) for call in calls]
    return ChatMessage(role=message.role, blocks=blocks, additional_kwargs=more)


_NOT_KNOWN_TO_ALL = (ToolCallBlock, CachePoint, CitableBlock, CitationBlock)


def _content(block: ContentBlock) -> list[ContentBlock]:
    if isinstance(block, CitableBlock):
        return [TextBlock(text=f"{block.title}:"), *block.content]
    return [block.cited_content] if isinstance(block, CitationBlock) else []


def _spelled_out(call: ToolCallBlock) -> dict[str, Any]:
    """A tool call as OpenAI's API writes it."""
    arguments = (
        call.tool_kwargs if isinstance(call.tool_kwargs, str) else json.dumps(call.tool_kwargs)
    )
    function = {"name": call.tool_name, "arguments": arguments}
    return {"id": call.tool_call_id or "", "type": "function", "function": function}


def with_tool_calls(llm: LLM, response: ChatResponse) -> ChatResponse:
    """A response of this LLM with its tool calls as blocks, where its class keeps them elsewhere."""
    message = response.message
    if any(isinstance(b, ToolCallBlock) for b in message.blocks) or not isinstance(
        llm, FunctionCallingLLM
    ):
        return response
    try:
        calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    except ValueError:  # the arguments in a chunk need not be whole JSON yet
        return response
    if not calls:
        return response
    blocks = [
        ToolCallBlock(tool_call_id=c.tool_id, tool_name=c.tool_name, tool_kwargs=c.tool_kwargs)
        for c in calls
    ]
    message = message.model_copy(update={"blocks": [*message.blocks, *blocks]})
    return response.model_copy(update={"message": message})


def with_one_tool_call(response: ChatResponse) -> ChatResponse:
    """A response with the first of its tool calls alone."""
    message = response.message
    others = [block for block in message.blocks if isinstance(block, ToolCallBlock)][1:]
    if not others:
        return response
    told = dict(message.additional_kwargs)
    if isinstance(told.get("tool_calls"), list):
        told["tool_calls"] = told["tool_calls"][:1]
    blocks = [block for block in message.blocks if not any(block is other for other in others)]
    message = message.model_copy(update={"blocks": blocks, "additional_kwargs": told})
    return response.model_copy(update={"message": message})


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The tool calls in a response, those of an unfinished one as far as they have come."""
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=_partial(block.tool_kwargs)
            if isinstance(block.tool_kwargs, str)
            else block.tool_kwargs,
        )
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def _partial(text: str) -> dict[str, Any]:
    try:
        data = cast("Any", parse_partial_json(text))
    except ValueError:
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _resolves_tool_choice(llm: FunctionCallingLLM) -> bool:
    return "tool_choice" in inspect.signature(llm._prepare_chat_with_tools).parameters


def _named_tool(choice: str) -> Any:
    if choice in ("auto", "any", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}
