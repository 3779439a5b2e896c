"""An answer in the format of OpenAI's Responses API, which the Open Responses specification took over.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ToolCallBlock
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseFailedEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseFunctionToolCall,
    ResponseIncompleteEvent,
    ResponseInProgressEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
    ResponseReasoningSummaryPartAddedEvent,
    ResponseReasoningSummaryPartDoneEvent,
    ResponseReasoningSummaryTextDeltaEvent,
    ResponseReasoningSummaryTextDoneEvent,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)
from openai.types.responses.response_reasoning_item import Summary
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents._providers.responses import ended_by
from llama_index.packs.mixture_of_agents.events import Usage

from .answer_forms import arguments_of
from .call_pieces import CallPiece, CallsInTurn
from .chat_response import mixture_of, written
from .error_bodies import Problem
from .responses_request import ResponsesRequest, assistant_message
from .served_model import Answer

_ERROR_CODES = {429: "rate_limit_exceeded"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class ResponsesWriter:
    """Writes one answer for clients of the Responses API.

    Attributes:
        asked: The request, whose settings the answer repeats.
        proposals: Whether the client wants the proposals' texts too.
        stored: Whether a later request can continue from this answer.
        id: The answer's own id.
        created: Seconds since the epoch.
    """

    asked: ResponsesRequest
    proposals: bool = False
    stored: bool = False
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _item: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")
    _sent: int = 0
    _text: list[str] = field(default_factory=list[str])
    _items: list[Any] = field(default_factory=list[Any])
    _thoughts: list[str] = field(default_factory=list[str])
    _thinking_ended: bool = False
    _turn: CallsInTurn = field(default_factory=CallsInTurn)
    _calls: dict[int, ResponseFunctionToolCall] = field(
        default_factory=dict[int, ResponseFunctionToolCall]
    )
    _message_at: int | None = None
    _done: set[str] = field(default_factory=set[str])

    def whole(self, answer: Answer) -> bytes:
        """A whole answer, as JSON."""
        return written(self._ended(answer, self._output(answer, answer.text)))

    def as_turn(self) -> dict[str, Any]:
        """The answer that was written, as the message that a later request continues from."""
        messages: list[Any] = [
            item for item in self._items if isinstance(item, ResponseOutputMessage)
        ]
        calls = [item for item in self._items if isinstance(item, ResponseFunctionToolCall)]
        return assistant_message(
            "".join(one.content[0].text for one in messages),
            [(one.call_id, one.name, one.arguments) for one in calls],
        )

    def begin(self) -> bytes:
        """The first events of a stream."""
        response = self._response("in_progress", [])
        return self._event(
            ResponseCreatedEvent, "response.created", response=response
        ) + self._event(ResponseInProgressEvent, "response.in_progress", response=response)

    def piece(self, text: str) -> bytes:
        """A piece of the answer's text."""
        begin = b"" if self._text else self._thought_through() + b"".join(self._open())
        self._text.append(text)
        return begin + self._event(
            ResponseTextDeltaEvent, "response.output_text.delta", **self._place, delta=text, logprobs=[]
        )  # fmt: skip

    def thought(self, text: str) -> bytes:
        """A piece of what happens before the answer, as a summary of reasoning."""
        begin = b""
        if not self._thoughts:
            begin = self._added(0, self._reasoning("in_progress", [])) + self._event(
                ResponseReasoningSummaryPartAddedEvent, "response.reasoning_summary_part.added",
                **self._thinking, part={"type": "summary_text", "text": ""},
            )  # fmt: skip
        self._thoughts.append(text)
        return begin + self._event(
            ResponseReasoningSummaryTextDeltaEvent, "response.reasoning_summary_text.delta",
            **self._thinking, delta=text,
        )  # fmt: skip

    def call(self, piece: CallPiece) -> bytes:
        """A piece of a tool call, which is an item of its own."""
        return b"".join(event for one in self._turn.take(piece) for event in self._called(one))

    def end(self, answer: Answer) -> bytes:
        """The last events of a stream: the items that are done, then the whole response."""
        return b"".join(self._end(answer)) + b"data: [DONE]\n\n"

    def failed(self, problem: Problem) -> bytes:
        """The events that end a stream without an answer."""
        shown = problem.body["error"]
        error = {
            "code": _ERROR_CODES.get(problem.status, "server_error"),
            "message": shown["message"],
        }
        response = self._response("failed", [], error=error)
        event = self._event(ResponseFailedEvent, "response.failed", response=response)
        return event + b"data: [DONE]\n\n"

    @property
    def _place(self) -> dict[str, Any]:
        return {
            "item_id": self._item,
            "output_index": self._message_at or 0,
            "content_index": 0,
        }

    @property
    def _thinking(self) -> dict[str, Any]:
        return {"item_id": self._reasoning_id, "output_index": 0, "summary_index": 0}

    @property
    def _reasoning_id(self) -> str:
        return self.id.replace("resp_", "rs_")

    def _reasoning(self, status: Any, texts: list[str]) -> ResponseReasoningItem:
        summary = [Summary(type="summary_text", text=text) for text in texts]
        return ResponseReasoningItem(
            type="reasoning", id=self._reasoning_id, summary=summary, status=status
        )

    def _thought_through(self) -> bytes:
        """The events that end the reasoning, if there was any and it has not ended."""
        if not self._thoughts or self._thinking_ended:
            return b""
        self._thinking_ended, text = True, "".join(self._thoughts)
        done = self._event(
            ResponseReasoningSummaryTextDoneEvent, "response.reasoning_summary_text.done",
            **self._thinking, text=text,
        ) + self._event(
            ResponseReasoningSummaryPartDoneEvent, "response.reasoning_summary_part.done",
            **self._thinking, part={"type": "summary_text", "text": text},
        )  # fmt: skip
        return done + self._event(
            ResponseOutputItemDoneEvent, "response.output_item.done",
            output_index=0, item=self._reasoning("completed", [text]),
        )  # fmt: skip

    def _open(self) -> Iterator[bytes]:
        self._message_at = int(bool(self._thoughts)) + len(self._calls)
        yield self._added(self._message_at, self._message("in_progress", []))
        yield self._event(
            ResponseContentPartAddedEvent, "response.content_part.added", **self._place, part=_part("")
        )  # fmt: skip

    def _end(self, answer: Answer) -> Iterator[bytes]:
        if not self._text and not answer.calls:
            yield self.piece("")
        yield self._thought_through()
        text = "".join(self._text)
        yield from self._message_done("incomplete" if _is_cut(answer) else "completed")
        for index, call in enumerate(answer.calls):
            yield from self._call_done(index, call)
        output = self._output(answer, text)
        response = self._ended(answer, output)
        kind = ResponseCompletedEvent if response.status == "completed" else ResponseIncompleteEvent
        yield self._event(kind, f"response.{response.status}", response=response)

    def _message_done(self, status: str) -> Iterator[bytes]:
        """The events that end the message, if there is one and it has not ended."""
        if not self._text or self._item in self._done:
            return
        self._done.add(self._item)
        text = "".join(self._text)
        yield self._event(
            ResponseTextDoneEvent, "response.output_text.done", **self._place, text=text, logprobs=[]
        )  # fmt: skip
        yield self._event(
            ResponseContentPartDoneEvent, "response.content_part.done", **self._place, part=_part(text)
        )  # fmt: skip
        yield self._event(
            ResponseOutputItemDoneEvent, "response.output_item.done",
            output_index=self._message_at, item=self._message(status, [_part(text)]),
        )  # fmt: skip

    def _called(self, piece: CallPiece) -> Iterator[bytes]:
        """The events of a piece of a call. A first one ends what came before it."""
        if piece.name:
            yield self._thought_through()
            yield from self._message_done("completed")
            if before := self._calls.get(piece.index - 1):
                yield from self._call_ended(piece.index - 1, before)
            item = _call_item(piece.name, piece.id, "", "in_progress")
            self._calls[piece.index] = item
            yield self._added(self._call_at(piece.index), item.model_copy())
        item = self._calls[piece.index]
        item.arguments += piece.arguments
        yield self._event(
            ResponseFunctionCallArgumentsDeltaEvent, "response.function_call_arguments.delta",
            item_id=item.id, output_index=self._call_at(piece.index), delta=piece.arguments,
        )  # fmt: skip

    def _call_done(self, index: int, call: ToolCallBlock) -> Iterator[bytes]:
        """The events that are left of a call."""
        arguments = arguments_of(call)
        left = self._turn.left(index, arguments)
        if left is None:
            yield from self._called(
                CallPiece(index, call.tool_call_id or "", call.tool_name, arguments)
            )
        elif left:
            yield from self._called(CallPiece(index, "", "", left))
        yield from self._call_ended(index, self._calls[index])

    def _call_ended(self, index: int, item: ResponseFunctionToolCall) -> Iterator[bytes]:
        if item.id in self._done:
            return
        self._done.add(item.id or "")
        item.status = "completed"
        at = self._call_at(index)
        yield self._event(
            ResponseFunctionCallArgumentsDoneEvent, "response.function_call_arguments.done",
            item_id=item.id, output_index=at, name=item.name, arguments=item.arguments,
        )  # fmt: skip
        yield self._event(
            ResponseOutputItemDoneEvent, "response.output_item.done", output_index=at, item=item
        )  # fmt: skip

    def _call_at(self, index: int) -> int:
        """The place of a call in the output: after the reasoning, and after a message that began before it."""
        first = int(bool(self._thoughts))
        return first + index + (self._message_at is not None and self._message_at <= first + index)

    def _added(self, index: int, item: Any) -> bytes:
        return self._event(
            ResponseOutputItemAddedEvent, "response.output_item.added", output_index=index, item=item
        )  # fmt: skip

    def _event(self, kind: type[BaseModel], name: str, /, **fields: Any) -> bytes:
        event = kind(type=name, sequence_number=self._sent, **fields)
        self._sent += 1
        return f"event: {name}\ndata: ".encode() + written(event) + b"\n\n"

    def _output(self, answer: Answer, text: str) -> list[Any]:
        calls = [
            self._calls.get(index) or _call_item(call.tool_name, call.tool_call_id, arguments_of(call), "completed")
            for index, call in enumerate(answer.calls)
        ]  # fmt: skip
        message = self._message("incomplete" if _is_cut(answer) else "completed", [_part(text)])
        reasoning = [self._reasoning("completed", [answer.reasoning])] if answer.reasoning else []
        self._items = [*reasoning, *calls]
        if text or not calls:
            at = len(reasoning) if self._message_at is None else self._message_at
            self._items.insert(at, message)
        return self._items

    def _message(self, status: Any, content: list[Any]) -> ResponseOutputMessage:
        return ResponseOutputMessage(
            type="message", id=self._item, role="assistant", status=status, content=content
        )

    def _ended(self, answer: Answer, output: list[Any]) -> Response:
        reason = _INCOMPLETE.get(ended_by(answer.finish_reason))
        more: dict[str, Any] = {"usage": _usage(answer.usage)}
        if reason:
            more["incomplete_details"] = {"reason": reason}
        else:
            more["completed_at"] = int(time.time())
        if answer.result:
            more["mixture"] = mixture_of(answer.result, answer.cost, self.proposals)
        return self._response("incomplete" if reason else "completed", output, **more)

    def _response(self, status: str, output: list[Any], **more: Any) -> Response:
        asked = self.asked
        settings: dict[str, Any] = {
            "error": None,
            "incomplete_details": None,
            "completed_at": None,
            "usage": None,
            "instructions": asked.instructions,
            "previous_response_id": asked.previous_response_id,
            "max_output_tokens": asked.max_output_tokens,
            "max_tool_calls": None,
            "metadata": asked.metadata or {},
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "reasoning": asked.reasoning.model_dump() if asked.reasoning else None,
            "temperature": 1.0 if asked.temperature is None else asked.temperature,
            "top_p": 1.0 if asked.top_p is None else asked.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "top_logprobs": 0,
            "text": _text(asked),
            "tool_choice": _choice(asked),
            "tools": [tool.model_dump() for tool in asked.tools or ()],
            "truncation": asked.truncation or "disabled",
            "store": self.stored,
            "background": False,
            "service_tier": "default",
            "safety_identifier": asked.safety_identifier,
            "prompt_cache_key": asked.prompt_cache_key,
        }
        fields: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": asked.model,
            "output": output,
            **settings,
            **more,
        }
        return Response(**fields)


def _is_cut(answer: Answer) -> bool:
    return ended_by(answer.finish_reason) in _INCOMPLETE


def _call_item(name: str, call_id: str | None, arguments: str, status: Any) -> ResponseFunctionToolCall:  # fmt: skip
    return ResponseFunctionToolCall(
        type="function_call", id=f"fc_{uuid.uuid4().hex}", call_id=call_id or f"call_{uuid.uuid4().hex}",
        name=name, arguments=arguments, status=status,
    )  # fmt: skip


def _part(text: str) -> ResponseOutputText:
    return ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])


def _text(asked: ResponsesRequest) -> dict[str, Any]:
    wanted = asked.text.format if asked.text else None
    written = wanted.model_dump(by_alias=True, exclude_none=True) if wanted else {"type": "text"}
    return {"format": written}


def _choice(asked: ResponsesRequest) -> Any:
    choice = asked.tool_choice
    return choice.model_dump() if isinstance(choice, BaseModel) else choice or "auto"


def _usage(usage: Usage | None) -> dict[str, Any]:
    used = usage or Usage()
    return {
        "input_tokens": used.input_tokens,
        "input_tokens_details": {"cached_tokens": used.cached_tokens, "cache_write_tokens": used.cache_write_tokens},
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        "total_tokens": used.total_tokens,
    }  # fmt: skip
