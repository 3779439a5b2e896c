"""What stands in place of an answer: errors inside it, a whole answer for a stream, nothing that can be read."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from broken import BUSY, CLASSES, OF_EACH_CLASS, STREAMED, WAYS, always, ask, fails, says_busy
from hostile import head, hostile
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult, moa
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

CHATS = pytest.mark.parametrize("name", ["openai", "mistral"])
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
STREAM = head("text/event-stream")
DONE = b"data: [DONE]\n\n"


def completion(place: str, content: Any, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chat completion ("message") or a chunk of one ("delta")."""
    choice = {"index": 0, place: {"role": "assistant", "content": content}, "finish_reason": reason}
    shared = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**shared, "choices": [{**choice, **more}]}


WHOLE = {**completion("message", "Because.", "stop"), "usage": USAGE}
START, WORD, END = (
    completion("delta", ""),
    completion("delta", "Beca"),
    completion("delta", "use.", "stop"),
)


def events(*bodies: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies)


async def answered(llm: LLM, way: str, *, streamed: bool = True, **call: Any) -> MixtureResult:
    mixture = MixtureOfAgents(moa([ScriptedLLM("So.")], llm, layers=1, call=CallPolicy(**call)))
    return await ask(mixture, way, streamed=streamed)


@pytest.mark.parametrize(
    "sent",
    [
        (head(), json.dumps(WHOLE).encode()),
        (head("application/json; charset=utf-8"), json.dumps(WHOLE, indent=2).encode()),
        (head(), b"\xef\xbb\xbf" + json.dumps(WHOLE).encode()),
        (STREAM, json.dumps(WHOLE).encode()),
        (STREAM, events(WHOLE) + DONE),
    ],
    ids=["JSON", "indented", "with a byte-order mark", "called a stream", "in one event"],
)
@CHATS
@WAYS
async def test_a_whole_answer_in_place_of_a_stream_is_the_answer(
    name: str, way: str, sent: tuple[bytes, ...]
) -> None:
    with hostile(always(*sent)) as server:
        result = await answered(CLASSES[name](server.base), way)
    assert (result.answer, result.degraded) == ("Because.", ())
    assert result.calls[-1].usage.output_tokens == 2
    assert len(server.requests) == 1


@WAYS
async def test_a_whole_answer_in_place_of_a_stream_keeps_its_tool_calls(way: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    choice = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}
    body = {**WHOLE, "choices": [{"index": 0, "finish_reason": "tool_calls", **choice}]}
    with hostile(always(head(), json.dumps(body).encode())) as server:
        llm = CLASSES["openai"](server.base)
        mixture = MixtureOfAgents(moa([ScriptedLLM("So.")], llm, layers=1))
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        result = await ask(mixture, way, streamed=True, tools=[tool])
    (block,) = [one for one in result.message.blocks if one.block_type == "tool_call"]
    assert block.tool_name == "look"


@CHATS
@WAYS
async def test_a_byte_order_mark_takes_nothing_from_a_streams_first_event(
    name: str, way: str
) -> None:
    body = b"\xef\xbb\xbf" + events(WORD, END) + DONE
    with hostile(always(STREAM, body)) as server:
        result = await answered(CLASSES[name](server.base), way)
    assert result.answer == "Because."


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "with a byte-order mark"])
@CHATS
@WAYS
async def test_an_error_as_the_first_event_is_told_behind_a_byte_order_mark(
    name: str, way: str, mark: bytes
) -> None:
    with hostile(always(STREAM, mark + events({"error": BUSY}))) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=True)
    assert says_busy(failure)


@CHATS
@WAYS
@STREAMED
async def test_an_error_inside_a_choice_is_told_in_the_providers_words(
    name: str, way: str, streamed: bool
) -> None:
    chunk = completion("delta" if streamed else "message", "", "error", error=BUSY)
    sent = (
        (STREAM, events(START, chunk) + DONE) if streamed else (head(), json.dumps(chunk).encode())
    )
    with hostile(always(*sent)) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=streamed)
    assert says_busy(failure)


@pytest.mark.parametrize(
    "error",
    [{"error": BUSY}, {**WORD, "error": BUSY}, completion("delta", "", "error", error=BUSY)],
    ids=["alone", "beside a choice", "inside a choice"],
)
@CHATS
@WAYS
async def test_an_error_within_a_stream_is_waited_for_as_its_response_says(
    name: str, way: str, error: dict[str, Any]
) -> None:
    """Its Retry-After is longer than the call may wait, so there is no second attempt."""
    body = events(START, error)
    with hostile(always(head("text/event-stream", Retry_After="70"), body)) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=True, retries=2)
        assert len(server.requests) == 1
    assert says_busy(failure)


@CHATS
@WAYS
async def test_an_error_within_a_stream_is_asked_again_when_its_words_say(
    name: str, way: str
) -> None:
    """No attempt follows without a time that the provider names: a retry would wait too long."""
    busy = {"error": {**BUSY, "message": "busy, try again in 1ms"}}
    bodies = [events(START, busy), events(WORD, END) + DONE]
    with hostile(lambda _: (STREAM, bodies.pop(0))) as server:
        result = await answered(CLASSES[name](server.base), way, backoff=60, max_wait=1)
        assert len(server.requests) == 2
    assert result.answer == "Because."


@pytest.mark.parametrize(
    "body",
    ['{"choices": null}', '{"choices": []}', "{}", "null", "[]", '"busy"', "", '{"choices": [{"message": null}]}'],
)  # fmt: skip
@CHATS
@WAYS
@STREAMED
async def test_what_holds_no_answer_is_shown_as_it_is(
    name: str, way: str, streamed: bool, body: str
) -> None:
    with hostile(always(head(), body.encode())) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=streamed)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert f"the provider's answer holds no message: {body or 'nothing'}" in failure.message


@CHATS
@WAYS
async def test_a_stream_in_place_of_a_whole_answer_is_told(name: str, way: str) -> None:
    with hostile(always(STREAM, events(START, WORD, END) + DONE)) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=False)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert "the provider sent a stream in place of a whole answer" in failure.message


@pytest.mark.parametrize("place", [0, 1, 2, 3])
@WAYS
async def test_an_event_without_choices_takes_nothing_from_its_stream(way: str, place: int) -> None:
    bodies = [START, WORD, END]
    bodies.insert(place, {**START, "choices": None, "usage": USAGE})
    with hostile(always(STREAM, events(*bodies) + DONE)) as server:
        result = await answered(CLASSES["openai"](server.base), way)
    assert result.answer == "Because."


@pytest.mark.parametrize("end", [b"", DONE], ids=["broken off", "with its last line"])
@CHATS
@WAYS
async def test_a_stream_without_a_finish_reason_may_be_incomplete(
    name: str, way: str, end: bytes
) -> None:
    with hostile(always(STREAM, events(START, WORD) + end)) as server:
        result = await answered(CLASSES[name](server.base), way)
    assert result.answer == "Beca"
    assert result.degraded == (
        "the answer may be incomplete: its stream ended without a finish reason",
    )
    assert result.calls[-1].proposals[0].finish_reason == "incomplete"


@CHATS
@WAYS
async def test_a_stream_with_a_finish_reason_needs_no_last_line(name: str, way: str) -> None:
    with hostile(always(STREAM, events(START, WORD, END))) as server:
        result = await answered(CLASSES[name](server.base), way)
    assert (result.answer, result.degraded) == ("Because.", ())


@OF_EACH_CLASS
@WAYS
@STREAMED
async def test_an_answer_that_lacks_what_its_class_reads_is_told_as_that(
    make: Callable[[str], LLM], way: str, streamed: bool
) -> None:
    body = (
        events({"choices": [{}]}) if streamed else b'{"choices": [{"message": {}}], "output": [{}]}'
    )
    with hostile(always(STREAM if streamed else head(), body)) as server:
        failure = await fails(make(server.base), way, streamed=streamed)
    assert failure.kind in (FailureKind.BAD_RESPONSE, FailureKind.EMPTY)
    assert "NoneType" not in failure.message or "cannot be read" in failure.message
