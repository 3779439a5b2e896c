"""A question of a batch, and what a file's record must say to be one."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from llama_index.packs.mixture_of_agents._messages.openai_format import message_of
from llama_index.packs.mixture_of_agents.errors import BatchError

_PLACES = 'a "question", or "messages"'


@dataclass(frozen=True, slots=True)
class Question:
    """A question, or a conversation that waits for its next answer.

    NaN and infinity in ``messages`` and ``fields`` become None, since JSON cannot hold them.

    Args:
        id: Identifies the question and its answer; unique in a batch.
        text: The question; ignored where there are messages.
        messages: The conversation in OpenAI's format: ``{"role": "user", "content": "..."}``. A content may also be a
            list of parts, and the history may hold tool calls and their results
            (https://platform.openai.com/docs/api-reference/chat/create, "messages").
        system: A system prompt to put before it; "" for none.
        fields: Everything else that the file holds for this question; copied to the row of its answer.
    """

    id: str
    text: str = ""
    messages: Sequence[Mapping[str, Any]] = ()
    system: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", _finite(self.messages))
        object.__setattr__(self, "fields", _finite(self.fields))

    def conversation(self, system: str = "") -> list[ChatMessage]:
        """Return the messages that the LLM receives.

        Args:
            system: A system prompt for a question that has none.

        Raises:
            BatchError: The messages are not in OpenAI's format.
        """
        try:
            messages = [message_of(one) for one in self.messages] or [_message("user", self.text)]
        except ValueError as error:
            raise BatchError(str(error)) from None
        before = self.system or ("" if messages[0].role == MessageRole.SYSTEM else system)
        return [_message("system", before), *messages] if before else messages

    def digest(self) -> bytes:
        """Return eight bytes that change when the question changes."""
        text = "" if self.messages else self.text
        content = json.dumps([text, self.system, self.messages], sort_keys=True, default=str)
        return hashlib.blake2b(content.encode(), digest_size=8).digest()


def question_of(record: Any, number: int) -> Question:
    """Read a question from a record of a file; a record for OpenAI's Batch API is accepted too.

    Args:
        record: ``question`` or ``messages``, and optionally ``id``, ``system`` and further fields.
        number: The line; used as the id of a record that has none.

    Raises:
        BatchError: The record is not a question; the message says why, but not where.
    """
    if not isinstance(record, Mapping):
        raise BatchError(f"this is not an object; write one that has {_PLACES}")
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
    if isinstance(messages, Mapping):  # how some data sets hold a list of objects
        messages = _rows(messages)  # type: ignore[reportUnknownArgumentType]
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


def _rows(columns: Mapping[str, Any]) -> Any:
    """The objects of a list that is stored as an object of lists; what is no such object stays as it is."""
    if not columns or not all(isinstance(cells, (list, tuple)) for cells in columns.values()):
        return [columns]
    return [
        dict(zip(columns, cells, strict=False)) for cells in zip(*columns.values(), strict=False)
    ]


def _name(name: Any, number: int) -> str:
    if name is None or name == "":
        return str(number)
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise BatchError(f"the id {name!r} is neither a text nor a whole number")
    return str(name)


def _text(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise BatchError(f'"{name}" is not text but {value!r}; write it between quotes')
    return value or ""


def _message(role: str, content: str) -> ChatMessage:
    return ChatMessage(role=MessageRole(role), blocks=[TextBlock(text=content)])


def _finite(value: Any) -> Any:
    """The same data, with None for NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_finite(one) for one in value]  # type: ignore[reportUnknownVariableType]
    return tuple(map(_finite, value)) if isinstance(value, tuple) else value  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
