"""Forms of an aggregator's answer other than prose: tool calls, or a filled schema.

Each LLM class has its own format for tools and schemas, and a run may try several aggregators. So a run carries the
tools or the schema as objects, and prepares them again for each aggregator, in the format of its class.
"""

# LLM classes prepare their requests in protected methods.
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
from llama_index.core.program.utils import create_flexible_model

from llama_index.packs.mixture_of_agents._messages.prompts import inject
from llama_index.packs.mixture_of_agents._messages.views import Audience

from .facts import calls_functions, derives_from, knows_block

PreparedChat = tuple[list[ChatMessage], dict[str, Any]]
"""The messages to send to an LLM and the keyword arguments to send with them."""


TOOLS_PROMPT = (
    "You advise an assistant, which will write the answer and can call the tools listed here. You cannot call them: "
    "answer from what this conversation holds, say which tools the assistant should call and with which arguments "
    "where something is missing, and never make up what a tool would return.\n\nTools of the assistant:"
)
"""Explains to proposers that the aggregator has tools. The list of tools follows it."""

SCHEMA_PROMPT = (
    "What you say will be used to fill in the form described here. Answer in prose, with everything that its fields "
    "ask for.\n\nForm:"
)
"""Explains to proposers that the aggregator fills in a schema. The schema's description follows it."""


class Form(Protocol):
    """A form of an aggregator's answer other than prose."""

    def prepare(
        self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> PreparedChat:
        """Prepare a chat in which an LLM answers in this form.

        Args:
            llm: the LLM.
            messages: the conversation.
            kwargs: further keyword arguments of the chat.

        Returns:
            The messages and keyword arguments, in the format of the LLM's class.
        """
        ...

    def suits(self, llm: LLM) -> bool:
        """Whether the LLM can be asked for this form."""
        ...

    @property
    def prompt(self) -> str:
        """Explains the form to proposers. Its specs follow."""
        ...

    @property
    def specs(self) -> list[dict[str, Any]]:
        """The form as OpenAI's tool specs."""
        ...


class Tools(list[dict[str, Any]]):
    """Tools that the aggregator can call, as ``tools=`` of a chat. To any reader it is a list of OpenAI's tool specs.

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

    def prepare(
        self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> PreparedChat:
        assert isinstance(llm, FunctionCallingLLM)
        options: dict[str, Any] = {**kwargs, **self._options}
        choice = options.get("tool_choice")
        if choice is None:
            options.pop(
                "tool_choice", None
            )  # in some classes None takes precedence over tool_required
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
        return Tools([_tool_of(self.output_cls)])

    def suits(self, llm: LLM) -> bool:  # noqa: ARG002, every LLM can fill in a schema
        return True

    def prepare(
        self, llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> PreparedChat:
        has_its_own_way = getattr(llm, "_should_use_structure_outputs", None)
        if has_its_own_way and has_its_own_way():
            return list(messages), llm._prepare_schema(dict(kwargs), self.output_cls)  # type: ignore[attr-defined]
        tools = Tools([_tool_of(self.output_cls)], tool_required=True)
        ollama = derives_from(llm, "ollama")  # it has no way to require a tool
        if tools.suits(llm) and not ollama:
            return tools.prepare(llm, messages, kwargs)
        instructions = (
            PydanticOutputParser(self.output_cls).get_format_string(escape_json=False).strip()
        )
        forced = {"format": self.output_cls.model_json_schema()} if ollama else {}
        return inject(messages, instructions, "user"), {**kwargs, **forced}

    def read(self, response: ChatResponse) -> BaseModel:
        """Read the object from a whole answer.

        Raises:
            ValueError: the answer holds no object, or one that does not fit the class.
        """
        calls = tool_selections(response)
        if calls:
            return self.output_cls.model_validate(calls[0].tool_kwargs)
        return PydanticOutputParser(self.output_cls).parse(response.message.content or "")


def _tool_of(output_cls: type[BaseModel]) -> Any:
    from llama_index.core.program.function_program import get_function_tool  # imports a lot

    return get_function_tool(output_cls)


class Filling:
    """Reads an object from a streamed answer while the answer arrives.

    Args:
        output_cls: the class that the answer fills in.
    """

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._schema = Schema(output_cls)
        self._unfinished = create_flexible_model(output_cls)
        self._last: ChatResponse | None = None
        self._yielded: tuple[bool, Any] | None = None

    def further(self, chunk: ChatResponse) -> Iterator[BaseModel]:
        """Take a chunk, and yield the object so far if the chunk changed it.

        The object is of the class itself as soon as it fits, before that of a class whose fields are all optional.
        """
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
        """Yield the whole object, unless it was the last one yielded.

        Raises:
            ValueError: the answer does not fit the class.
        """
        if self._last:
            yield from self._news(self._schema.read(self._last))

    def _news(self, filled: BaseModel) -> Iterator[BaseModel]:
        state = isinstance(filled, self._schema.output_cls), filled.model_dump()
        if state != self._yielded:
            self._yielded = state
            yield filled


def form_of(kwargs: Mapping[str, Any]) -> Form | None:
    """The form that a chat's keyword arguments ask for; None for prose, and for tools in a provider's own format."""
    found = kwargs.get("tools"), kwargs.get("response_format")
    return next((form for form in found if isinstance(form, (Tools, Schema))), None)


def audience(messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Audience:
    """The proposers' views of a chat with these keyword arguments."""
    form = form_of(kwargs)
    if form:
        return Audience(messages, form.prompt, form.specs)
    return Audience(messages, TOOLS_PROMPT, kwargs.get("tools") or ())


def prepared_chat(
    llm: LLM, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
) -> PreparedChat:
    """Prepare a chat for an LLM.

    Args:
        llm: the LLM.
        messages: the conversation.
        kwargs: keyword arguments of the chat, which may hold a ``Form``.

    Returns:
        The messages and keyword arguments, in the format of the LLM's class.
    """
    form = form_of(kwargs)
    rest = {name: value for name, value in kwargs.items() if value is not form or form is None}
    readable = [_readable(llm, message) for message in messages]
    return form.prepare(llm, readable, rest) if form else (readable, rest)


def _readable(llm: LLM, message: ChatMessage) -> ChatMessage:
    """The message in blocks that the LLM's class knows.

    Older classes keep tool calls in ``additional_kwargs``, so the calls go there. Few classes know cache hints and
    citable blocks: a cache hint is left out, and the content of a citable block becomes plain text.
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
    """A response of this LLM with its tool calls as blocks. Some classes keep them elsewhere."""
    message = response.message
    if any(isinstance(b, ToolCallBlock) for b in message.blocks) or not isinstance(
        llm, FunctionCallingLLM
    ):
        return response
    try:
        calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    except ValueError:  # a chunk may hold incomplete JSON
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
    """A response with only the first of its tool calls."""
    message = response.message
    others = [block for block in message.blocks if isinstance(block, ToolCallBlock)][1:]
    if not others:
        return response
    kwargs = dict(message.additional_kwargs)
    if isinstance(kwargs.get("tool_calls"), list):
        kwargs["tool_calls"] = kwargs["tool_calls"][:1]
    blocks = [block for block in message.blocks if not any(block is other for other in others)]
    message = message.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})
    return response.model_copy(update={"message": message})


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The tool calls in a response. The arguments of an unfinished response may be incomplete."""
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
