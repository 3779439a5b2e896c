"""Requests that go past most of the OpenAI SDK: the same on the wire, the same answers, the same errors."""

import asyncio
import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai import OpenAI
from wire import ANSWER

from llama_index.packs.mixture_of_agents._providers.faults import diagnose
from llama_index.packs.mixture_of_agents.clients import share_clients
from llama_index.packs.mixture_of_agents.simulation import (
    CLOSE_MIDWAY,
    HANG,
    RESET,
    SimulatedProviders,
    ToolCall,
    call_tools,
)

ASKED = [
    ChatMessage(role="system", content="Be brief."),
    ChatMessage(role="user", content="Wieso „so“?"),
]
TOLD = {"error": {"message": "no such thing", "type": "invalid", "param": "model", "code": "none"}}
CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-4.1",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "So."}}],
}


class Server(ThreadingHTTPServer):
    """Answers every request alike, and keeps what it was sent."""

    daemon_threads = True
    status = 200
    headers: dict[str, str]
    body = b""
    asked: list[tuple[str, dict[str, str], Any]]

    def say(
        self, body: Any, status: int = 200, kind: str = "application/json", **more: str
    ) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.asked = status, []
        self.headers = {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in more.items()}}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, sent, json.loads(body)))
        self.send_response(200 if self.path == "/moved" else self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


def llms(base: str, **more: Any) -> list[LLM]:
    """One with the SDK's client, one with ours; neither retries."""
    alone = OpenAI("gpt-4.1", api_key="k", api_base=base, max_retries=0, **more)
    return [alone, *share_clients(alone)]


async def ask(llm: LLM, *, stream: bool) -> list[Any]:
    """What a question gives: one response, or the chunks of a stream."""
    if stream:
        return [chunk async for chunk in await llm.astream_chat(ASKED)]
    return [await llm.achat(ASKED)]


async def outcome(llm: LLM, *, stream: bool) -> list[dict[str, Any]]:
    """What comes of a question: the answer, or all that an error tells."""
    try:
        said = await ask(llm, stream=stream)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        response = getattr(error, "response", None)
        told = {
            name: getattr(error, name, None)
            for name in ("status_code", "body", "param", "request_id")
        }
        request, cause = str(getattr(error, "request", None)), type(error.__cause__)
        wait = response and response.headers.get("retry-after")
        return [{"error": repr(error), "request": request, "cause": cause, "wait": wait, **told}]
    return [
        {
            "message": one.message.model_dump(),
            "delta": one.delta,
            "raw": one.raw.model_dump(),
            "id": getattr(one.raw, "_request_id", None),
            "tokens": one.additional_kwargs,
        }
        for one in said
    ]


def events(*data: Any) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in data)
        + b"data: [DONE]\n\n"
    )


def _calling(function: dict[str, str]) -> dict[str, Any]:
    """A chunk with a piece of a tool call."""
    name = {"id": "call_1", "type": "function"} if "name" in function else {}
    call = {"index": 0, **name, "function": function}
    return {**CHUNK, "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


WHOLE: dict[str, tuple[Any, int, str, dict[str, str]]] = {
    "an answer": (ANSWER, 200, "application/json", {"x_request_id": "req-1"}),
    "more than is known of": ({**ANSWER, "extra": {"a": [1]}}, 200, "application/json", {}),
    "an unknown reason": (
        {**ANSWER, "choices": [{**ANSWER["choices"][0], "finish_reason": "eos"}]},
        200,
        "application/json",
        {},
    ),
    "less than is promised": ({"choices": ANSWER["choices"]}, 200, "application/json", {}),
    "compressed": (
        gzip.compress(json.dumps(ANSWER).encode()),
        200,
        "application/json",
        {"Content_Encoding": "gzip"},
    ),
    "a bad request": (TOLD, 400, "application/json", {"x_request_id": "req-2"}),
    "a wrong key": (TOLD, 401, "application/json", {}),
    "too many requests": (TOLD, 429, "application/json", {"Retry_After": "7"}),
    "a broken gateway": (b"<h1>Bad gateway</h1>", 502, "text/html", {}),
    "another address": (ANSWER, 307, "application/json", {"Location": "/moved"}),
}
STREAMED: dict[str, tuple[Any, int, str, dict[str, str]]] = {
    "chunks": (events(CHUNK, CHUNK), 200, "text/event-stream", {}),
    "a chunk with more than is known of": (
        events({**CHUNK, "extra": {"a": [1]}, "service_tier": "none such"}),
        200,
        "text/event-stream",
        {},
    ),
    "chunks with less than is promised": (
        events({"choices": [{"delta": {"content": "So."}}]}, {"choices": []}),
        200,
        "text/event-stream",
        {},
    ),
    "a chunk of another kind": (
        events({**CHUNK, "choices": [{**CHUNK["choices"][0], "finish_reason": "eos"}]}),
        200,
        "text/event-stream",
        {},
    ),
    "a chunk that is a list": (events([CHUNK]), 200, "text/event-stream", {}),
    "a chunk that is nothing": (events(CHUNK, None), 200, "text/event-stream", {}),
    "a tool call in pieces": (
        events(*map(_calling, ({"name": "look", "arguments": ""}, {"arguments": "{}"}))),
        200,
        "text/event-stream",
        {},
    ),
    "an error on the way": (events(CHUNK, TOLD), 200, "text/event-stream", {}),
    "no stream at all": (TOLD, 400, "application/json", {}),
    "a stream elsewhere": (events(CHUNK), 307, "text/event-stream", {"Location": "/moved"}),
}


@pytest.mark.parametrize("name", [*WHOLE, *STREAMED])
async def test_sends_and_gives_what_the_sdk_does(server: Server, name: str) -> None:
    body, status, kind, more = {**WHOLE, **STREAMED}[name]
    gave: list[Any] = []
    for llm in llms(server.base):
        server.say(body, status, kind, **more)
        found = await outcome(llm, stream=name in STREAMED)
        gave.append((found, server.asked[-1]))
    assert gave[0] == gave[1]


@pytest.mark.parametrize("said", [b"", b"[]", b"All is well."])
async def test_what_is_no_answer_is_told_as_such(server: Server, said: bytes) -> None:
    from openai import APIConnectionError

    server.say(said)
    with pytest.raises(APIConnectionError) as raised:
        await llms(server.base)[1].achat(ASKED)
    assert "holds no message" in str(raised.value.__cause__)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ends", [HANG, RESET, CLOSE_MIDWAY])
async def test_a_connection_that_fails_is_told_as_by_the_sdk(
    providers: SimulatedProviders, ends: Any, stream: bool
) -> None:
    told: list[Any] = []
    for llm in llms(providers.openai_base, timeout=0.2):
        providers.configure("gpt-4.1", script=[ends])
        with pytest.raises(Exception, match=r"\w") as error:
            await ask(llm, stream=stream)
        told.append(diagnose(error.value).kind)
    assert told == ["connection", "connection"]


async def test_tools_and_choices_are_sent_as_by_the_sdk(providers: SimulatedProviders) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    gave: list[Any] = []
    for llm in llms(providers.openai_base):
        providers.reset()
        providers.configure("gpt-4.1", reply=call_tools(ToolCall("look", {"where": "here"})))
        response = await llm.achat(ASKED, tools=[tool], tool_choice="required", temperature=0.5)
        gave.append((response.message.model_dump(), providers.log()[-1].body))
    assert gave[0] == gave[1]


async def test_a_message_that_keeps_the_sdks_own_objects_is_sent(
    providers: SimulatedProviders,
) -> None:
    gave: list[Any] = []
    for llm in llms(providers.openai_base):
        providers.reset()
        providers.configure("gpt-4.1", reply=call_tools(ToolCall("look", {"where": "here"})))
        tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
        said = (await llm.achat(ASKED, tools=[tool])).message.additional_kwargs
        kept = ChatMessage(role="assistant", additional_kwargs=said)
        called = {"tool_call_id": said["tool_calls"][0].id}
        result = ChatMessage(role="tool", content="Seen.", additional_kwargs=called)
        await llm.achat([*ASKED, kept, result], tools=[tool])
        gave.append(providers.log()[-1].body["messages"])
    assert gave[0] == gave[1]
    assert gave[0][2]["tool_calls"][0]["function"]["name"] == "look"


async def test_an_administrators_key_goes_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-secret")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.say(ANSWER)
    (llm,) = share_clients(OpenAI("gpt-4.1", api_key="", api_base=server.base, max_retries=0))
    for way in (llm.achat, lambda asked: asyncio.to_thread(llm.chat, asked)):
        with pytest.raises(TypeError, match="authentication"):
            await way(ASKED)
    assert not server.asked


async def test_cookies_are_kept_and_sent_as_by_the_sdk(server: Server) -> None:
    sent: list[Any] = []
    for llm in llms(server.base):
        server.say(ANSWER, Set_Cookie="lb=a")
        await llm.achat(ASKED)
        await llm.achat(ASKED)
        sent.append([headers.get("cookie") for _, headers, _ in server.asked])
    assert sent == [[None, "lb=a"]] * 2


async def test_a_client_that_is_given_another_transport_uses_that(server: Server) -> None:
    server.say(ANSWER)
    mocked = httpx.MockTransport(lambda _: httpx.Response(200, json={**ANSWER, "id": "mocked"}))
    client = llms(server.base)[1]._get_aclient()  # type: ignore[attr-defined]
    other = client.with_options(http_client=httpx.AsyncClient(transport=mocked))
    said = await other.chat.completions.create(model="gpt-4.1", messages=[])
    assert (said.id, server.asked) == ("mocked", [])


async def test_a_client_that_retries_does_so_as_the_sdk(server: Server) -> None:
    server.say(TOLD, 503, retry_after="0")
    (llm,) = share_clients(OpenAI("gpt-4.1", api_key="k", api_base=server.base, max_retries=1))
    with pytest.raises(Exception, match="no such thing"):
        await llm.achat(ASKED)
    assert len(server.asked) == 2


async def test_who_reads_the_sdks_log_reads_every_request(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(ANSWER)
    with caplog.at_level(logging.DEBUG, "openai"):
        await llms(server.base)[1].achat(ASKED)
    assert any("HTTP Response" in record.message for record in caplog.records)


async def test_a_call_that_is_given_up_ends_its_request(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", script=[HANG])
    call = asyncio.ensure_future(llms(providers.openai_base)[1].achat(ASKED))
    await providers.await_for("gpt-4.1", arrived=1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await providers.await_for("gpt-4.1", hung_up=1)


async def test_what_is_not_ours_is_the_sdks(providers: SimulatedProviders) -> None:
    (llm,) = share_clients(OpenAI("gpt-4.1", api_key="key", api_base=f"{providers.base}/v1"))
    for client in (llm._get_client(), llm._get_aclient()):
        chat = client.chat
        assert chat.completions.with_raw_response.create
        assert chat.completions.parse
        assert chat.with_streaming_response.completions


def test_a_first_question_imports_none_of_the_sdks_resources(
    providers: SimulatedProviders,
) -> None:
    code = """
import asyncio, sys
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI
from llama_index.packs.mixture_of_agents import MixtureOfAgents

one, two = (OpenAI(name, api_key="key", api_base=sys.argv[1]) for name in ("gpt-4o", "gpt-4.1"))
mixture = MixtureOfAgents(llm=two, proposers=[one])
answer = asyncio.run(mixture.achat([ChatMessage("Well?")]))
answer = mixture.chat([ChatMessage("Well?")])
assert answer.message.content
print([name for name in sys.modules if name.startswith("openai.resources")])
"""
    command = [sys.executable, "-c", code, f"{providers.base}/v1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
