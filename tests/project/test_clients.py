"""Real clients, each a process of its own, against ``moa serve`` and the simulated providers.

They have environments of their own (make clients). The programs are in tests/support/clients.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serving import serving

from llama_index.packs.mixture_of_agents.simulation import Record, SimulatedProviders

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "support" / "clients"
CHAPTER = ROOT / "docs" / "server.md"
NODE = ROOT / "build" / "clients"
BIN = "Scripts" if os.name == "nt" else "bin"
AGGREGATOR = "gpt-4.1"
WITH_OPENAI_2 = {"instructor_python", "litellm_python", "llamaindex_python"}
MIXTURE = """
proposers = ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
"""
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYDANTIC_DISABLE_PLUGINS": "true"}
STREAM = {"whole", "streamed", "pieces"}
TOOL = {"call", "after_tool"}
ALL = {*STREAM, *TOOL, "usage", "parsed", "pictured"}
CLIENTS = {
    ("openai_python", "chat"): ALL,
    ("openai_python", "responses"): ALL,
    ("openai_javascript", "chat"): ALL,
    ("openai_javascript", "responses"): ALL,
    ("anthropic_python", "messages"): {*ALL, "counted"},
    ("ai_sdk_javascript", "chat"): ALL,
    ("ai_sdk_javascript", "responses"): ALL,
    ("ai_sdk_javascript", "messages"): ALL,
    ("langchain_python", "chat"): ALL,
    ("langchain_python", "responses"): ALL,
    ("langchain_python", "messages"): ALL,
    ("litellm_python", "chat"): ALL,
    ("litellm_python", "responses"): {"whole", "streamed", "usage"},
    ("litellm_python", "messages"): ALL,
    ("pydantic_ai_python", "chat"): ALL,
    ("pydantic_ai_python", "responses"): ALL,
    ("pydantic_ai_python", "messages"): ALL,
    ("openai_agents_python", "chat"): ALL,
    ("openai_agents_python", "responses"): ALL,
    ("instructor_python", "chat"): {"parsed", "streamed_parsed"},
    ("instructor_python", "messages"): {"parsed", "streamed_parsed"},
    ("llm_python", "chat"): {"whole", "streamed", "after_tool"},
    ("inspect_ai_python", "chat"): {"whole", *TOOL, "usage", "pictured"},
    ("inspect_ai_python", "responses"): {"whole", *TOOL, "usage", "pictured"},
    ("inspect_ai_python", "messages"): {"whole", *TOOL, "usage", "pictured"},
    ("llamaindex_python", "chat"): ALL - {"usage"},
    ("llamaindex_python", "messages"): ALL - {"usage"},
    ("mcp_python", "mcp"): {"whole", "tools", "progress"},
}
"""The clients, the APIs that they ask, and what their programs report."""
LEAVING = [
    ("openai_python", "leave_chat"),
    ("openai_python", "leave_responses"),
    ("openai_javascript", "leave_chat"),
    ("openai_javascript", "leave_responses"),
    ("anthropic_python", "leave_messages"),
    ("ai_sdk_javascript", "leave_chat"),
    ("ai_sdk_javascript", "leave_responses"),
    ("ai_sdk_javascript", "leave_messages"),
]


def name_of(client: tuple[str, str]) -> str:
    return "-".join(client)


@pytest.fixture(scope="module")
def base(
    provider_process: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a ``moa serve`` that all clients ask. Its mixture has two names: LlamaIndex's Anthropic needs Claude's."""
    names = ("moa", "claude-sonnet-5")
    file = tmp_path_factory.mktemp("served") / "moa.toml"
    file.write_text("\n".join(f"[mixtures.{name}]{MIXTURE}" for name in names))
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, NODE)  # Node looks for packages beside a program
    with serving(provider_process, "--config", str(file), models=()) as (_, _, curl):
        yield curl[1].removesuffix("/v1/chat/completions")


def command_of(program: str, way: str, base: str) -> list[str]:
    """The command that runs a client's program in its environment."""
    if program.endswith("_javascript"):
        return ["node", str(NODE / f"{program}.mjs"), way, base]
    environment = "clients-openai2" if program in WITH_OPENAI_2 else "clients"
    python = ROOT / ".venvs" / environment / BIN / "python"
    return [str(python), str(PROGRAMS / f"{program}.py"), way, base]


@contextmanager
def running(client: tuple[str, str], base: str, folder: Path) -> Iterator[Any]:
    """A client's program, which may go on until its standard input is closed."""
    env = {**os.environ, **QUIET, "HOME": str(folder)}
    with subprocess.Popen(
        command_of(*client, base), cwd=folder, env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def check_usage(found: dict[str, Any], log: list[Record]) -> None:
    """A client counts the tokens of all calls of the run that gave the whole answer."""
    ends = [number for number, one in enumerate(log, 1) if one.model == AGGREGATOR]
    end = next(number for number in ends if log[number - 1].answer == found["whole"])
    start = max([0, *(number for number in ends if number < end)])
    spent = [
        sum(getattr(one, kind) for one in log[start:end])
        for kind in ("input_tokens", "output_tokens")
    ]
    assert found["usage"] == spent


def check_call(found: dict[str, Any], log: list[Record]) -> None:
    """The client's tool call and its result go back to the aggregator, under one id."""
    made = found["call"]
    messages = [
        one for record in log if record.model == AGGREGATOR for one in record.body["messages"]
    ]
    (sent,) = [one for message in messages for one in message.get("tool_calls") or ()]
    assert (sent["function"]["name"], json.loads(sent["function"]["arguments"])) == (
        made["name"],
        made["arguments"],
    )
    (result,) = [one for one in messages if one["role"] == "tool"]
    assert made["name"] == "get_weather"
    assert {*made["arguments"]} == {"city"}
    assert made["id"] == sent["id"] == result["tool_call_id"]


def test_the_documented_versions_are_the_installed_ones():
    pinned = {
        line.replace("==", " ")
        for file in ROOT.glob("constraints/clients*.txt")
        for line in file.read_text().splitlines()
    }
    packages = json.loads((PROGRAMS / "package.json").read_text())["dependencies"]
    pinned |= {f"{name} {version}" for name, version in packages.items()}
    documented = re.findall(r"`(\S+ \d[\d.]+)`", CHAPTER.read_text("utf-8"))
    assert len(documented) == 18
    assert {*documented} <= pinned


@pytest.mark.parametrize("client", CLIENTS, ids=name_of)
def test_a_client_finds_what_the_aggregator_said(client, base, providers, tmp_path):
    providers.configure(AGGREGATOR, calls_tools=client[0] != "instructor_python")
    with running(client, base, tmp_path) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    found = json.loads(out.splitlines()[-1])
    assert {*found} == CLIENTS[client]
    log = providers.log()
    said = [one.answer for one in log if one.model == AGGREGATOR and one.answer]
    for text in {"whole", "streamed", "after_tool", "pictured"} & {*found}:
        assert found[text] in said
    if "streamed" in found:
        assert found["streamed"] == found["whole"]
    assert found.get("pieces", 100) > 20
    for verdict in {"parsed", "streamed_parsed"} & {*found}:
        assert {name: type(value) for name, value in found[verdict].items()} == {
            "winner": str,
            "score": int,
        }
    if "usage" in found:
        check_usage(found, log)
    if "call" in found:
        check_call(found, log)
    if "pictured" in found:
        assert "iVBORw0KGgo" in json.dumps([one.body for one in log if one.model == AGGREGATOR])
    assert found.get("counted", 1) > 0
    assert found.get("tools", []) in ([], ["ask", "estimate", "list_mixtures"])
    assert found.get("progress", 1) > 0


@pytest.mark.parametrize("client", LEAVING, ids=name_of)
def test_a_client_that_leaves_ends_its_request_upstream(client, base, providers, tmp_path):
    providers.hold(AGGREGATOR, after=5)
    with running(client, base, tmp_path) as process:
        line = process.stdout.readline()
        assert line, process.stderr.read()[-3000:]
        assert json.loads(line) == {"left": True}
        assert providers.wait_for(AGGREGATOR, open=0, arrived=1).hung_up == 1
        assert process.poll() is None
        process.communicate("")
    assert process.returncode == 0
