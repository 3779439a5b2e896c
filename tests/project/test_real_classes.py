"""LlamaIndex's own classes for other providers: what they hand on of bodies as these providers send them, and what
they send of what a recipe says.

The integrations have a virtual environment of their own (make providers).
"""

import importlib
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote

import pytest
from asking import QUESTION, ask, in_every_way
from hostile import head, hostile
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai import OpenAIResponses
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents._providers.facts import address
from llama_index.packs.mixture_of_agents._providers.models import ModelSpec, make_llm
from llama_index.packs.mixture_of_agents.errors import AggregatorFailed, QuorumNotMet
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.recipe import Aggregator
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

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


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-4.1",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "forty-two", "annotations": []}],
        }
    ],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 60,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 67,
    },
}

BODIES: dict[str, Any] = {
    "/like/responses": RESPONSE,
    "/like/responses+": [
        {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "forty-two", "logprobs": []},
        {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
    ],
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


class Provider(ThreadingHTTPServer):
    """Answers with the bodies above, after the refusals that it was told of."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorded)
        self.connections = 0
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.refusals: list[tuple[int, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.said: tuple[str, str] | None = None
        """Kind and text of every answer, whatever is asked."""


class Recorded(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open
    server: Provider  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        path, _, query = self.path.partition("?")
        if self.server.said is not None:
            self.send(*self.server.said)
            return
        streamed = "alt=sse" in query or body.get("stream")
        if body:
            self.server.asked.append(body)
        if body and self.server.refusals:
            status, why = self.server.refusals.pop(0)
            self.send("application/json", json.dumps({"error": {"message": why}}), status)
            return
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

    def send(self, kind: str, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def make(name: str, base: str, **more: Any) -> Any:
    module = importlib.import_module(f"llama_index.llms.{name}")
    if name == "anthropic":
        return module.Anthropic(
            model="claude-sonnet-4-5", base_url=base, **{"api_key": KEY, **more}
        )
    if name == "google_genai":
        return module.GoogleGenAI(
            model="gemini-2.5-flash",
            http_options={"base_url": base},
            context_window=9000,
            max_tokens=900,
            **{"api_key": KEY, **more},
        )
    if name == "azure_openai":
        return module.AzureOpenAI(
            model="gpt-4.1", engine="e", azure_endpoint=base, api_version="1", api_key=KEY
        )
    if name == "ollama":
        return module.Ollama(model="llama3.2", base_url=base, context_window=9000, **more)
    return module.OpenAILike(
        model="m", api_base=f"{base}/like", is_chat_model=True, **{"api_key": KEY, **more}
    )


class Number(BaseModel):
    value: int


KEY = "a-secret-key"
KEEP = CallPolicy(truncated="keep", retries=0)
EXPECTED = {
    "anthropic": Usage(60, 7, 0, 20, 1, cache_write_tokens=30),
    "google_genai": Usage(60, 12, 5, 20, 1),
    "ollama": Usage(60, 7, requests=1),
    "openai_like": Usage(60, 7, requests=1),
}


@in_every_way
@pytest.mark.parametrize("name", EXPECTED)
async def test_usage_and_finish_reason_are_read(name: str, way: str, provider: Provider):
    llm, other = make(name, provider.base), make(name, provider.base)
    mixture = MixtureOfAgents(moa([llm], other, layers=1, call=KEEP, max_tokens=None))
    result = await ask(mixture, way)
    assert result.answer == "forty-two"
    assert [call.usage for call in result.calls] == [EXPECTED[name]] * 2
    (proposal,) = result.calls[-1].proposals
    assert proposal.finish_reason in ("max_tokens", "length", "stop")


SETTINGS = {
    "anthropic": ((), ("temperature", "max_tokens", "top_p")),
    "google_genai": (("generationConfig",), ("temperature", "maxOutputTokens", "topP")),
    "ollama": (("options",), ("temperature", "num_predict", "top_p")),
    "openai_like": ((), ("temperature", "max_tokens", "top_p")),
}


@in_every_way
@pytest.mark.parametrize("name", SETTINGS)
async def test_the_settings_of_a_recipe_reach_the_provider(name: str, way: str, provider: Provider):
    llm = make(name, provider.base, temperature=0.9)
    before = llm.model_dump()
    proposer = Proposer(llm, temperature=0.25, max_tokens=77)
    aggregator = Aggregator(llm, temperature=0.5, max_tokens=78)
    mixture = MixtureOfAgents(moa([proposer], aggregator, layers=1, call=KEEP))
    await ask(mixture, way, top_p=0.75)
    place, names = SETTINGS[name]
    said = [body[place[0]] if place else body for body in provider.asked]
    assert [[body[n] for n in names] for body in said] == [[0.25, 77, 0.75], [0.5, 78, 0.75]]
    assert llm.model_dump() == before


@pytest.mark.parametrize("name", ["anthropic", "google_genai", "openai_like"])
async def test_a_temperature_that_is_refused_is_left_out(name: str, provider: Provider):
    llm = make(name, provider.base, temperature=0.9)
    mixture = MixtureOfAgents(moa([llm], llm, layers=1, call=KEEP))
    provider.refusals.append((400, "temperature is not supported with this model"))
    await mixture.achat(QUESTION)
    refused, *others = [body.get("generationConfig", body) for body in provider.asked]
    assert "temperature" in refused
    assert len(others) == 2
    assert not any("temperature" in body for body in others)


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_failed_request_is_repeated_by_the_mixture_alone(name: str, provider: Provider):
    llm = make(name, provider.base)
    mixture = MixtureOfAgents(moa([llm], llm, layers=1, call=CallPolicy(retries=1, backoff=0)))
    provider.refusals += [(503, "overloaded")] * 2
    with pytest.raises(QuorumNotMet, match="server_error 503 after 2 attempts"):
        await mixture.achat(QUESTION)
    assert len(provider.asked) == 2


ERROR = json.dumps({"error": {"message": "the model is busy", "code": 429}})
ERRORS = {
    "json": ("application/json", ERROR),
    "events": ("text/event-stream", f"data: {ERROR}\n\n"),
    "lines": ("application/x-ndjson", f"{ERROR}\n"),
}


@in_every_way
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("said", ERRORS)
async def test_an_error_with_status_200_is_told_in_the_providers_words(
    said: str, name: str, way: str, provider: Provider
):
    llm = make(name, provider.base)  # Google's asks for its model
    provider.said = ERRORS[said]
    mixture = MixtureOfAgents(moa([ScriptedLLM("42")], llm, layers=1, call=KEEP))
    with pytest.raises(AggregatorFailed, match=r"rate_limited 429 after 1 attempt.*is busy"):
        await ask(mixture, way)


ENDLESS = {
    "a body": lambda: chain([head()], repeat(b" " * 2**20)),
    "a stream": lambda: chain([head("text/event-stream")], repeat(b"a" * 2**20)),
    "headers": lambda: chain([b"HTTP/1.1 200 OK\r\nX-A: "], repeat(b"a" * 10_000)),
}


@in_every_way
@pytest.mark.parametrize("name", [*EXPECTED, "azure_openai"])
@pytest.mark.parametrize("what", ENDLESS)
async def test_an_endless_answer_fails_at_its_bound_and_its_connection_closes(
    what: str, name: str, way: str
):
    with hostile(lambda _: ENDLESS[what]()) as server:
        llm = make(name, server.base)
        mixture = MixtureOfAgents(moa([ScriptedLLM("42")], llm, layers=1, call=KEEP))
        with pytest.raises(AggregatorFailed, match=r"bad_response after 1 attempt.* sent more"):
            await ask(mixture, way)
        assert await server.ended(1)
    assert server.sent[0] < 80 * 2**20


@in_every_way
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", [*EXPECTED, "azure_openai"])
async def test_an_endless_error_is_read_to_a_bound(name: str, status: int, way: str):
    start = head("text/plain", status=status) + b"overloaded "
    with hostile(lambda _: chain([start], repeat(b"very " * 10_000))) as server:
        llm = make(name, server.base)
        mixture = MixtureOfAgents(moa([ScriptedLLM("42")], llm, layers=1, call=KEEP))
        with pytest.raises(AggregatorFailed, match=rf"{status} after 1 attempt.*overloaded"):
            await ask(mixture, way)
        assert await server.ended(1)
    assert server.sent[0] < 16 * 2**20


@pytest.mark.parametrize("name", ["anthropic", "google_genai", "openai_like"])
async def test_a_key_in_a_providers_error_is_not_passed_on(name: str, provider: Provider):
    llm = make(name, provider.base)
    provider.refusals.append((401, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(QuorumNotMet, match="Incorrect API key provided") as raised:
        await MixtureOfAgents(moa([llm], llm, layers=1, call=KEEP)).achat(QUESTION)
    assert KEY not in str(raised.value)


def test_an_ollama_is_held_to_a_schema(provider: Provider):
    mixture = MixtureOfAgents(moa([ScriptedLLM("42")], make("ollama", provider.base), layers=1))
    with pytest.raises(ValueError, match="forty-two"):
        mixture.structured_predict(Number, PromptTemplate("What is 6 times 7?"))
    (asked,) = provider.asked
    assert asked["format"] == Number.model_json_schema()
    assert "value" in asked["messages"][-1]["content"]


def test_an_ollama_is_asked_where_ollama_host_says(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_HOST", provider.base.replace("http://127.0.0.1", "0.0.0.0"))
    llm = make_llm(ModelSpec("ollama:llama3.2", settings={"context_window": 9000}))
    assert llm.chat(QUESTION).message.content == "forty-two"
    elsewhere = ModelSpec("ollama:llama3.2", api_base="http://127.0.0.1:1")
    assert address(make_llm(elsewhere)) == "http://127.0.0.1:1"


CANARY = "c4nary/key+with=signs"
KEYS: dict[str, dict[str, Any]] = {
    "anthropic": {"api_key": CANARY},
    "google_genai": {"api_key": CANARY},
    "ollama": {"headers": {"Authorization": f"Bearer {CANARY}"}},
    "openai_like": {"api_key": CANARY},
    "anthropic with a header": {"default_headers": {"x-team": CANARY}},
    "openai_like with a header": {"default_headers": {"x-team": CANARY}},
}


@pytest.mark.parametrize("way", KEYS)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_a_secret_that_an_error_repeats_reaches_no_text_in_any_form(
    way: str, status: int, provider: Provider, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    llm = make(way.split(maxsplit=1)[0], provider.base, **KEYS[way])
    forms = (CANARY, quote(CANARY, safe=""), b64encode(f"me:{CANARY}".encode()).decode())
    for form in forms:
        provider.refusals.append((status, f"no access with {form} or {CANARY}"))
        with pytest.raises(QuorumNotMet) as raised:
            await MixtureOfAgents(moa([llm], llm, layers=1, call=KEEP)).achat(QUESTION)
        provider.refusals.clear()
        shown = f"{raised.value} {raised.value.result.to_json()} {caplog.text}"
        assert "c4nary" not in shown
        assert form[:-4] not in shown
        assert "no access with" in shown
        assert "***" in shown


@in_every_way
async def test_the_responses_api_gets_its_own_parameters_in_one_request(
    way: str, provider: Provider
):
    llm = OpenAIResponses(model="gpt-4.1", api_key=KEY, api_base=f"{provider.base}/like")
    proposer = Proposer(llm, temperature=0.25, max_tokens=77)
    mixture = MixtureOfAgents(moa([proposer], Aggregator(llm, max_tokens=78), layers=1, call=KEEP))
    result = await ask(mixture, way)
    assert result.answer == "forty-two"
    assert [call.attempts for call in result.calls] == [1, 1]
    assert [body["max_output_tokens"] for body in provider.asked] == [77, 78]
    assert not any({"max_tokens", "stream_options", "n"} & set(body) for body in provider.asked)


def test_samples_of_the_responses_api_are_a_request_each(provider: Provider):
    llm = OpenAIResponses(model="gpt-4.1", api_key=KEY, api_base=f"{provider.base}/like")
    result = MixtureOfAgents(moa([Proposer(llm, samples=2)], llm, layers=1, call=KEEP)).chat(
        QUESTION
    )
    assert len(provider.asked) == 3
    assert result.additional_kwargs["mixture"].degraded == ()


async def test_anthropics_models_are_asked_over_the_connections_that_all_mixtures_share(
    provider: Provider,
):
    for _ in range(2):
        claude = make("anthropic", provider.base)
        mixture = MixtureOfAgents(recipe_of(claude))
        assert (await mixture.achat(QUESTION)).message.content == "forty-two"
        chunks = await mixture.astream_chat(QUESTION)
        assert "".join([chunk.delta or "" async for chunk in chunks]) == "forty-two"
        assert type(claude._aclient._client).__name__ == "AsyncHttpxClientWrapper"
    assert provider.connections == 1


async def test_anthropics_models_keep_their_connections_where_sharing_is_off(provider: Provider):
    for _ in range(2):
        recipe = recipe_of(make("anthropic", provider.base), shared_clients=False)
        assert (await MixtureOfAgents(recipe).achat(QUESTION)).message.content == "forty-two"
    assert provider.connections == 2


async def test_a_callers_client_of_anthropics_sdk_is_used(provider: Provider):
    sdk, httpx = importlib.import_module("anthropic"), importlib.import_module("httpx")
    sent: list[Any] = []

    async def see(request: Any) -> None:
        sent.append(request)

    claude = make("anthropic", provider.base)
    mine = httpx.AsyncClient(event_hooks={"request": [see]})
    claude._aclient = sdk.AsyncAnthropic(api_key=KEY, base_url=provider.base, http_client=mine)
    assert await MixtureOfAgents(recipe_of(claude)).achat(QUESTION)
    assert len(sent) == 2


def recipe_of(llm: Any, **call: Any) -> Any:
    """A recipe whose one proposer and aggregator are this LLM."""
    return moa([llm], llm, layers=1, call=CallPolicy(**call))
