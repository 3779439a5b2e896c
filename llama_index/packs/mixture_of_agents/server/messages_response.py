"""An answer in the format of Anthropic's Messages API: https://docs.anthropic.com/en/api/messages-streaming."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from anthropic.types import (
    ContentBlock,
    InputJSONDelta,
    Message,
    MessageDeltaUsage,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from anthropic.types import Usage as AnthropicUsage
from anthropic.types.raw_message_delta_event import Delta
from llama_index.core.base.llms.types import ToolCallBlock
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents._providers.responses import ended_by
from llama_index.packs.mixture_of_agents.events import Usage

from .answer_forms import arguments_of
from .call_pieces import CallPiece, CallsInTurn
from .chat_response import mixture_of, written
from .error_bodies import Problem, body_at
from .served_model import Answer

PATH = "/v1/messages"
_STOPPED: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
}


@dataclass(slots=True)
class MessagesWriter:
    """Writes one answer for Anthropic's clients.

    Attributes:
        model: The name that the model is served by.
        proposals: Whether the client wants the proposals' texts too.
        id: The answer's own id.
    """

    model: str
    proposals: bool = False
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")
    _open: Literal["", "thinking", "text", "call"] = ""
    _index: int = 0
    _calls: CallsInTurn = field(default_factory=CallsInTurn)
    _blocks: dict[int, int] = field(default_factory=dict[int, int])

    def whole(self, answer: Answer) -> bytes:
        """A whole answer, as JSON."""
        content: list[ContentBlock] = [_tool_use(call) for call in answer.calls]
        if answer.text or not content:
            content.insert(0, TextBlock(type="text", text=answer.text))
        if answer.reasoning:
            content.insert(0, _thinking(answer.reasoning))
        message = Message(
            **self._head,
            content=content,
            stop_reason=_reason(answer),
            usage=AnthropicUsage(**_usage(answer.usage)),
        )
        return written(_with_mixture(message, answer, self.proposals))

    def begin(self) -> bytes:
        """The first event of a stream. Its usage is 0: the run's usage is known at its end."""
        usage = AnthropicUsage(input_tokens=0, output_tokens=0)
        empty = Message(**self._head, content=[], stop_reason=None, usage=usage)
        return _event(RawMessageStartEvent(type="message_start", message=empty))

    def piece(self, text: str) -> bytes:
        """A piece of the answer's text."""
        begin = self._opened("text", TextBlock(type="text", text=""))
        return begin + _delta(self._index, TextDelta(type="text_delta", text=text))

    def thought(self, text: str) -> bytes:
        """A piece of what happens before the answer, as thinking."""
        delta = ThinkingDelta(type="thinking_delta", thinking=text)
        return self._opened("thinking", _thinking("")) + _delta(self._index, delta)

    def call(self, piece: CallPiece) -> bytes:
        """A piece of a tool call, which is a block of its own."""
        return b"".join(self._call(one) for one in self._calls.take(piece))

    def end(self, answer: Answer) -> bytes:
        """The last events of a stream: what is left of tool calls, why it stopped, what was used."""
        return b"".join(self._end(answer))

    def failed(self, problem: Problem) -> bytes:
        """The event that ends a stream without an answer."""
        return _named("error", json.dumps(body_at(PATH, problem)).encode())

    @property
    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "stop_sequence": None,
        }

    def _opened(self, kind: Literal["thinking", "text"], block: TextBlock | ThinkingBlock) -> bytes:
        """The events that begin a block of this kind, if it is not open already."""
        if self._open == kind:
            return b""
        closed, self._open = self._closed(), kind
        return closed + _started(self._index, block)

    def _closed(self) -> bytes:
        """The event that ends the open block, if there is one."""
        if not self._open:
            return b""
        self._open, self._index = "", self._index + 1
        return _stopped(self._index - 1)

    def _call(self, piece: CallPiece) -> bytes:
        begin = b""
        if piece.name:
            begin, self._open = self._closed(), "call"
            self._blocks[piece.index] = self._index
            name = piece.id or f"toolu_{uuid.uuid4().hex}"
            begin += _started(
                self._index, ToolUseBlock(type="tool_use", id=name, name=piece.name, input={})
            )
        delta = InputJSONDelta(type="input_json_delta", partial_json=piece.arguments)
        return begin + _delta(self._blocks[piece.index], delta)

    def _call_end(self, index: int, call: ToolCallBlock) -> bytes:
        """What is left of a call; the whole call if it has not begun."""
        left = self._calls.left(index, arguments_of(call))
        if left is not None:
            return self._call(CallPiece(index, "", "", left)) if left else b""
        block = _tool_use(call)
        arguments = json.dumps(block.input, ensure_ascii=False)
        return self._call(CallPiece(index, block.id, block.name, arguments))

    def _end(self, answer: Answer) -> Iterator[bytes]:
        if self._open != "text" and not answer.calls:
            yield self.piece("")
        for index, call in enumerate(answer.calls):
            yield self._call_end(index, call)
        yield self._closed()
        delta = Delta(stop_reason=_reason(answer), stop_sequence=None)
        usage = MessageDeltaUsage(**_usage(answer.usage))
        last = RawMessageDeltaEvent(type="message_delta", delta=delta, usage=usage)
        yield _event(_with_mixture(last, answer, self.proposals))
        yield _event(RawMessageStopEvent(type="message_stop"))


def _event(event: BaseModel) -> bytes:
    return _named(str(cast("Any", event).type), written(event))


def _named(name: str, data: bytes) -> bytes:
    return f"event: {name}\ndata: ".encode() + data + b"\n\n"


def _thinking(text: str) -> ThinkingBlock:
    return ThinkingBlock(type="thinking", thinking=text, signature="")


def _started(index: int, block: TextBlock | ThinkingBlock | ToolUseBlock) -> bytes:
    return _event(
        RawContentBlockStartEvent(type="content_block_start", index=index, content_block=block)
    )


def _delta(index: int, delta: TextDelta | ThinkingDelta | InputJSONDelta) -> bytes:
    return _event(RawContentBlockDeltaEvent(type="content_block_delta", index=index, delta=delta))


def _stopped(index: int) -> bytes:
    return _event(RawContentBlockStopEvent(type="content_block_stop", index=index))


def _tool_use(call: ToolCallBlock) -> ToolUseBlock:
    """A call. Arguments that are no JSON object, which a model may write, go under one name of our own."""
    text = arguments_of(call)
    try:
        read: Any = json.loads(text or "{}")
    except ValueError:
        read = None
    kept: dict[str, object] = {"arguments": text}
    given = cast("dict[str, object]", read) if isinstance(read, dict) else kept
    name = call.tool_call_id or f"toolu_{uuid.uuid4().hex}"
    return ToolUseBlock(type="tool_use", id=name, name=call.tool_name, input=given)


def _reason(answer: Answer) -> StopReason:
    return "tool_use" if answer.calls else _STOPPED[ended_by(answer.finish_reason)]


def _usage(usage: Usage | None) -> dict[str, Any]:
    """Anthropic counts cached tokens beside ``input_tokens``, not among them."""
    used = usage or Usage()
    return {
        "input_tokens": max(0, used.input_tokens - used.cached_tokens),
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }


def _with_mixture(body: Any, answer: Answer, proposals: bool) -> Any:
    """The same with a field of ours, which SDKs keep and ignore."""
    if answer.result:
        body.mixture = mixture_of(answer.result, answer.cost, proposals)
    return body
