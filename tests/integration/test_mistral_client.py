"""Requests that go past the slow parts of Mistral's SDK: the same on the wire, the same answers, the same errors."""

import asyncio
import json
from typing import Any

import pytest
from broken import STREAMED, WAYS, always
from hostile import Hostile, head, hostile
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.mistralai import MistralAI
from wire import TOOL

from llama_index.packs.mixture_of_agents._providers.mistral_client import plain_chat

ASKED = [
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content="Wieso \u201eso\u201c?"),
]
CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "So.", "tool_calls": None},
    "finish_reason": "stop",
}
ANSWER: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "mistral-small-latest",
    "choices": [CHOICE],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHUNK: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "mistral-small-latest",
    "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "So."}, "finish_reason": None}
    ],
}
REFUSED = {"detail": [{"loc": ["body", "n"], "msg": "no such thing", "type": "value_error"}]}
PARTS = {**CHOICE, "message": {"role": "assistant", "content": [{"type": "text", "text": "So."}]}}
CALL = {"id": "c1", "function": {"name": "look", "arguments": {"where": "here"}}}
CALLING = {**CHOICE, "message": {"role": "assistant", "content": "", "tool_calls": [CALL]}}


def events(*data: Any) -> bytes:
    said = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in data)
    return said + b"data: [DONE]\n\n"


EVENTS = "text/event-stream"
ANSWERS: dict[str, tuple[bytes, Any]] = {
    "an answer": (head(), ANSWER),
    "more than is known of": (head(), {**ANSWER, "extra": {"a": [1]}}),
    "an unknown reason": (head(), {**ANSWER, "choices": [{**CHOICE, "finish_reason": "eos"}]}),
    "content in parts": (head(), {**ANSWER, "choices": [PARTS]}),
    "a call of a tool": (head(), {**ANSWER, "choices": [CALLING]}),
    "less than is promised": (head(), {"choices": [CHOICE]}),
    "no JSON": (head(), b"All is well."),
    "text": (head("text/plain"), b"All is well."),
    "refused parameters": (head(status=422), REFUSED),
    "other refused parameters": (head(status=422), {"detail": "no such thing"}),
    "a wrong key": (head(status=401), {"message": "Unauthorized"}),
    "too many requests": (head(status=429, Retry_After="7"), {"message": "slow down"}),
    "a broken gateway": (head("text/html", 502), b"<h1>Bad gateway</h1>"),
    "nothing": (head(status=204), b""),
    "pieces": (head(EVENTS), events(CHUNK, {**CHUNK, "extra": 1})),
    "a piece with less than is promised": (head(EVENTS), events(CHUNK, {"choices": []})),
    "a piece that is not JSON": (head(EVENTS), b"data: {\n\n"),
}


def llms(base: str, **settings: Any) -> list[MistralAI]:
    """One with the SDK's ``chat``, one with ours."""
    made = [
        MistralAI("mistral-small-latest", api_key="k", endpoint=base, max_retries=0, **settings)
        for _ in range(2)
    ]
    client: Any = made[1]._client
    client.chat = plain_chat(client, client.sdk_configuration)
    assert client.chat is not None
    return made


async def outcome(llm: MistralAI, way: str, *, streamed: bool, **parameters: Any) -> Any:
    """The answer, its pieces, or all that an error contains."""
    try:
        if way == "async" and streamed:
            found = [one async for one in await llm.astream_chat(ASKED, **parameters)]
        elif way == "async":
            found = [await llm.achat(ASKED, **parameters)]
        elif streamed:
            found = await asyncio.to_thread(lambda: list(llm.stream_chat(ASKED, **parameters)))
        else:
            found = [await asyncio.to_thread(llm.chat, ASKED, **parameters)]
    except Exception as error:  # noqa: BLE001 - the two are compared, whatever it is
        response: Any = getattr(error, "raw_response", None)
        more = response and (response.status_code, response.headers.get("retry-after"))
        data = getattr(error, "data", None)
        return [type(error), str(error), getattr(error, "body", None), more, data]
    return [(one.message.model_dump(), one.delta, str(one.raw)) for one in found]


def sent(server: Hostile) -> tuple[list[bytes], Any]:
    """The head and the body of the last request."""
    start, _, body = server.requests[-1].partition(b"\r\n\r\n")
    return sorted(start.split(b"\r\n")), json.loads(body)


@pytest.mark.parametrize("name", ANSWERS)
@WAYS
@STREAMED
async def test_sends_and_gives_what_the_sdk_does(name: str, way: str, streamed: bool) -> None:
    if name == "nothing" and streamed:
        pytest.skip("the SDK raises an error of its HTTP client here, and ours its own error")
    start, body = ANSWERS[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with hostile(always(start, content)) as server:
        found: list[Any] = []
        for llm in llms(server.base):
            gave = await outcome(llm, way, streamed=streamed)
            found.append((gave, sent(server)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0.5, "max_tokens": None, "top_p": 1, "n": 2},
        {"tools": [TOOL], "tool_choice": "any"},
        {"response_format": {"type": "json_object"}, "stop": ["x"]},
        {"http_headers": {"X-Trace": "1"}},
        {"timeout_ms": None},
    ],
)
@WAYS
async def test_parameters_are_sent_as_the_sdk_sends_them(
    parameters: dict[str, Any], way: str
) -> None:
    with hostile(always(head(), json.dumps(ANSWER).encode())) as server:
        found: list[Any] = []
        for llm in llms(server.base):
            gave = await outcome(llm, way, streamed=False, **parameters)
            found.append((gave, sent(server)))
    assert found[0] == found[1]


async def test_cookies_are_kept_and_sent_as_by_the_sdk() -> None:
    answer = always(head(Set_Cookie="lb=a"), json.dumps(ANSWER).encode())
    with hostile(answer) as server:
        for llm in llms(server.base):
            await outcome(llm, "async", streamed=False)
            await outcome(llm, "async", streamed=False)
            assert b"lb=a" in server.requests[-1]


async def test_hooks_see_every_request_and_answer() -> None:
    seen: list[str] = []

    class Hook:
        def before_request(self, context: Any, request: Any) -> Any:
            seen.append(f"{context.operation_id} {request.method}")
            return request

        def after_success(self, context: Any, response: Any) -> Any:
            seen.append(f"{context.operation_id} {response.status_code}")
            return response

    with hostile(always(head(), json.dumps(ANSWER).encode())) as server:
        for llm in llms(server.base):
            hooks: Any = llm._client.sdk_configuration.__dict__["_hooks"]
            hooks.register_before_request_hook(Hook())
            hooks.register_after_success_hook(Hook())
            await outcome(llm, "async", streamed=False)
    assert len(seen) == 4
    assert seen[:2] == seen[2:]


def test_a_client_of_another_kind_keeps_its_chat() -> None:
    assert plain_chat(object(), None) is None
