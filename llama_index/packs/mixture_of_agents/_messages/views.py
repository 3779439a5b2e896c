"""The conversation as each member of a mixture sees it. Pure.

The aggregator reads it unchanged. Proposers advise and have no tools. They read tool calls, tool results and a list of
the tools as text. A proposer that cannot take an image, for example, reads a short note in its place. The proposers'
messages alternate between user and assistant, since strict providers accept nothing else.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from .prompts import inject, last_user_turn

_OTHER_NAMES = {
    MessageRole.DEVELOPER: MessageRole.SYSTEM,
    MessageRole.CHATBOT: MessageRole.ASSISTANT,
    MessageRole.MODEL: MessageRole.ASSISTANT,
}
"""Roles that only some providers know, and the name that all of them know."""
_ROLES = {
    **_OTHER_NAMES,
    MessageRole.FUNCTION: MessageRole.USER,
    MessageRole.TOOL: MessageRole.USER,
}
_ASSISTANT_BEGINS = "(The conversation begins with the assistant.)"
_DEEPEST = 4
_YOUR_TURN = "Please answer now."
_PLAIN = frozenset({"text", "thinking", "tool_call", "cache", "citable", "citation"})


class Audience:
    """The proposers' views of one conversation, each rendered once.

    Args:
        messages: the conversation; it is not changed.
        prompt: explains the aggregator's tools or schema to the proposers; "" adds nothing.
        specs: the tools or the schema, as specs in any provider's format. They follow the prompt.
    """

    def __init__(
        self, messages: Sequence[ChatMessage], prompt: str = "", specs: Sequence[Any] = ()
    ) -> None:
        self._messages = messages
        self._briefing = (
            "\n".join([prompt, *(f"- {described(spec)}" for spec in specs)]) if specs else ""
        )
        self._kinds = frozenset(block.block_type for m in messages for block in m.blocks) - _PLAIN
        self._views: dict[frozenset[str], list[ChatMessage]] = {}

    def kinds(self, takes: Callable[[], Iterable[str]]) -> frozenset[str]:
        """The special kinds of content in this conversation that a proposer takes.

        Args:
            takes: returns all kinds that the proposer takes. It is called only if the conversation has special content.

        Returns:
            The kinds, for ``view``. Content that every model takes is no kind of its own.
        """
        return self._kinds & frozenset(takes()) if self._kinds else self._kinds

    def view(self, kinds: frozenset[str] = frozenset()) -> list[ChatMessage]:
        """The conversation for proposers that take these kinds of content as well as text."""
        if kinds not in self._views:
            view = for_proposers(self._messages, kinds)
            self._views[kinds] = inject(view, self._briefing) if self._briefing else view
        return self._views[kinds]


def for_proposers(
    messages: Sequence[ChatMessage], kinds: frozenset[str] = frozenset()
) -> list[ChatMessage]:
    """Render a conversation for proposers.

    Args:
        messages: the conversation; it is not changed.
        kinds: kinds of content to keep; everything else becomes text.

    Returns:
        The messages. Their roles are in an order that every provider accepts.
    """
    return list(messages) if _is_plain(messages) else _in_order(_as_text(messages, kinds))


def for_aggregator(
    messages: Sequence[ChatMessage], *, fallback: bool = False, portable: bool = False
) -> list[ChatMessage]:
    """Render a conversation for an aggregator: unchanged, except for thinking and the ids of tool calls.

    Thinking from before the last user message is left out.

    Args:
        messages: the conversation; it is not changed.
        fallback: whether another model wrote the earlier answers. All thinking is left out then.
        portable: whether to give tool calls ids that every provider accepts.
    """
    last_turn = last_user_turn(messages)
    turn = -1 if last_turn is None else last_turn
    return [
        _without_foreign(message, thinking=index > turn and not fallback, portable=portable)
        for index, message in enumerate(messages)
    ]


def _is_plain(messages: Sequence[ChatMessage]) -> bool:
    """Whether every proposer takes these messages as they are: only text, in the order that _in_order makes."""
    turns = messages[1:] if messages and messages[0].role == MessageRole.SYSTEM else messages
    expected = (MessageRole.USER, MessageRole.ASSISTANT)
    return (
        len(turns) % 2 == 1
        and all(message.role == expected[number % 2] for number, message in enumerate(turns))
        and all(m.blocks and "tool_calls" not in m.additional_kwargs for m in turns)
        and all(block.block_type == "text" for m in messages for block in m.blocks)
    )


def _as_text(messages: Sequence[ChatMessage], kinds: frozenset[str]) -> Iterable[ChatMessage]:
    names: dict[str, str] = {}
    for message in messages:
        role = _ROLES.get(message.role, message.role)
        blocks = [shown for block in message.blocks for shown in _shown(block, kinds)]
        if message.role in (MessageRole.TOOL, MessageRole.FUNCTION):
            kwargs = message.additional_kwargs
            name = names.get(str(kwargs.get("tool_call_id"))) or str(kwargs.get("name") or "")
            title = f"(The assistant's tool{' ' if name else ''}{name} returned:)"
            blocks = [TextBlock(text=title), *blocks]
        yield ChatMessage(role=role, blocks=blocks)
        calls = list(_calls(message))
        names |= {call_id: name for call_id, name, _ in calls}
        if calls:
            lines = "\n".join(f"(The assistant called its tool {n} with {a}.)" for _, n, a in calls)
            yield ChatMessage(role=MessageRole.USER, content=lines)


def _calls(message: ChatMessage) -> Iterable[tuple[str, str, str]]:
    """Id, name and arguments of each tool call of a message, from its blocks or its ``additional_kwargs``."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    for block in blocks:
        yield block.tool_call_id or "", block.tool_name, _json(block.tool_kwargs)
    if not blocks:
        for call in message.additional_kwargs.get("tool_calls") or ():
            function = _get(call, "function") or call
            yield (
                str(_get(call, "id") or ""),
                str(_get(function, "name")),
                _json(_get(function, "arguments")),
            )


def _shown(block: ContentBlock, kinds: frozenset[str]) -> Iterable[ContentBlock]:
    kind = block.block_type
    if kind == "text" or kind in kinds:
        yield block
    elif isinstance(block, CitableBlock):
        yield TextBlock(text=f"{block.title}:")
        yield from (shown for part in block.content for shown in _shown(part, kinds))
    elif isinstance(block, CitationBlock):
        yield from _shown(block.cited_content, kinds)
    elif kind not in _PLAIN:
        article = "an" if kind[0] in "aeiou" else "a"
        yield TextBlock(text=f"[{article} {kind} that is not shown to you]")


def _in_order(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Order the messages: one system message, then user and assistant in turn, the user first and last."""
    system: list[ContentBlock] = []
    turns: list[tuple[MessageRole, list[ContentBlock]]] = []
    for message in messages:
        if message.role == MessageRole.SYSTEM:
            system += message.blocks
        elif not message.blocks:
            continue
        elif turns and turns[-1][0] == message.role:
            turns[-1][1].extend(message.blocks)
        else:
            turns.append((message.role, list(message.blocks)))
    if turns and turns[0][0] == MessageRole.ASSISTANT:
        turns.insert(0, (MessageRole.USER, [TextBlock(text=_ASSISTANT_BEGINS)]))
    if not turns or turns[-1][0] == MessageRole.ASSISTANT:
        turns.append((MessageRole.USER, [TextBlock(text=_YOUR_TURN)]))
    if system:
        turns.insert(0, (MessageRole.SYSTEM, system))
    return [ChatMessage(role=role, blocks=_joined(blocks)) for role, blocks in turns]


def _joined(blocks: Sequence[ContentBlock]) -> list[ContentBlock]:
    """Join adjacent text blocks into one, with a blank line between them."""
    joined: list[ContentBlock] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if isinstance(block, TextBlock) and isinstance(last, TextBlock):
            joined[-1] = TextBlock(text=f"{last.text}\n\n{block.text}")
        else:
            joined.append(block)
    return joined


def described(spec: Any) -> str:
    """Describe a tool in one line, from its spec in OpenAI's, Anthropic's or Google's format."""
    spec = _get(spec, "function") or spec
    schema: Any = _get(spec, "parameters") or _get(spec, "input_schema") or {}
    name = str(_get(spec, "name") or "a tool")
    text = re.sub(
        r"\s+", " ", _without_signature(str(_get(spec, "description") or ""), name)
    ).strip()
    arguments = _fields(schema, _get(schema, "$defs") or {}, 0)
    return f"{name}({arguments}){': ' if text else ''}{text}"


def _without_signature(description: str, name: str) -> str:
    """A description without its first line if LlamaIndex's FunctionTool wrote that: "add(a: int) -> int"."""
    first, _, rest = description.partition("\n")
    return rest if first.startswith(f"{name}(") else description


def _fields(schema: Any, named: Mapping[str, Any], depth: int) -> str:
    """The properties of a JSON schema: "title: string, year?: integer". A question mark means optional."""
    needed = _get(schema, "required") or ()
    properties: Mapping[str, Any] = _get(schema, "properties") or {}
    return ", ".join(
        f"{name}{'' if name in needed else '?'}: {_type(field, named, depth)}"
        for name, field in properties.items()
    )


def _type(field: Any, named: Mapping[str, Any], depth: int) -> str:
    reference = str(_get(field, "$ref") or "").rpartition("/")[2]
    if reference and depth < _DEEPEST:
        return _type(named.get(reference, {}), named, depth + 1)
    options = _get(field, "enum") or ()
    several = _get(field, "anyOf") or _get(field, "oneOf") or ()
    if options or several:
        return " or ".join(
            [*map(json.dumps, options), *(_type(one, named, depth) for one in several)]
        )
    if _get(field, "properties"):
        return f"{{{_fields(field, named, depth)}}}"
    if _get(field, "items"):
        return f"list of {_type(_get(field, 'items'), named, depth)}"
    return reference or str(_get(field, "type") or "any")


def _without_foreign(message: ChatMessage, *, thinking: bool, portable: bool) -> ChatMessage:
    blocks = [block for block in message.blocks if thinking or block.block_type != "thinking"]
    kwargs = dict(message.additional_kwargs)
    if portable:
        if any(isinstance(block, ToolCallBlock) for block in blocks):
            kwargs.pop("tool_calls", None)  # the same calls, as objects of the SDK that made them
        if kwargs.get("tool_call_id"):
            kwargs["tool_call_id"] = _portable(kwargs["tool_call_id"])
        blocks = [
            block.model_copy(update={"tool_call_id": _portable(block.tool_call_id)})
            if isinstance(block, ToolCallBlock)
            else block
            for block in blocks
        ]
    role = _OTHER_NAMES.get(message.role, message.role)
    if (role, blocks, kwargs) == (message.role, message.blocks, message.additional_kwargs):
        return message
    return ChatMessage(role=role, blocks=blocks, additional_kwargs=kwargs)


def _portable(call_id: str | None) -> str:
    """An id of a tool call that every provider accepts. Mistral wants nine letters and digits."""
    if call_id and re.fullmatch(r"[a-zA-Z0-9]{9}", call_id):
        return call_id
    return hashlib.sha256((call_id or "").encode()).hexdigest()[:9]


def _json(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments or {}, default=str)


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
