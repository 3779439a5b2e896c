"""Mixtures as MCP tools, as the official SDK's client finds them: over stdio, in a process of their own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent
from mcp_client import cancel_one_of_two
from programs import run_python
from serving import DEEP, FAST, MODELS, MODULE

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.errors import RecipeError
from llama_index.packs.mixture_of_agents.mcp_server import bounded, create_server
from llama_index.packs.mixture_of_agents.policies import Budget
from llama_index.packs.mixture_of_agents.presets import moa
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = pytest.mark.slow

ONE_LAYER = (*MODELS, "-l", "1")
QUESTION = {"question": "Why?"}
TUNED = "openai:ft:gpt-4.1-mini:us::x"
UNPRICED = ("-p", TUNED, "-a", TUNED)


@asynccontextmanager
async def assistant(
    providers, folder: Path, *arguments: str, mode: Any = "auto"
) -> AsyncIterator[Client]:
    """A client of ``moa mcp`` with these arguments; what the process says is in said.txt."""
    env = {**os.environ, **providers.environment}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", MODULE, "mcp", *arguments], env=env
    )
    with (folder / "said.txt").open("w") as said:
        async with Client(stdio_client(server, errlog=said), mode=mode) as client:
            yield client
    assert "Traceback" not in (folder / "said.txt").read_text()


def texts(result: CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, TextContent)]


def data(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, texts(result)
    assert result.structured_content
    return result.structured_content


async def problem(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return "\n".join(texts(result))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_assistant_lists_estimates_and_asks_the_mixtures_of_a_file(
    providers, tmp_path, mode
):
    file = tmp_path / "moa.toml"
    file.write_text(f"{FAST}{DEEP}layers = 1")
    providers.configure("gpt-4.1", reply="42")
    providers.configure("gpt-4.1-mini", reply="41")
    providers.configure("mistral-small-latest", reply="40")
    async with assistant(providers, tmp_path, "-c", str(file), mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["ask", "estimate", "list_mixtures"]
        assert "fast: at most $0.50; deep: at most $0.50" in (tools["ask"].description or "")
        mixture = tools["ask"].input_schema["properties"]["mixture"]
        assert (mixture["enum"], mixture["default"]) == (["fast", "deep"], "fast")

        listed = data(await client.call_tool("list_mixtures"))["mixtures"]
        assert [one["name"] for one in listed] == ["fast", "deep"]
        assert "mistral-small-latest" in listed[1]["recipe"]

        estimate = data(await client.call_tool("estimate", {**QUESTION, "mixture": "deep"}))
        assert (estimate["calls"], estimate["bound"]) == ("3 calls", "at most $0.50")
        assert providers.counts().arrived == 0

        short = await client.call_tool("ask", QUESTION)
        assert texts(short) == ["42"]
        assert (data(short)["mixture"], data(short)["proposals"]) == ("fast", [])
        assert 0 < data(short)["usd"] < 0.5
        long = await client.call_tool("ask", {**QUESTION, "mixture": "deep", "proposals": True})
        assert [one["text"] for one in data(long)["proposals"]] == ["41", "40"]
        assert texts(long)[0] == "42"
        assert [text.rpartition("\n")[2] for text in texts(long)[1:]] == ["41", "40"]


async def test_wrong_arguments_come_back_as_words_and_ask_nobody(providers, tmp_path):
    async with assistant(providers, tmp_path, *ONE_LAYER) as client:
        assert "question: Field required" in await problem(client, "ask")
        assert "question: " in await problem(client, "ask", question="  ")
        assert "question: " in await problem(client, "estimate", question=["Why?"])
        assert "there is no 'deep', only moa" in await problem(
            client, "ask", **QUESTION, mixture="deep"
        )
        assert "temperature: " in await problem(client, "ask", **QUESTION, temperature=1)
        assert "proposals: " in await problem(client, "ask", **QUESTION, proposals="many")
        assert "question: " in await problem(client, "list_mixtures", **QUESTION)
        with pytest.raises(MCPError, match="no tool 'answer', only ask, estimate, list_mixtures"):
            await client.call_tool("answer", QUESTION)
    assert providers.counts().arrived == 0


async def test_progress_is_told_while_the_layers_run(providers, tmp_path):
    providers.hold("gpt-4.1")
    heard, all_proposed = [], asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message or ""))
        if progress == 2:
            all_proposed.set()

    async with assistant(providers, tmp_path, *ONE_LAYER) as client:
        asked = asyncio.create_task(client.call_tool("ask", QUESTION, progress_callback=hear))
        await all_proposed.wait()
        assert not asked.done()
        await asyncio.to_thread(providers.release, "gpt-4.1")
        assert not (await asked).is_error
    assert [told[:2] for told in heard] == [(1, 3), (2, 3), (3, 3)]
    assert all("layer 1, proposer" in message for _, _, message in heard[:2])
    assert "layer 2, aggregator gpt-4.1: answered" in heard[2][2]


async def test_cancelling_a_request_cancels_its_run_and_no_other(providers, tmp_path):
    providers.hold()
    async with assistant(providers, tmp_path, *ONE_LAYER) as client:
        await cancel_one_of_two(client, providers, QUESTION)
    assert providers.wait_for("*", open=0).hung_up == 2


async def test_a_cancelled_call_is_cancelled_once_and_comes_to_its_own_end():
    begun, tidied = asyncio.Event(), asyncio.Event()

    class Tidy(ScriptedLLM):
        async def achat(self, *_: Any, **__: Any) -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _turn in range(5):
                    await asyncio.sleep(0)
                tidied.set()

    mixture = MixtureOfAgents(llm=ScriptedLLM("a"), proposers=[Tidy()], layers=1)
    async with Client(create_server({"moa": mixture}), mode="legacy") as client:
        left = asyncio.create_task(client.call_tool("ask", QUESTION))
        await begun.wait()
        left.cancel()
        await asyncio.wait_for(tidied.wait(), 10)  # a second cancellation would end it before
        await asyncio.gather(left, return_exceptions=True)
        assert left.cancelled()


async def test_an_assistant_that_leaves_ends_the_process_and_its_runs(providers, tmp_path):
    providers.hold()
    async with assistant(providers, tmp_path, *ONE_LAYER) as client:
        asked = asyncio.create_task(client.call_tool("ask", QUESTION))
        await asyncio.to_thread(providers.wait_for, "*", held=2)
    assert providers.wait_for("*", hung_up=2, open=0).arrived == 2
    await asyncio.gather(asked, return_exceptions=True)


async def test_a_question_costs_no_more_than_its_bound(providers, tmp_path):
    async with assistant(providers, tmp_path, *ONE_LAYER, "--max-cost", "0.000001") as client:
        (ask, *_) = (await client.list_tools()).tools
        assert "moa: at most $0.0000010" in (ask.description or "")
        assert "budget" in await problem(client, "ask", **QUESTION)
    assert providers.counts().arrived == 0


async def test_a_bound_that_leaves_room_for_the_aggregator_alone_says_that_it_is_degraded():
    prices = {"a": (0.0, 1000.0), "b": (0.0, 1.0)}
    recipe = moa(
        [ScriptedLLM("dear", model="a")], ScriptedLLM("cheap", model="b"), layers=1, prices=prices
    )
    async with Client(create_server({"moa": MixtureOfAgents(bounded(recipe, 0.5))})) as client:
        answer = await client.call_tool("ask", QUESTION)
    assert texts(answer)[0] == "cheap"
    assert "degraded" in texts(answer)[1]
    assert "budget" in data(answer)["degraded"][0]


def test_the_lower_of_two_budgets_holds():
    prices = {"a": (1.0, 1.0)}
    own = Budget(usd=0.1, tokens=1000)
    one = ScriptedLLM("a", model="a")
    recipe = moa([one], one, prices=prices, budget=own)
    assert bounded(recipe, 0.5).budget == own
    assert bounded(recipe, 0.05).budget == Budget(usd=0.05, tokens=1000)
    with pytest.raises(RecipeError, match="above 0"):
        bounded(recipe, -1)
    with pytest.raises(RecipeError, match="price of 'a' is not known"):
        bounded(moa([one], one), 0.5)


async def test_without_prices_a_question_is_asked_and_said_to_have_no_bound():
    one = ScriptedLLM("a", model="a")
    async with Client(create_server({"moa": MixtureOfAgents(moa([one], one))})) as client:
        (ask, *_) = (await client.list_tools()).tools
        answer = data(await client.call_tool("ask", QUESTION))
    assert "moa: no bound on its cost" in (ask.description or "")
    assert (answer["usd"], answer["cost"]) == (None, "unknown (no price for a)")


async def test_moa_mcp_serves_models_without_prices_and_says_so(providers, tmp_path):
    async with assistant(providers, tmp_path, *UNPRICED) as client:
        (ask, *_) = (await client.list_tools()).tools
    assert "moa: no bound on its cost" in (ask.description or "")
    assert "moa: the price of a model is not known" in (tmp_path / "said.txt").read_text()


async def test_a_run_without_an_answer_fails_with_its_reasons_and_without_keys(providers, tmp_path):
    key = providers.environment["OPENAI_API_KEY"]
    providers.configure("gpt-4.1", script=[failure(401, f"Incorrect API key: {key}")])
    async with assistant(providers, tmp_path, *ONE_LAYER) as client:
        told = await problem(client, "ask", **QUESTION)
    assert "gpt-4.1: authentication 401" in told
    assert key not in told
    assert key not in (tmp_path / "said.txt").read_text()


def test_a_server_needs_a_mixture():
    with pytest.raises(ValueError, match="at least one"):
        create_server({})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*UNPRICED, "--max-cost", "1"), "the price of 'ft:gpt-4.1-mini:us::x' is not known"),
        ((*MODELS, "--max-cost", "0"), "--max-cost 0: say a positive number"),
        ((*MODELS, "--max-cost", "nan"), "--max-cost nan: say a positive number"),
        ((*MODELS, "-m", "deep"), "deep"),
    ],
)
def test_bad_options_end_moa_mcp_before_it_serves(providers, arguments, said):
    environment = {**os.environ, **providers.environment}
    done = run_python("-m", MODULE, "mcp", *arguments, env=environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_without_its_extra_moa_mcp_says_in_one_line_what_to_install(providers):
    look = f"import sys; sys.modules['mcp'] = None; from {MODULE} import main; main()"
    done = run_python("-c", f"import sys; sys.argv = ['moa', 'mcp']; {look}")
    assert done.returncode == 2
    assert 'pip install "llama-index-packs-mixture-of-agents[mcp]"' in done.stderr


def test_standard_output_carries_the_protocol_alone_and_ends_with_standard_input(providers):
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "mcp", *MODELS], input="", capture_output=True, text=True,
        check=True, env={**os.environ, **providers.environment},
    )  # fmt: skip
    assert done.stdout == ""
    assert "Waiting for an MCP client" in done.stderr
