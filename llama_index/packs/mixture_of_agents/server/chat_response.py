"""An answer as OpenAI's SDK reads it: https://platform.openai.com/docs/api-reference/chat/object."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageToolCallUnion,
)
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import (
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
)
from openai.types.chat.chat_completion_message_function_tool_call import Function
from openai.types.completion_usage import (
    CompletionTokensDetails,
    CompletionUsage,
    PromptTokensDetails,
)
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents._providers.responses import ended_by
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import Cost
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .answer_forms import arguments_of
from .call_pieces import CallPiece
from .error_bodies import Problem
from .served_model import Answer

Reason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """Writes one answer in the format of OpenAI's chat completions.

    Attributes:
        model: the name by which the model is served.
        proposals: whether the proposals' texts are part of it.
        usage: whether a stream ends with the run's usage.
        id: the answer's id.
        created: seconds since the epoch.
    """

    model: str
    proposals: bool = False
    usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    _sent: dict[int, str] = field(default_factory=dict[int, str], init=False)

    def whole(self, answer: Answer) -> bytes:
        """A whole answer, as JSON."""
        return written(self._completion(answer))

    def begin(self) -> bytes:
        """The first chunk of a stream."""
        return _event(self._chunk(ChoiceDelta(role="assistant", content="")))

    def piece(self, text: str) -> bytes:
        """A piece of the answer's text."""
        return _event(self._chunk(ChoiceDelta(content=text)))

    def thought(self, text: str) -> bytes:
        """A piece of what happens before the answer, in the field that clients read as reasoning."""
        return _event(self._chunk(ChoiceDelta.model_validate({"reasoning_content": text})))

    def call(self, piece: CallPiece) -> bytes:
        """A piece of a tool call."""
        self._sent[piece.index] = self._sent.get(piece.index, "") + piece.arguments
        return _event(self._call(piece))

    def end(self, answer: Answer) -> bytes:
        """The last chunks of a stream: what is left of tool calls, why it stopped, what was used."""
        return b"".join(map(_event, self._end(answer))) + b"data: [DONE]\n\n"

    def failed(self, problem: Problem) -> bytes:
        """The event that ends a stream without an answer."""
        return b"data: " + json.dumps(problem.body).encode() + b"\n\n"

    def _completion(self, answer: Answer) -> ChatCompletion:
        calls: list[ChatCompletionMessageToolCallUnion] = [
            ChatCompletionMessageFunctionToolCall(
                id=call.tool_call_id or f"call_{uuid.uuid4().hex}",
                type="function",
                function=Function(name=call.tool_name, arguments=arguments_of(call)),
            )
            for call in answer.calls
        ]
        message = ChatCompletionMessage(
            role="assistant",
            content=None if calls and not answer.text else answer.text,
            refusal=None,
        )
        if calls:
            message.tool_calls = calls
        if answer.reasoning:
            message = message.model_copy(update={"reasoning_content": answer.reasoning})
        return ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.model,
            choices=[
                Choice(index=0, message=message, finish_reason=_reason(answer), logprobs=None)
            ],
            **({"usage": _usage(answer.usage)} if answer.usage else {}),
            **self._more(answer),
        )

    def _end(self, answer: Answer) -> Iterator[ChatCompletionChunk]:
        for index, call in enumerate(answer.calls):
            arguments, before = arguments_of(call), self._sent.get(index)
            if before is None:
                call_id = call.tool_call_id or f"call_{uuid.uuid4().hex}"
                yield self._call(CallPiece(index, call_id, call.tool_name, arguments))
            elif arguments.startswith(before) and arguments != before:
                yield self._call(CallPiece(index, "", "", arguments[len(before) :]))
        more = self._more(answer)
        yield self._chunk(ChoiceDelta(), _reason(answer), **({} if self.usage else more))
        if self.usage:
            used = {"usage": _usage(answer.usage)} if answer.usage else {}
            yield ChatCompletionChunk(**self._head, choices=[], **used, **more)

    def _call(self, piece: CallPiece) -> ChatCompletionChunk:
        first: dict[str, Any] = {"id": piece.id, "type": "function"} if piece.name else {}
        named = {"name": piece.name} if piece.name else {}
        function = ChoiceDeltaToolCallFunction(arguments=piece.arguments, **named)
        called = ChoiceDeltaToolCall(index=piece.index, function=function, **first)
        return self._chunk(ChoiceDelta(tool_calls=[called]))

    @property
    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        }

    def _chunk(
        self, delta: ChoiceDelta, reason: Reason | None = None, **more: Any
    ) -> ChatCompletionChunk:
        choice = ChunkChoice(index=0, delta=delta, finish_reason=reason, logprobs=None)
        if self.usage:
            more["usage"] = None  # as OpenAI writes it in each chunk before the one that has it
        return ChatCompletionChunk(**self._head, choices=[choice], **more)

    def _more(self, answer: Answer) -> dict[str, Any]:
        result = answer.result
        return {"mixture": mixture_of(result, answer.cost, self.proposals)} if result else {}


def _event(chunk: BaseModel) -> bytes:
    return b"data: " + written(chunk) + b"\n\n"


def written(answer: BaseModel) -> bytes:
    """It as JSON; half a character, which a provider may say and UTF-8 cannot, as the sign for an unreadable one."""
    try:
        return answer.model_dump_json(exclude_unset=True).encode()
    except ValueError:
        text = json.dumps(answer.model_dump(exclude_unset=True), ensure_ascii=False)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _reason(answer: Answer) -> Reason:
    return "tool_calls" if answer.calls else ended_by(answer.finish_reason)


def _usage(usage: Usage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
    )


def mixture_of(result: MixtureResult, cost: Cost, proposals: bool) -> dict[str, Any]:
    """The facts about a mixture's run that a client receives."""
    usd = cost.usd
    facts: dict[str, Any] = {
        "run_id": result.run_id,
        "answered_by": result.answered_by,
        "degraded": list(result.degraded),
        "calls": len(result.calls),
        "seconds": round(result.elapsed, 3),
        "cost_usd": None if usd is None else float(usd),
        "failures": [
            {"agent": one.agent, "model": one.model, "layer": one.layer, "kind": one.kind.value}
            for one in result.failures
        ],
    }
    if proposals:
        facts["proposals"] = [
            {"agent": one.agent, "model": one.model, "layer": call.layer, "text": one.text}
            for call in result.calls
            if call.role == "proposer"
            for one in call.proposals
        ]
    return facts
