"""Tool calls as they are streamed: an LLM's chunk holds each call as far as it has come, a client gets what is new."""

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
