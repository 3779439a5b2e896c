"""Turns messages in OpenAI's format into LlamaIndex's messages, for batches and for the server."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

_ROLES = {
    "system": MessageRole.SYSTEM,
    # Some LLM classes do not know this role. OpenAI's class turns the system role back where a model needs that.
    "developer": MessageRole.SYSTEM,
    "user": MessageRole.USER,
    "assistant": MessageRole.ASSISTANT,
    "tool": MessageRole.TOOL,
}


def message_of(data: Any) -> ChatMessage:
    """Read one message (https://platform.openai.com/docs/api-reference/chat/create, "messages").

    Args:
        data: the message: ``role``, ``content``, ``name``, and by role ``tool_calls``, ``refusal`` or ``tool_call_id``.

    Returns:
        LlamaIndex's message. Tool calls become blocks, and a refusal becomes text. A name goes to
        ``additional_kwargs``: LlamaIndex has no field for it.

    Raises:
        ValueError: The message is not in OpenAI's format; the text says what is wrong.
    """
    if not isinstance(data, Mapping):
        problem = f'a message is {data!r}; write {{"role": "user", "content": "..."}}'
        raise ValueError(problem)  # noqa: TRY004 - like every other mistake in the data
    message: Mapping[str, Any] = data  # type: ignore[reportUnknownVariableType]
    role, calls, refusal = (message.get(name) for name in ("role", "tool_calls", "refusal"))
    if not isinstance(role, str) or role not in _ROLES:
        known = "user, assistant, system, developer or tool"
        raise ValueError(f"a message has the role {role!r}; the roles are {known}")
    if calls and role != "assistant":
        raise ValueError(f'a message of the role {role!r} has "tool_calls"; only "assistant" has')
    blocks = _blocks(message.get("content"), may_be_empty=bool(calls or refusal))
    if role == "tool":
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            raise ValueError(
                'a message of the role "tool" needs "tool_call_id", the id of its call'
            )
        kept = {"tool_call_id": call_id}
        return ChatMessage(role=MessageRole.TOOL, blocks=blocks, additional_kwargs=kept)
    if role == "assistant" and isinstance(refusal, str) and refusal:
        blocks.append(TextBlock(text=refusal))
    name = message.get("name")
    named = {"name": name} if isinstance(name, str) and name else {}
    blocks += _calls(calls)
    return ChatMessage(role=_ROLES[role], blocks=blocks, additional_kwargs=named)


def _blocks(content: Any, *, may_be_empty: bool) -> list[ContentBlock]:
    if isinstance(content, str):
        return [TextBlock(text=content)] if content or not may_be_empty else []
    if content is None and may_be_empty:
        return []
    if not isinstance(content, (list, tuple)) or not content:
        raise ValueError(f'the content of a message is {content!r}; write "content": "..."')
    return [_part(one) for one in content]  # type: ignore[reportUnknownVariableType]


def _part(part: Any) -> ContentBlock:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return TextBlock(text=text)
        case {"type": "image_url", "image_url": {"url": str(url), **more}}:
            detail = more.get("detail")
            return ImageBlock(url=url, detail=detail if isinstance(detail, str) else None)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}}:
            return AudioBlock(audio=base64.b64decode(data), format=form)
        case _:
            shown = json.dumps(part, default=str)[:80]
            raise ValueError(
                f'a part of a message is neither "text" nor "image_url" nor "input_audio": {shown}'
            )


def _calls(calls: Any) -> list[ToolCallBlock]:
    if calls is not None and not isinstance(calls, (list, tuple)):
        raise ValueError(f'"tool_calls" of a message is {calls!r}; write a list of calls')
    return [_call(one) for one in calls or ()]  # type: ignore[reportUnknownVariableType]


def _call(call: Any) -> ToolCallBlock:
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return ToolCallBlock(
                tool_call_id=call_id, tool_name=name, tool_kwargs=_arguments(arguments)
            )
        case _:
            wanted = (
                '{"id": "...", "type": "function", "function": {"name": "...", "arguments": "{}"}}'
            )
            shown = json.dumps(call, default=str)[:80]
            raise ValueError(f"a tool call is {shown}; write {wanted}")


def _arguments(text: str) -> Any:
    """The arguments as a dict, which some LLM classes need. Text that is not JSON object stays text."""
    try:
        read: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return read if isinstance(read, dict) else text  # type: ignore[reportUnknownVariableType]
