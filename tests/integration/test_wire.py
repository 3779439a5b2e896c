"""What comes back over HTTP is bounded in bytes, and an error that came with status 200 is told as the error it is."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count, repeat
from typing import Any

import psutil
import pytest
from broken import BUSY, CLASSES, OF_EACH_CLASS, STREAMED, WAYS, always, ask, fails, says_busy
from hostile import head, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import AggregatorFailed, MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.presets import best_of_n
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

TOLD = {"error": BUSY}
MB = 2**20


@OF_EACH_CLASS
@WAYS
@STREAMED
async def test_an_error_that_comes_with_status_200_is_told_in_the_providers_words(
    make: Callable[[str], LLM], way: str, streamed: bool
) -> None:
    with hostile(always(head(Retry_After="7"), json.dumps(TOLD).encode())) as server:
        failure = await fails(make(server.base), way, streamed=streamed)
    assert says_busy(failure)


@OF_EACH_CLASS
@WAYS
async def test_a_stream_that_begins_with_an_error_is_asked_for_again(
    make: Callable[[str], LLM], way: str
) -> None:
    event = b"data: " + json.dumps(TOLD).encode() + b"\n\n"
    with hostile(always(head("text/event-stream"), event)) as server:
        failure = await fails(make(server.base), way, streamed=True, retries=1)
        assert len(server.requests) == 2
    assert says_busy(failure)


@OF_EACH_CLASS
@WAYS
@STREAMED
async def test_a_web_page_in_place_of_an_answer_is_told(
    make: Callable[[str], LLM], way: str, streamed: bool
) -> None:
    page = b"<!doctype html><html><title>Sign in</title></html>"
    with hostile(always(head("text/html; charset=utf-8"), page)) as server:
        failure = await fails(make(server.base), way, streamed=streamed)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert "a web page" in failure.message
    assert "address" in failure.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "rate_limit_daily", "message": "slow down"}, FailureKind.RATE_LIMITED),
        ({"message": "slow down"}, FailureKind.SERVER_ERROR),
        ({"detail": "slow down"}, FailureKind.SERVER_ERROR),
        ({"choices": None, "message": "slow down", "code": 503}, FailureKind.SERVER_ERROR),
        ({"error": "Unexpected endpoint or method: slow down"}, FailureKind.NOT_FOUND),
    ],
)
@pytest.mark.parametrize("name", ["openai", "mistral"])
@WAYS
@STREAMED
async def test_what_stands_in_place_of_an_answer_is_told_in_the_providers_words(
    name: str, way: str, streamed: bool, body: dict[str, Any], kind: FailureKind
) -> None:
    with hostile(always(head(), json.dumps(body).encode())) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=streamed)
    assert failure.kind == kind
    assert "slow down" in failure.message


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]},
    {"type": "text", "text": "Because "},
    {"type": "text", "text": "it is."},
]


def in_parts(place: str, *contents: Any) -> list[bytes]:
    """Chat completions, or the chunks of one, with these contents."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
    ended = ["stop" if content is contents[-1] else None for content in contents]
    return [
        json.dumps(
            {
                **head,
                "choices": [
                    {"index": 0, place: {"role": "assistant", "content": c}, "finish_reason": end}
                ],
            }
        ).encode()
        for c, end in zip(contents, ended, strict=True)
    ]


WHOLE = [head(), *in_parts("message", PARTS)]
CHUNKS = {
    "a list in each chunk": ["", PARTS[:1], PARTS[1:2], PARTS[2:], ""],
    "text after the thinking": ["", PARTS[:1], "Because ", "it is.", ""],
    "all in one": [PARTS],
}


@pytest.mark.parametrize("name", ["openai", "mistral"])
@pytest.mark.parametrize("contents", CHUNKS.values(), ids=CHUNKS)
@WAYS
@STREAMED
async def test_an_answer_in_parts_is_read_as_its_text_and_its_thinking(
    name: str, way: str, streamed: bool, contents: list[Any]
) -> None:
    events = b"".join(b"data: " + one + b"\n\n" for one in in_parts("delta", *contents))
    cut = [events[at : at + 50] for at in range(0, len(events), 50)]  # lines come in pieces
    answer = [head("text/event-stream"), *cut, b"data: [DONE]\n\n"] if streamed else WHOLE
    with hostile(always(*answer)) as server:
        llm = CLASSES[name](server.base)
        mixture = MixtureOfAgents(moa([ScriptedLLM("So.")], llm, layers=1))
        result = await ask(mixture, way, streamed=streamed)
    assert result.answer == "Because it is."
    assert result.calls[-1].proposals[0].thinking == "Let me see."


@WAYS
@STREAMED
async def test_a_refusal_over_http_is_a_content_filter(way: str, streamed: bool) -> None:
    place = "delta" if streamed else "message"
    (refused,) = (
        one.replace(b'"content": null', b'"content": null, "refusal": "I cannot."')
        for one in in_parts(place, None)
    )
    event = b"data: " + refused + b"\n\ndata: [DONE]\n\n"
    answer = [head("text/event-stream"), event] if streamed else [head(), refused]
    with hostile(always(*answer)) as server:
        failure = await fails(CLASSES["openai"](server.base), way, streamed=streamed)
    assert failure.kind == FailureKind.CONTENT_FILTER


# --- bounds --------------------------------------------------------------------------------------

CHUNK = b"data: " + json.dumps(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4.1",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "and "}}],
    }
).encode() + b"\n\n"  # fmt: skip
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a body": (head(), b" " * MB),
    "a line of a stream": (head("text/event-stream"), b"a" * MB),
    "a stream without events": (
        head("text/event-stream"),
        (b": still here" + b"!" * 1000 + b"\n") * 1000,
    ),
    "a body of no kind": (head("text/plain"), b" " * MB),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "openai") for name in ENDLESS), *(("a body", kind) for kind in CLASSES)],
)
@WAYS
@STREAMED
async def test_an_endless_answer_fails_at_its_bound_and_its_connection_closes(
    kind: str, way: str, streamed: bool, name: str
) -> None:
    start, piece = ENDLESS[name]
    with hostile(lambda _: chain([start], repeat(piece))) as server:
        failure = await fails(CLASSES[kind](server.base), way, streamed=streamed)
        assert await server.ended(1)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert re.search("the provider sent (more than|a stream in place of)", failure.message)
    assert server.sent[0] < 80 * MB


def bomb(size: int) -> bytes:
    """A few kilobytes that unpack to this many bytes."""
    return gzip.compress(b" " * size, 9)


BOMB = bomb(100 * MB)


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("application/json", "gzip"), ("application/json", "deflate"), ("text/event-stream", "gzip")],
)
@pytest.mark.parametrize("name", ["openai", "mistral"])
@WAYS
async def test_an_answer_that_unpacks_without_end_fails_at_its_bound(
    name: str, way: str, kind: str, encoding: str
) -> None:
    body = BOMB if encoding == "gzip" else zlib.compress(b" " * (100 * MB), 9)
    before = psutil.Process().memory_info().rss
    with hostile(always(head(kind, Content_Encoding=encoding), body)) as server:
        failure = await fails(CLASSES[name](server.base), way, streamed=kind.startswith("text"))
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert "the provider sent more than" in failure.message
    assert psutil.Process().memory_info().rss - before < 90 * MB


@OF_EACH_CLASS
@WAYS
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
async def test_an_answer_that_cannot_be_unpacked_is_a_bad_response(
    make: Callable[[str], LLM], way: str, encoding: str
) -> None:
    with hostile(always(head(Content_Encoding=encoding), b"{}")) as server:
        failure = await fails(make(server.base), way, streamed=False)
    assert failure.kind == FailureKind.BAD_RESPONSE


@OF_EACH_CLASS
@WAYS
@STREAMED
async def test_an_endless_error_keeps_its_status_and_is_read_to_a_bound(
    make: Callable[[str], LLM], way: str, streamed: bool
) -> None:
    start = head("text/plain", status=503) + b"overloaded "
    with hostile(lambda _: chain([start], repeat(b"very " * 10_000))) as server:
        failure = await fails(make(server.base), way, streamed=streamed)
        assert await server.ended(1)
    assert (failure.kind, failure.status) == (FailureKind.SERVER_ERROR, 503)
    assert len(failure.message) < 1000
    assert server.sent[0] < 16 * MB  # what the sockets' buffers hold


OK = b"HTTP/1.1 200 OK\r\n"
LONG = b"a" * 10_000
HEADS: dict[str, Callable[[], Iterable[bytes]]] = {
    "many headers": lambda: chain([OK], (b"X-%d: %s\r\n" % (one, LONG[:1000]) for one in count())),
    "a long value": lambda: chain([OK + b"X-A: "], repeat(LONG)),
    "a long name": lambda: chain([OK + b"X-A"], repeat(LONG)),
    "a folded header": lambda: chain([OK + b"X-A: b\r\n"], repeat(b" aaaa\r\n" * 1000)),
    "a long status": lambda: chain([b"HTTP/1.1 200 "], repeat(LONG)),
    "trailers": lambda: chain(
        [head(Transfer_Encoding="chunked"), b"2\r\n{}\r\n0\r\n"], repeat(b"X-A: b\r\n" * 1000)
    ),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "openai") for name in HEADS), *(("many headers", kind) for kind in CLASSES)],
)
@WAYS
@STREAMED
async def test_endless_headers_are_a_bad_response_and_their_connection_closes(
    kind: str, way: str, streamed: bool, name: str
) -> None:
    with hostile(lambda _: HEADS[name]()) as server:
        failure = await fails(CLASSES[kind](server.base), way, streamed=streamed)
        assert await server.ended(1)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert "the provider sent more headers than any answer has" in failure.message
    assert server.sent[0] < 16 * MB


@OF_EACH_CLASS
@WAYS
@STREAMED
async def test_an_answer_that_is_no_http_is_a_bad_response(
    make: Callable[[str], LLM], way: str, streamed: bool
) -> None:
    with hostile(always(b"\x15\x03\x03\x00\x02\x02F\r\n\r\n")) as server:  # a server that wants TLS
        failure = await fails(make(server.base), way, streamed=streamed)
    assert failure.kind == FailureKind.BAD_RESPONSE
    assert "is not HTTP; is its address right" in failure.message


@pytest.mark.parametrize("role", ["proposer", "judge"])
@WAYS
async def test_a_bound_holds_for_every_member(role: str, way: str) -> None:
    with hostile(lambda _: chain([head()], repeat(b" " * MB))) as server:
        llm = CLASSES["openai"](server.base)
        if role == "proposer":
            failure = await fails(llm, way, streamed=False, role="proposer")
            assert failure.kind == FailureKind.BAD_RESPONSE
            return
        judged = best_of_n(ScriptedLLM("Because.", "So."), llm, samples=2)
        policy = CallPolicy(retries=0)
        mixture = MixtureOfAgents(replace(judged, call=policy))
        result = await ask(mixture, way, streamed=False)
        assert {one.kind for one in result.failures} == {FailureKind.BAD_RESPONSE}


@given(
    body=st.binary(max_size=3000),
    kind=st.sampled_from(["application/json", "text/event-stream", "text/html", ""]),
    encoding=st.sampled_from(["", "gzip", "deflate", "br", "gzip, gzip", "none"]),
    status=st.sampled_from([200, 204, 302, 400, 429, 500]),
    streamed=st.booleans(),
    packed=st.booleans(),
)
@settings(max_examples=30)
def test_whatever_a_provider_sends_ends_in_an_answer_or_a_failure_of_its_call(
    body: bytes, kind: str, encoding: str, status: int, streamed: bool, packed: bool
) -> None:
    content = gzip.compress(body) if packed else body
    with hostile(always(head(kind, status, Content_Encoding=encoding), content)) as server:
        llm = OpenAI("gpt-4.1", api_key="k", api_base=f"{server.base}/v1")
        policy = CallPolicy(retries=0)
        mixture = MixtureOfAgents(moa([ScriptedLLM("So.")], llm, layers=1, call=policy))
        for way in ("sync", "async"):
            with suppress(AggregatorFailed):
                asyncio.run(ask(mixture, way, streamed=streamed))
