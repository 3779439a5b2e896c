"""A question of a batch, and what a file's record must say to be one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
)

from llama_index.packs.mixture_of_agents.errors import BatchError

_PLACES = 'a "question", or "messages"'


@dataclass(frozen=True, slots=True)
class Question:
    """A question, or a conversation that waits for its next answer.

    Attributes:
        id: what its answer is found by; unique in its batch.
        text: the question; of no matter where there are messages.
        messages: the conversation as OpenAI writes it: ``{"role": "user", "content": "..."}``; a content may also be a
            list of parts, ``{"type": "text", ...}`` and ``{"type": "image_url", ...}``
            (https://platform.openai.com/docs/api-reference/chat/create, "messages").
        system: a system prompt to go before it; "" for none.
        fields: what else its file says of it; found again beside its answer.
    """

    id: str
    text: str = ""
    messages: Sequence[Mapping[str, Any]] = ()
    system: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def conversation(self, system: str = "") -> list[ChatMessage]:
        """What an LLM is asked.

        Args:
            system: a system prompt for a question that has none.

        Raises:
            BatchError: its messages make no sense.
        """
        asked = [_message(one) for one in self.messages] or [_said("user", self.text)]
        before = self.system or ("" if asked[0].role == MessageRole.SYSTEM else system)
        return [_said("system", before), *asked] if before else asked

    def digest(self) -> bytes:
        """Eight bytes that tell whether a question of the same id is still the same."""
        text = "" if self.messages else self.text  # which is what is asked, and what a row tells
        said = json.dumps([text, self.system, self.messages], sort_keys=True, default=str)
        return hashlib.blake2b(said.encode(), digest_size=8).digest()


def question_of(record: Any, number: int) -> Question:
    """The question that a record of a file is; also of a file for OpenAI's Batch API.

    Args:
        record: the record: ``question`` or ``messages``, and maybe ``id``, ``system`` and further fields.
        number: its line, which is its id where it has none.

    Raises:
        BatchError: it is none; the message says why, but not where.
    """
    if not isinstance(record, Mapping):
        raise BatchError(f"this is no object; write one that has {_PLACES}")
    rest: dict[str, Any] = {**record}  # type: ignore[reportUnknownVariableType]
    if isinstance(rest.get("body"), dict):  # https://platform.openai.com/docs/guides/batch
        body = dict[str, Any](rest["body"])
        rest |= {"id": rest.pop("custom_id", None), "messages": body.pop("messages", None)}
        rest["body"] = body
    name, text, messages, system = (
        rest.pop(key, None) for key in ("id", "question", "messages", "system")
    )
    if text is None and not messages:
        raise BatchError(f"there is no question; write {_PLACES} (it has: {', '.join(record)})")  # type: ignore[reportUnknownArgumentType]
    if text is not None and messages:
        raise BatchError('"question" and "messages" are both there; leave one out')
    made = Question(
        _name(name, number), _text("question", text), messages or (), _text("system", system), rest
    )
    if not made.messages and not made.text.strip():
        raise BatchError("the question is empty; write one, or leave it out")
    if messages:
        made.conversation()
    try:
        json.dumps([made.id, text, messages, system], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BatchError(
            "it holds half a character (a lone surrogate, as \\ud83d), which no request can carry"
        ) from None
    return made


def _name(name: Any, number: int) -> str:
    if name is None or name == "":
        return str(number)
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise BatchError(f"the id {name!r} is neither a text nor a whole number")
    return str(name)


def _text(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise BatchError(f'"{name}" is no text but {value!r}; write it between quotes')
    return value or ""


def _said(role: str, content: str) -> ChatMessage:
    return ChatMessage(role=MessageRole(role), blocks=[TextBlock(text=content)])


def _message(given: Any) -> ChatMessage:
    if not isinstance(given, Mapping):
        raise BatchError(f'a message is {given!r}; write {{"role": "user", "content": "..."}}')
    role, content = given.get("role"), given.get("content")  # type: ignore[reportUnknownMemberType]
    if role not in {one.value for one in MessageRole}:
        raise BatchError(f'a message has the role {role!r}; write "user", "assistant" or "system"')
    if isinstance(content, str):
        return _said(role, content)  # type: ignore[reportUnknownArgumentType]
    if not isinstance(content, list) or not content:
        raise BatchError(f'the content of a message is {content!r}; write "content": "..."')
    return ChatMessage(role=MessageRole(role), blocks=[_part(one) for one in content])  # type: ignore[reportUnknownVariableType]


def _part(part: Any) -> ContentBlock:
    """A part of a message's content."""
    match part:
        case {"type": "text", "text": str(text)}:
            return TextBlock(text=text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return ImageBlock(url=url)
        case _:
            shown = json.dumps(part, default=str)[:80]
            raise BatchError(f'a part of a message is neither "text" nor "image_url": {shown}')
