"""Whatever goes wrong is told in OpenAI's shape, and whoever leaves or is one too many costs nothing."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import httpx
import hypothesis
import pytest
import schemathesis
from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
from llama_index.core.llms.custom import CustomLLM
from members import of_both_providers
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import metrics_with, served
from wire import BODY, CHAT, MESSAGES

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.policies import Breaker, Limits
from llama_index.packs.mixture_of_agents.server import create_app
from llama_index.packs.mixture_of_agents.simulation import Outcome, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

KEY = "sk-a-key-of-this-server"


def told(response) -> dict[str, Any]:
    """The error in a response, which has OpenAI's shape."""
    (error,) = response.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    return error


def metrics(at) -> str:
    return httpx.get(f"{at}/metrics").text


def events(response, begun: Callable[[], object]) -> list[str]:
    """The events of a stream; what is to be done once it has begun."""
    told: list[str] = []
    for line in response.iter_lines():
        if line.startswith("data: "):
            told.append(line.removeprefix("data: "))
            begun()
    return told


@pytest.fixture(scope="module")
def plain():
    """A server whose model answers at once."""
    with (
        served({"moa": ScriptedLLM("ok")}, keys=[KEY, " another "], largest_body=2000) as at,
        httpx.Client(base_url=at, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        yield client


def user(content):
    return {"model": "moa", "messages": [{"role": "user", "content": content}]}


WRONG = [
    (b"{", None, "invalid_json"),
    (b"[1]", None, "invalid_json"),
    ({"model": "moa"}, "messages", "missing"),
    ({"messages": MESSAGES}, "model", "missing"),
    ({"model": "moa", "messages": []}, "messages", "invalid_value"),
    ({"model": "moa", "messages": [{"role": "user"}]}, "messages[0].content", "missing"),
    ({"model": "moa", "messages": [{"role": "x", "content": ""}]}, "messages[0]", "invalid_value"),
    (user(3), "messages[0].content", "invalid_value"),
    (user([{"type": "text", "text": 3}]), "messages[0].content[0].text", "invalid_value"),
    (user([{"type": "video"}]), "messages[0].content[0]", "invalid_value"),
    (
        user([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]),
        "messages[0].content[0].image_url.url",
        "invalid_value",
    ),
    (
        user([{"type": "image_url", "image_url": {"url": "https://"}}]),
        "messages[0].content",
        "invalid_value",
    ),
    ({**BODY, "temperature": 3}, "temperature", "invalid_value"),
    ({**BODY, "max_tokens": 0}, "max_tokens", "invalid_value"),
    ({**BODY, "n": 2}, "n", "invalid_value"),
    ({**BODY, "logprobs": True}, "logprobs", "invalid_value"),
    ({**BODY, "tools": [{"type": "function"}]}, "tools[0].function", "missing"),
    ({**BODY, "mixture": {"top_k": 5}}, None, "unknown_parameter"),
    ({**BODY, "\ud800": 5}, None, "invalid_value"),
    ({**BODY, "messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "invalid_value"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "code"), WRONG, ids=lambda value: str(value)[:60])
def test_a_request_that_makes_no_sense_is_400_and_says_where(plain, body, param, code):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = plain.post(CHAT, content=data, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    error = told(answer)
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"


def test_an_unknown_model_is_404_and_the_known_ones_are_named(plain):
    for answer in (plain.post(CHAT, json={**BODY, "model": "x"}), plain.get("/v1/models/x")):
        assert answer.status_code == 404
        error = told(answer)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "'x' does not exist; there is moa" in error["message"]


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer no"}, {"Authorization": f"Basic {KEY}"},
               {"Authorization": "Bearer \xe9"}, {"Authorization": ""}], ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/metrics", "/nowhere"])
def test_without_a_right_key_everything_is_401_and_no_key_is_told(plain, header, path):
    headers = {name: value.encode("latin-1") for name, value in header.items()}
    with httpx.Client(base_url=plain.base_url) as nobody:
        answer = nobody.get(path, headers=headers)
    assert answer.status_code == 401
    assert told(answer)["code"] == "invalid_api_key"
    assert KEY not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"


def test_every_key_opens_and_health_needs_none(plain):
    assert plain.post(CHAT, json=BODY).status_code == 200
    another = {"Authorization": "bearer another"}
    assert plain.post(CHAT, json=BODY, headers=another).status_code == 200
    assert httpx.get(f"{plain.base_url}/health").json() == {"status": "ok"}
    assert httpx.head(f"{plain.base_url}/health").status_code == 200


def test_too_large_a_body_is_413_whether_its_length_is_told_or_not(plain):
    large = json.dumps(user("x" * 3000)).encode()
    for content in (large, iter([large[:1500], large[1500:]])):
        answer = plain.post(CHAT, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert told(answer)["code"] == "request_too_large"
        assert "2,000 bytes" in told(answer)["message"]


def test_a_body_that_does_not_come_to_its_end_is_408_and_its_connection_is_closed():
    llm = ScriptedLLM("ok")
    with served({"moa": llm}, body_timeout=0.2) as at:
        with socket.create_connection(("127.0.0.1", urlsplit(at).port or 0), timeout=20) as client:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: here\r\nContent-Length: 99\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n{{".encode())
            answer = b"".join(iter(partial(client.recv, 10_000), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        assert 'moa_requests_total{model="",status="408"} 1.0' in metrics(at)
    assert not llm.asked


def test_a_body_that_comes_slowly_but_does_come_is_read():
    body = json.dumps(BODY).encode()
    late = threading.Event()

    def pieces():
        for number, byte in enumerate(body):
            late.wait(0.05 if number % 10 == 0 else 0)
            yield bytes([byte])

    with served({"moa": ScriptedLLM("ok")}, body_timeout=0.3) as at:
        headers = {"Content-Type": "application/json"}
        assert httpx.post(at + CHAT, content=pieces(), headers=headers).status_code == 200


async def test_the_time_limit_of_a_body_is_none_for_its_answer(providers):
    providers.hold("gpt-4.1")
    with (
        served({"moa": of_both_providers(providers)}, body_timeout=0.1) as at,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(httpx.post, at + CHAT, json=BODY, timeout=20)
        await providers.await_for("gpt-4.1", held=1)
        await asyncio.wait({asyncio.ensure_future(asyncio.Event().wait())}, timeout=0.2)
        providers.release("gpt-4.1")
        assert asked.result().status_code == 200


def test_unknown_paths_and_methods_have_openais_shape_too(plain):
    assert (plain.get("/v2").status_code, told(plain.get("/v2"))["code"]) == (404, "unknown_url")
    answer = plain.get(CHAT)
    assert (answer.status_code, told(answer)["code"]) == (405, "method_not_allowed")
    elsewhere = plain.post(f"{CHAT}/", json=BODY)
    assert (elsewhere.status_code, told(elsewhere)["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(
    ("outcome", "status", "code", "again"),
    [
        (failure(429), 429, "rate_limit_exceeded", None),
        (
            failure(400, message="maximum context length is 8 tokens"),
            400,
            "context_length_exceeded",
            "false",
        ),
        (failure(400), 400, "bad_request", "false"),
        (failure(401), 502, "upstream_error", "false"),
        (failure(500), 502, "upstream_error", None),
    ],
    ids=str,
)
def test_what_the_providers_fail_with_decides_the_status_and_whether_to_try_again(
    providers, outcome, status, code, again
):
    providers.configure("*", chances=[(outcome, 1.0)])
    one = providers.openai("gpt-4.1", max_retries=0)
    with (
        served({"moa": of_both_providers(providers), "one": one}) as at,
        httpx.Client(base_url=at) as client,
    ):
        for model, stream in product(("moa", "one"), (False, True)):
            answer = client.post(CHAT, json={**BODY, "model": model, "stream": stream})
            assert answer.status_code == status
            assert told(answer)["code"] == code
            assert answer.headers.get("x-should-retry") == again
            assert "simulated-key" not in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_while_the_only_aggregators_circuit_is_open_nothing_is_asked_and_it_is_503(
    providers, stream
):
    providers.configure("gpt-4.1", chances=[(failure(500), 1.0)])
    limits = Limits(breaker=Breaker(failures=1, cooldown=60))
    with served({"moa": of_both_providers(providers, limits=limits)}) as at:
        first = httpx.post(at + CHAT, json={**BODY, "stream": stream})
        asked = len(providers.log())
        second = httpx.post(at + CHAT, json={**BODY, "stream": stream})
    assert first.status_code == 503
    assert (second.status_code, told(second)["code"]) == (503, "upstream_unavailable")
    assert 0 < int(second.headers["retry-after"]) <= 60
    assert len(providers.log()) == asked


def test_a_run_without_an_answer_before_its_deadline_is_504(providers):
    providers.hold("gpt-4.1")
    with served({"moa": of_both_providers(providers, deadline=0.5)}) as at:
        answer = httpx.post(at + CHAT, json=BODY)
    assert (answer.status_code, told(answer)["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-should-retry"] == "false"


def test_an_error_in_a_stream_that_has_begun_is_an_event_and_the_stream_ends(providers):
    broken = Outcome("error_in_stream", status=500)
    providers.configure("gpt-4.1", reply="one two three " * 20, chances=[(broken, 1.0)])
    providers.hold("gpt-4.1", after=3)
    with (
        served({"moa": of_both_providers(providers)}) as at,
        httpx.stream("POST", at + CHAT, json={**BODY, "stream": True}) as answer,
    ):
        first, *_, last = events(answer, lambda: providers.release("gpt-4.1"))
    assert answer.status_code == 200
    assert json.loads(first)["choices"][0]["delta"]["role"] == "assistant"
    assert json.loads(last)["error"]["code"] == "upstream_error"


def _fault(*_: Any, **__: Any) -> Any:
    raise AssertionError("a fault with sk-secret-0123456789")


class Broken(MixtureOfAgents):
    """A mixture with a fault of its own."""

    achat = astream_chat = _fault


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_our_own_is_500_and_says_nothing_of_it(stream, caplog):
    broken: Any = Broken
    moa = broken(llm=ScriptedLLM(), proposers=[ScriptedLLM()])
    origin = {"Origin": "https://pages.example"}
    with (
        served({"moa": moa}, origins=[origin["Origin"]]) as at,
        httpx.Client(base_url=at, headers=origin) as client,
    ):
        answers = [client.post(CHAT, json={**BODY, "stream": stream}) for _ in range(2)]
        streams = [one.extensions["network_stream"] for one in answers]
        first, second = (one.get_extra_info("client_addr") for one in streams)
        assert first == second  # the connection has been kept
        assert 'moa_requests_total{model="moa",status="500"} 2.0' in client.get("/metrics").text
    for answer in answers:
        assert answer.status_code == 500
        assert told(answer)["code"] == "internal_error"
        assert "fault" not in answer.text
        assert answer.headers["x-request-id"]
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    assert "a fault with ***" in caplog.text
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("stream", [False, True])
def test_one_run_too_many_is_429_and_there_is_room_again_afterwards(providers, stream):
    providers.hold("gpt-4.1")
    with (
        served({"moa": of_both_providers(providers)}, in_flight=1) as at,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(httpx.post, at + CHAT, json={**BODY, "stream": stream}, timeout=20)
        providers.wait_for("gpt-4.1", held=1)
        refused = httpx.post(at + CHAT, json=BODY)
        assert (refused.status_code, told(refused)["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        providers.release("gpt-4.1")
        assert first.result().status_code == 200
        assert httpx.post(at + CHAT, json=BODY).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("heartbeat", [0.05, 20.0])
async def test_a_client_that_leaves_ends_its_run_and_every_request_of_it(
    providers, stream, heartbeat
):
    providers.hold("*")
    with served({"moa": of_both_providers(providers)}, heartbeat=heartbeat) as at:
        async with httpx.AsyncClient(base_url=at) as client:
            asked = asyncio.create_task(client.post(CHAT, json={**BODY, "stream": stream}))
            await providers.await_for("gpt-4.1-mini", held=1)
            await providers.await_for("mistral-small-latest", held=1)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await providers.await_for("*", hung_up=2, open=0)
        left = 'moa_requests_total{model="moa",status="499"} 1.0'
        text = await asyncio.to_thread(metrics_with, at, left)
    assert len(providers.log()) == 2
    assert 'moa_in_flight{model="moa"} 0.0' in text
    assert left in text


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_the_request_that_writes_it(providers):
    providers.hold("gpt-4.1", after=3)
    providers.configure("gpt-4.1", reply="one two three four five six")
    with served({"moa": of_both_providers(providers)}) as at:
        with httpx.stream("POST", at + CHAT, json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()
            assert any("one" in line for line in lines)
            providers.wait_for("gpt-4.1", held=1)
        providers.wait_for("gpt-4.1", hung_up=1, open=0)


def test_while_proposers_think_a_stream_carries_comments(providers):
    providers.hold("*")
    with (
        served({"moa": of_both_providers(providers)}, heartbeat=0.05) as at,
        httpx.stream("POST", at + CHAT, json={**BODY, "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        assert any('"role":"assistant"' in line for line in lines)
        assert any(line == ": still at work" for line in lines)
        providers.release()
        assert "data: [DONE]" in list(lines)


def test_an_llm_without_native_async_holds_nobody_up():
    begun, go = threading.Event(), threading.Event()

    class Blocking(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, *_: Any, **__: Any) -> Any:
            begun.set()
            assert go.wait(20)
            return CompletionResponse(text="slow")

        stream_complete = complete

    models = {"slow": Blocking(), "moa": ScriptedLLM("fast")}
    with served(models) as at, ThreadPoolExecutor() as pool:
        waiting = pool.submit(httpx.post, at + CHAT, json={**BODY, "model": "slow"}, timeout=20)
        assert begun.wait(20)
        assert httpx.post(at + CHAT, json=BODY).status_code == 200
        go.set()
        assert waiting.result().json()["choices"][0]["message"]["content"] == "slow"


@pytest.mark.parametrize(
    ("models", "settings", "said"),
    [
        ({}, {}, "models: there is none to serve"),
        ({"a": 1}, {"keys": "one"}, "keys: give a list of keys"),
        ({"a": 1}, {"keys": [" "]}, "keys: give a list of keys, none of them empty"),
        ({"a": 1}, {"keys": ["schl\u00fcssel"]}, "all of printable ASCII"),
        ({"a": 1}, {"in_flight": 0}, "in_flight = 0: must be more than 0"),
        ({"a": 1}, {"largest_body": -1}, "largest_body = -1: must be more than 0"),
        ({"a": 1}, {"heartbeat": 0}, "heartbeat = 0: must be more than 0"),
        ({"a": 1}, {"body_timeout": 0}, "body_timeout = 0: must be more than 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(models: Any, settings: Any, said):
    with pytest.raises(ValueError, match=said):
        create_app(models, **settings)


SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", create_app({"moa": ScriptedLLM("ok")}))


@SCHEMA.parametrize()
@hypothesis.settings(max_examples=8)
def test_every_answer_is_one_that_the_schema_tells_of(case):
    if isinstance(case.body, dict):
        case.body["model"] = "moa"  # of another name there is none, and all would be answered 404
    case.call_and_validate(
        checks=[
            not_a_server_error, status_code_conformance,
            content_type_conformance, response_schema_conformance,
        ]
    )  # fmt: skip
