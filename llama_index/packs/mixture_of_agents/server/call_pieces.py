"""Tool calls as they are streamed: an LLM's chunk holds each call as far as it has come, a client gets what is new."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ContentBlock, ToolCallBlock


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a tool call.

    Attributes:
        index: the place of the call among the calls of the answer.
        id: the provider's id; "" after the first piece of a call.
        name: the tool; "" after the first piece of a call.
        arguments: a piece of the arguments as JSON.
    """

    index: int
    id: str
    name: str
    arguments: str


class CallPieces:
    """Cuts the calls of one answer into pieces.

    Arguments that an LLM class reads itself cannot be cut: such a call is written whole at the end.

    Args:
        most: the number of calls that the client may get.
    """

    def __init__(self, most: int) -> None:
        self._most, self._sent = most, dict[int, str]()

    def further(self, blocks: Sequence[ContentBlock]) -> Iterator[CallPiece]:
        """What the blocks of a chunk add to the calls so far."""
        calls = [block for block in blocks if isinstance(block, ToolCallBlock)]
        for index, call in enumerate(calls[: self._most]):
            arguments, before = call.tool_kwargs, self._sent.get(index, "")
            if not isinstance(arguments, str) or not arguments.startswith(before):
                continue
            if arguments != before:
                first = index not in self._sent
                self._sent[index] = arguments
                given = (call.tool_call_id or "", call.tool_name) if first else ("", "")
                yield CallPiece(index, *given, arguments[len(before) :])


class CallsInTurn:
    """Orders the pieces of an answer's calls for an API whose calls come one after the other.

    A call begins once the one before it is complete JSON. What cannot be sent in this order, and arguments that are no
    JSON object, stay for the end.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, list[CallPiece]] = {}
        self._sent: dict[int, str] = {}
        self._turn = 0

    def take(self, piece: CallPiece) -> Iterator[CallPiece]:
        """The pieces that can be sent now, after a further one."""
        self._pieces.setdefault(piece.index, []).append(piece)
        while waiting := self._pieces.get(self._turn):
            sent = self._sent.get(self._turn, "")
            whole = sent + "".join(one.arguments for one in waiting)
            if not whole.lstrip().startswith("{"):
                return
            if whole != sent:
                yield CallPiece(self._turn, waiting[0].id, waiting[0].name, whole[len(sent) :])
                self._sent[self._turn] = whole
                waiting[:] = [CallPiece(self._turn, "", "", "")]
            if self._turn + 1 not in self._pieces or not _is_complete(whole):
                return
            self._turn += 1

    def left(self, index: int, arguments: str) -> str | None:
        """What is left of a call's arguments at the end; None if the call has not begun."""
        sent = self._sent.get(index)
        return None if sent is None else arguments.removeprefix(sent)


def _is_complete(arguments: str) -> bool:
    try:
        json.loads(arguments)
    except ValueError:
        return False
    return True
