"""What this machine's environment variables do to calls, and what is said where they are wrong."""

from pathlib import Path

import pytest
from asking import QUESTION
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    QuorumNotMet,
    config,
    moa,
)
from llama_index.packs.mixture_of_agents._providers.environment import ollama_address
from llama_index.packs.mixture_of_agents._providers.faults import diagnose
from llama_index.packs.mixture_of_agents._providers.models import ModelSpec, make_llm
from llama_index.packs.mixture_of_agents.clients import share_clients
from llama_index.packs.mixture_of_agents.errors import ConfigError, Failure, FailureKind
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

CLASSES = pytest.mark.parametrize("name", ["openai", "mistral"])


async def failure_of(llm: LLM) -> Failure:
    with pytest.raises(QuorumNotMet) as raised:
        await MixtureOfAgents(moa([llm], None, layers=1)).achat(QUESTION)
    (failure,) = raised.value.failures
    return failure


def llm_of(providers: SimulatedProviders, name: str, **settings: str) -> LLM:
    return providers.openai(**settings) if name == "openai" else providers.mistral(**settings)


@CLASSES
@pytest.mark.parametrize("end", ["\r", "\n", " \r\n", "\u20ac"])
async def test_a_key_that_no_header_can_hold_is_reported_with_its_variable(
    name: str, end: str, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
):
    key = f"k3y-copied-with-its-line-end{end}"
    monkeypatch.setenv("TEAM_KEY", key)
    failure = await failure_of(llm_of(providers, name, api_key=key))
    assert (failure.kind, failure.attempts) == (FailureKind.CONFIGURATION, 1)
    assert "TEAM_KEY" in failure.message
    assert "k3y" not in failure.message


PROXIES = pytest.mark.parametrize(
    "proxy", ["socks://127.0.0.1:1", "socks5://127.0.0.1:1", "htp://127.0.0.1:1"]
)


@PROXIES
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY"])
async def test_a_proxy_that_cannot_be_used_is_reported_with_its_variable(
    proxy: str, variable: str, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, proxy)
    failure = await failure_of(providers.openai())
    assert (failure.kind, failure.attempts) == (FailureKind.CONFIGURATION, 1)
    assert failure.message.startswith(variable)


async def test_a_file_of_certificates_that_is_not_there_is_reported_with_its_variable(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    failure = await failure_of(providers.openai())
    assert (failure.kind, failure.attempts) == (FailureKind.CONFIGURATION, 1)
    assert failure.message.startswith("SSL_CERT_FILE names no file")


@pytest.mark.parametrize(
    ("variable", "value"), [("SSL_CERT_FILE", "/gone.pem"), ("ALL_PROXY", "socks://127.0.0.1:1")]
)
def test_a_class_that_makes_its_client_at_once_is_reported_with_the_variable_too(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"MistralAI refuses this: {variable} names"):
        make_llm(ModelSpec("mistral:mistral-small-latest"))


FILE = """
aggregator = "openai:gpt-4.1"
[[layers]]
proposers = ["openai:gpt-4.1"]
"""


@pytest.mark.parametrize("door", ["a file", "share_clients"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5h://127.0.0.1:1"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/gone.pem"),
    ],
)
async def test_what_is_wrong_with_the_environment_is_a_failure_of_the_call_at_every_door(
    door: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv(variable, value)
    if door == "a file":
        (layer,) = config.loads(FILE).layers
        llm = layer.proposers[0].llm
    else:
        (llm,) = share_clients(OpenAI("gpt-4.1"))
    failure = await failure_of(llm)
    assert (failure.kind, failure.attempts) == (FailureKind.CONFIGURATION, 1)
    assert failure.message.startswith(f"{variable} names")


def test_a_certificate_that_is_not_trusted_is_reported_as_one():
    error = ConnectionError("Connection error.")
    error.__cause__ = OSError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate (_ssl.c:1006)"
    )
    fault = diagnose(error)
    assert fault.kind == FailureKind.CONFIGURATION
    assert "not trusted" in fault.message


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (":11434", "http://127.0.0.1:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("[::]:11434", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box/ollama/", "https://gpu-box:443/ollama"),
        ("gpu-box:8080/ollama", "http://gpu-box:8080/ollama"),
    ],
)
def test_ollama_host_is_read_as_ollamas_own_client_reads_it(host: str, address: str):
    assert ollama_address({"OLLAMA_HOST": host}) == address


@pytest.mark.parametrize(
    "host", ["gpu-box:99999", "gpu-box:port", "[::1", "http://me:s3cret@gpu-box:0x1/"]
)
def test_an_ollama_host_that_is_no_address_is_reported_by_its_name(host: str):
    with pytest.raises(ConfigError, match=r"^OLLAMA_HOST is no address: ") as raised:
        ollama_address({"OLLAMA_HOST": host})
    assert "s3cret" not in str(raised.value)
