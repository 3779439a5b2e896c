"""Usage and finish reasons as LlamaIndex's own classes hand them on, from bodies as their providers send them.

The integrations have a virtual environment of their own (make providers).
"""

import asyncio
import importlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.policies import CallPolicy

pytestmark = [
    pytest.mark.providers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Google's SDK warns of its own code
]

ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 20,
    "output_tokens": 7,
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "forty-two"}],
    "stop_reason": "max_tokens",
    "stop_sequence": None,
    "usage": ANTHROPIC_USAGE,
}
ANTHROPIC_STREAM = [
    {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None, "usage": {**ANTHROPIC_USAGE, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "forty"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "-two"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": None}, "usage": ANTHROPIC_USAGE},
    {"type": "message_stop"},
]  # fmt: skip
GOOGLE_USAGE = {
    "promptTokenCount": 60,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 5,
    "cachedContentTokenCount": 20,
    "totalTokenCount": 72,
}


def google(text: str, reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    return {
        "candidates": [{**candidate, **({"finishReason": reason} if reason else {})}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
    }


def ollama(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "model": "llama3.2",
        "created_at": "2025-06-01T00:00:00Z",
        "message": message,
        "done": bool(more),
        **more,
    }


OLLAMA_END = {
    "done_reason": "length",
    "total_duration": 9,
    "prompt_eval_count": 60,
    "eval_count": 7,
}
OPENAI_USAGE = {"prompt_tokens": 60, "completion_tokens": 7, "total_tokens": 67}


def openai(kind: str, choices: list[Any], usage: Any = None) -> dict[str, Any]:
    return {
        "id": "c",
        "object": kind,
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }


def openai_chunk(text: str, reason: str | None = None) -> dict[str, Any]:
    delta = {"role": "assistant", "content": text}
    return openai("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": reason}])


BODIES: dict[str, Any] = {
    "/v1/messages": ANTHROPIC,
    "/v1/messages+": ANTHROPIC_STREAM,
    "/v1beta/models/gemini-2.5-flash:generateContent": google("forty-two", "STOP", GOOGLE_USAGE),
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent": [
        google("forty", None, {**GOOGLE_USAGE, "candidatesTokenCount": 3}),
        google("-two", "STOP", GOOGLE_USAGE),
    ],
    "/v1beta/models/gemini-2.5-flash": {"name": "models/gemini-2.5-flash", "inputTokenLimit": 9000, "outputTokenLimit": 900},
    "/api/chat": ollama("forty-two", **OLLAMA_END),
    "/api/chat+": [ollama("forty"), ollama("-two"), ollama("", **OLLAMA_END)],
    "/like/chat/completions": openai(
        "chat.completion",
        [{"index": 0, "message": {"role": "assistant", "content": "forty-two"}, "finish_reason": "length"}],
        OPENAI_USAGE,
    ),
    "/like/chat/completions+": [
        openai_chunk("forty"),
        openai_chunk("-two", "length"),
        openai("chat.completion.chunk", [], OPENAI_USAGE),
    ],
}  # fmt: skip


class Recorded(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        streamed = "alt=sse" in query or json.loads(body or b"{}").get("stream")
        answer = BODIES[f"{path}+" if streamed and f"{path}+" in BODIES else path]
        if isinstance(answer, list) and path == "/api/chat":
            self.send("application/x-ndjson", "".join(json.dumps(part) + "\n" for part in answer))
        elif isinstance(answer, list):
            self.send("text/event-stream", "".join(self.event(part) for part in answer))
        else:
            self.send("application/json", json.dumps(answer))

    do_GET = do_POST  # noqa: N815 - the base class calls it so

    def event(self, part: dict[str, Any]) -> str:
        name = f"event: {part['type']}\n" if "type" in part else ""
        return f"{name}data: {json.dumps(part)}\n\n"

    def send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def make(name: str, base: str) -> Any:
    module = importlib.import_module(f"llama_index.llms.{name}")
    if name == "anthropic":
        return module.Anthropic(model="claude-sonnet-4-5", api_key="k", base_url=base)
    if name == "google_genai":
        return module.GoogleGenAI(
            model="gemini-2.5-flash",
            api_key="k",
            http_options={"base_url": base},
            context_window=9000,
        )
    if name == "ollama":
        return module.Ollama(model="llama3.2", base_url=base, context_window=9000)
    return module.OpenAILike(model="m", api_key="k", api_base=f"{base}/like", is_chat_model=True)


EXPECTED = {
    "anthropic": Usage(60, 7, 0, 20, 1, cache_write_tokens=30),
    "google_genai": Usage(60, 12, 5, 20, 1),
    "ollama": Usage(60, 7, requests=1),
    "openai_like": Usage(60, 7, requests=1),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("name", EXPECTED)
async def test_usage_and_finish_reason_are_read(name: str, way: str, streamed: bool, base: str):
    keep = CallPolicy(truncated="keep", retries=0)
    recipe = moa([make(name, base)], make(name, base), layers=1, call=keep, max_tokens=None)
    mixture = MixtureOfAgents(recipe)
    question = [ChatMessage(role="user", content="What is 6 times 7?")]
    if way == "sync":
        response = await asyncio.to_thread(
            lambda: list(mixture.stream_chat(question))[-1] if streamed else mixture.chat(question)
        )
    elif streamed:
        response = [chunk async for chunk in await mixture.astream_chat(question)][-1]
    else:
        response = await mixture.achat(question)
    result = response.additional_kwargs["mixture"]
    assert result.answer == "forty-two"
    assert [call.usage for call in result.calls] == [EXPECTED[name]] * 2
    (proposal,) = result.calls[-1].proposals
    assert proposal.finish_reason in ("max_tokens", "length", "stop")
