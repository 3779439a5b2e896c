"""Limits of keys on a real server: each API refuses in its own way, and a restart forgets nothing."""

from typing import Any

import httpx
import pytest
from mcp.types import TextContent
from mcp_client import assistant
from served import served
from wire import BODY

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.mcp_server import create_server
from llama_index.packs.mixture_of_agents.server import ApiKey

MESSAGES = {**BODY, "max_tokens": 100}
RESPONSES = {"model": "moa", "input": "Why?"}
PATHS = [
    ("/v1/chat/completions", BODY),
    ("/v1/messages", MESSAGES),
    ("/v1/responses", RESPONSES),
]


def of(providers) -> dict[str, Any]:
    llm = MixtureOfAgents(
        llm=providers.openai("gpt-4.1"), proposers=[providers.openai("gpt-4.1-mini")], layers=1
    )
    return {"moa": llm, "gpt": providers.openai("gpt-4.1")}


def post(at: str, path: str, body: Any, key: str = "one") -> httpx.Response:
    return httpx.post(f"{at}{path}", json=body, headers={"x-api-key": key}, timeout=20)


def metrics(at: str) -> str:
    return httpx.get(f"{at}/metrics", headers={"x-api-key": "two"}).text


@pytest.mark.parametrize(("path", "body"), PATHS, ids=["chat", "messages", "responses"])
def test_one_request_too_many_in_a_minute_is_429_in_each_apis_shape(providers, path, body):
    alice = ApiKey("alice", "one", requests_per_minute=2)
    with served(of(providers), keys=[alice, "two"]) as at:
        for stream in (False, True):
            assert post(at, path, {**body, "stream": stream}).status_code == 200
        refused = post(at, path, body)
        assert post(at, path, body, "two").status_code == 200
        text = metrics(at)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    error = refused.json()["error"]
    assert error["type"] == "rate_limit_error"
    assert "alice may ask 2 times a minute" in error["message"]
    assert ("type" in refused.json()) == (path == "/v1/messages")
    assert 'moa_key_requests_total{key="alice"} 2.0' in text
    assert 'moa_key_refused_total{key="alice",limit="requests_per_minute"} 1.0' in text


@pytest.mark.parametrize("model", ["moa", "gpt"])
def test_a_day_costs_a_key_no_more_than_it_may_even_after_a_restart(providers, tmp_path, model):
    alice = ApiKey("alice", "one", usd_per_day=0.000001)
    settings: Any = {"keys": [alice, "two"], "usage": tmp_path / "kept.sqlite3"}
    path, body = PATHS[0]
    with served(of(providers), **settings) as at:
        assert post(at, path, {**body, "model": model}).status_code == 200
        refused = post(at, path, body)
        text = metrics(at)
    with served(of(providers), **settings) as at:
        assert post(at, path, body).status_code == 429
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    (spent,) = (line for line in text.splitlines() if line.startswith("moa_key_cost_usd_total"))
    assert float(spent.split()[-1]) > 0.000001


def test_a_run_that_fails_has_cost_what_its_proposals_cost(providers):
    providers.configure("gpt-4.1", missing=True)
    alice = ApiKey("alice", "one", usd_per_day=0.000001)
    with served(of(providers), keys=[alice]) as at:
        path, body = PATHS[0]
        assert post(at, path, body).status_code >= 400
        assert post(at, path, body).json()["error"]["code"] == "insufficient_quota"


async def test_over_mcp_a_request_too_many_is_a_failed_call(providers):
    models = of(providers)

    def make(admit: Any) -> Any:
        return create_server({"moa": models["moa"]}, admit=admit)

    alice = ApiKey("alice", "one", requests_per_minute=1)
    with served(models, keys=[alice], mcp=make) as at:
        async with assistant(at, key="one") as client:
            assert not (await client.call_tool("estimate", {"question": "Why?"})).is_error
            assert not (await client.call_tool("ask", {"question": "Why?"})).is_error
            refused = await client.call_tool("ask", {"question": "Why?"})
    assert refused.is_error
    (told,) = refused.content
    assert isinstance(told, TextContent)
    assert "The key alice may ask 1 times a minute; ask again in" in told.text
