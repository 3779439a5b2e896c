"""``/mcp`` on the server, as the official SDK's client finds it over HTTP."""

import asyncio
import signal
from typing import Any

import httpx
import pytest
from mcp.types import CallToolResult, TextContent
from mcp_client import KEY, assistant, cancel_one_of_two
from served import served
from serving import serving, wait_until_closed
from systems import sends_signals
from wire import BODY

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.mcp_server import create_server
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

QUESTION = {"question": "Why?"}
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {},
               "clientInfo": {"name": "test", "version": "0"}},
}  # fmt: skip
ACCEPT = {"Accept": "application/json, text/event-stream"}


def served_tools(mixture: MixtureOfAgents, **settings: Any) -> Any:
    """The mixture on a server with keys, as a model and as tools."""

    def make(admit: Any) -> Any:
        return create_server({"moa": mixture}, admit=admit)

    return served({"moa": mixture}, keys=[KEY], mcp=make, **settings)


def of(providers) -> MixtureOfAgents:
    members = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    return MixtureOfAgents(llm=providers.openai("gpt-4.1"), proposers=members, layers=1)


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def count(at: str, name: str) -> float:
    text = httpx.get(f"{at}/metrics", headers={"x-api-key": KEY}).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@MODES
async def test_an_assistant_lists_estimates_and_asks_over_http(providers, mode):
    providers.configure("gpt-4.1", reply="42")
    with served_tools(of(providers)) as at:
        async with assistant(at, mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            assert tools == ["ask", "estimate", "list_mixtures"]
            assert not (await client.call_tool("estimate", QUESTION)).is_error
            assert providers.counts().arrived == 0
            asked = await client.call_tool("ask", QUESTION)
            assert texts(asked) == ["42"]
            assert asked.structured_content
            tokens = asked.structured_content["tokens"]
        assert (
            await asyncio.to_thread(count, at, 'moa_requests_total{model="moa",status="200"') == 1
        )
        assert await asyncio.to_thread(count, at, "moa_tokens_total") == tokens
        assert await asyncio.to_thread(count, at, "moa_in_flight") == 0


@MODES
async def test_progress_is_told_over_http_while_the_layers_run(providers, mode):
    providers.hold("gpt-4.1")
    heard, all_proposed = [], asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total))
        if progress == 2:
            all_proposed.set()

    with served_tools(of(providers)) as at:
        async with assistant(at, mode) as client:
            asked = asyncio.create_task(client.call_tool("ask", QUESTION, progress_callback=hear))
            await all_proposed.wait()
            assert not asked.done()
            await asyncio.to_thread(providers.release, "gpt-4.1")
            assert not (await asked).is_error
    assert heard == [(1, 3), (2, 3), (3, 3)]


@MODES
async def test_cancelling_a_request_over_http_cancels_its_run_and_no_other(providers, mode):
    providers.hold()
    with served_tools(of(providers)) as at:
        async with assistant(at, mode) as client:
            await cancel_one_of_two(client, providers, QUESTION)
    assert providers.wait_for("*", open=0).hung_up == 2


async def test_a_client_that_cuts_its_connection_ends_its_run(providers):
    providers.hold()
    call = {
        "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "ask", "arguments": QUESTION},
    }  # fmt: skip
    with served_tools(of(providers)) as at:
        headers = {"x-api-key": KEY, **ACCEPT}
        async with httpx.AsyncClient(base_url=at, headers=headers) as http:
            begun = await http.post("/mcp", json=INITIALIZE)
            session = {"mcp-session-id": begun.headers["mcp-session-id"]}
            done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert (await http.post("/mcp", json=done, headers=session)).status_code == 202
            async with http.stream("POST", "/mcp", json=call, headers=session) as stream:
                assert stream.status_code == 200
                await asyncio.to_thread(providers.wait_for, "*", held=2)
        await asyncio.to_thread(providers.wait_for, "*", hung_up=2, open=0)
        assert (
            await asyncio.to_thread(count, at, 'moa_requests_total{model="moa",status="499"') == 1
        )


@MODES
async def test_a_run_too_many_and_a_run_that_fails_are_failed_calls(providers, mode):
    providers.hold("gpt-4.1-mini")
    with served_tools(of(providers), in_flight=1) as at:
        async with assistant(at, mode) as client:
            first = asyncio.create_task(client.call_tool("ask", QUESTION))
            await asyncio.to_thread(providers.wait_for, "gpt-4.1-mini", held=1)
            second = await client.call_tool("ask", QUESTION)
            assert second.is_error
            assert "1 runs are under way" in texts(second)[0]
            providers.configure("gpt-4.1", script=[failure(400, "no")])
            await asyncio.to_thread(providers.release)
            failed = await first
            assert failed.is_error
            assert "gpt-4.1: bad_request 400" in texts(failed)[0]
        assert await asyncio.to_thread(count, at, "moa_in_flight") == 0


def test_mcp_needs_a_key_and_its_errors_are_json_rpcs():
    mixture = MixtureOfAgents(llm=ScriptedLLM("a"), proposers=[ScriptedLLM("b")], layers=1)
    with served_tools(mixture, largest_body=1000) as at:
        keyed = {"x-api-key": KEY, **ACCEPT}
        answers = [
            httpx.post(f"{at}/mcp", json=INITIALIZE, headers=ACCEPT),
            httpx.post(f"{at}/mcp", content=b"x" * 2000, headers=keyed),
            httpx.get(f"{at}/mcp", headers=keyed),
            httpx.post(
                f"{at}/mcp", json=INITIALIZE, headers={"Origin": "http://evil.example", **keyed}
            ),
        ]
        assert [answer.status_code for answer in answers] == [401, 413, 405, 403]
        for answer in answers:
            body = answer.json()
            assert (body["jsonrpc"], body["id"]) == ("2.0", None)
            assert body["error"]["message"]
        assert httpx.post(f"{at}/mcp", json=INITIALIZE, headers=keyed).status_code == 200


def test_pages_of_named_origins_may_use_mcp():
    mixture = MixtureOfAgents(llm=ScriptedLLM("a"), proposers=[ScriptedLLM("b")], layers=1)
    here = "http://page.example"
    with served_tools(mixture, origins=[here]) as at:
        headers = {"x-api-key": KEY, "Origin": here, **ACCEPT}
        assert httpx.post(f"{at}/mcp", json=INITIALIZE, headers=headers).status_code == 200


@pytest.mark.slow
async def test_moa_serve_bounds_what_a_question_over_mcp_costs(providers):
    models = ("-p", "openai:gpt-4.1-mini", "-a", "openai:gpt-4.1", "-l", "1")
    with serving(providers, "--max-cost", "0.000001", models=models) as (_, said, curl):
        at = curl[1].removesuffix("/v1/chat/completions")
        assert f"MCP tools are at {at}/mcp" in said
        async with assistant(at) as client:
            ask, *_ = (await client.list_tools()).tools
            assert "moa: at most $0.0000010" in (ask.description or "")
            refused = await client.call_tool("ask", QUESTION)
            assert "budget" in texts(refused)[0]
            assert providers.counts().arrived == 0
        whole = await asyncio.to_thread(httpx.post, curl[1], json=BODY)
        assert whole.status_code == 200


@sends_signals
@pytest.mark.slow
@MODES
async def test_a_signal_lets_a_call_over_mcp_finish(providers, mode):
    providers.configure("gpt-4.1", reply="42")
    providers.hold("gpt-4.1")
    with serving(providers, "--grace", "10") as (process, _, curl):
        async with assistant(curl[1].removesuffix("/v1/chat/completions"), mode) as client:
            await client.list_tools()  # after an answer the client would ask for its schema
            asked = asyncio.create_task(client.call_tool("ask", QUESTION))
            await asyncio.to_thread(providers.wait_for, "gpt-4.1", held=1)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_until_closed, curl)
            await asyncio.to_thread(providers.release, "gpt-4.1")
            assert texts(await asked) == ["42"]
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert process.stderr.read() == ""
