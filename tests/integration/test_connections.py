"""Shared connections of a mixture: proxies, private certificates, blocking callers, forks."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import QUESTION
from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.llms.openai import OpenAI
from secured import CountingServer, Provider, Tunnel, private_certificate, served
from systems import forks
from wire import connections_to

from llama_index.packs.mixture_of_agents import MixtureOfAgents, QuorumNotMet, moa
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents.events import Event
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="it makes certificates")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return private_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secured(certificate: Path) -> Iterator[CountingServer]:
    with served(Provider, certificate) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[CountingServer]:
    with served(Tunnel) as server:
        yield server


def address(server: CountingServer, scheme: str = "https") -> str:
    return f"{scheme}://127.0.0.1:{server.server_port}"


def llm_at(server: CountingServer, scheme: str = "https") -> OpenAI:
    return OpenAI("gpt-4.1", api_key="k", api_base=f"{address(server, scheme)}/v1", max_retries=0)


def mixture_of(llm: OpenAI) -> MixtureOfAgents:
    return MixtureOfAgents(moa([llm], None, layers=1, call=CallPolicy(retries=0)))


def close_blocking_client(llm: Any) -> None:
    """Close it here: warnings of the garbage collector are errors, wherever it comes."""
    llm._get_client().close()


@needs_openssl
@pytest.mark.parametrize("exception", ["", "127.0.0.1"])
async def test_a_mixture_uses_the_environments_proxy_and_certificates_as_llamaindex_does(
    secured: CountingServer,
    proxy: CountingServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    exception: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", address(proxy, "http"))
    monkeypatch.setenv("NO_PROXY", exception)
    used: list[bool] = []
    alone, mixture = llm_at(secured), mixture_of(llm_at(secured))
    for llm in (alone, mixture):
        for ask in (llm.achat, lambda asked, llm=llm: asyncio.to_thread(llm.chat, asked)):
            before = proxy.accepted
            assert (await ask(QUESTION)).message.content == "So."
            used.append(proxy.accepted > before)
    assert used == [not exception] * 4
    for transport in (Transport(alone), *mixture._caller._transports.values()):
        close_blocking_client(transport.llm)


@needs_openssl
async def test_shared_connections_trust_the_environments_certificates_alone(
    secured: CountingServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QuorumNotMet) as raised:
        await mixture_of(llm_at(secured)).achat(QUESTION)
    assert "not trusted" in raised.value.failures[0].message
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mixture = mixture_of(llm_at(secured))
    assert (await mixture.achat(QUESTION)).message.content == "So."
    assert (await asyncio.to_thread(mixture.chat, QUESTION)).message.content == "So."


def test_blocking_runs_share_connections_as_async_ones_do(providers: SimulatedProviders) -> None:
    before = connections_to(providers.port)
    proposers = [providers.openai(name) for name in ("gpt-4.1", "gpt-4o")]
    mixture = MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1-mini"), layers=2))
    for _ in range(3):
        assert mixture.chat(QUESTION).message.content
    assert len(connections_to(providers.port) - before) <= 2  # as many as a layer is wide


@needs_openssl
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_ended_between_two_blocking_runs_is_not_used_again(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with served(Provider, certificate if scheme == "https" else None) as server:
        server.hangs_up = True
        mixture = mixture_of(llm_at(server, scheme))
        for number in range(1, 6):
            assert mixture.chat(QUESTION).message.content == "So."
            while server.ended < number:
                time.sleep(0.001)


class Asked(OpenAI):
    """It notes which of its methods are called. A subclass may replace one of them."""

    _asked: list[str] = PrivateAttr(default_factory=list[str])

    def _chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self._asked.append("chat")
        return super()._chat(messages, **kwargs)

    async def _achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self._asked.append("achat")
        return await super()._achat(messages, **kwargs)


class AskedOtherwise(Asked):
    def _chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return super()._chat(messages, **kwargs)


@pytest.mark.parametrize(("kind", "method"), [(Asked, "achat"), (AskedOtherwise, "chat")])
def test_a_blocking_run_awaits_an_llm_unless_its_class_has_a_blocking_method_of_its_own(
    providers: SimulatedProviders, kind: type[Asked], method: str
) -> None:
    llm = kind(model="gpt-4.1", api_key="k", api_base=providers.openai_base)
    assert MixtureOfAgents(moa([llm], None, layers=1)).chat(QUESTION).message.content
    assert llm._asked == [method]


def test_a_listener_of_a_blocking_run_may_make_another_one(providers: SimulatedProviders) -> None:
    inner = MixtureOfAgents(moa([providers.openai("gpt-4o")], None, layers=1))
    outer = MixtureOfAgents(moa([providers.openai("gpt-4.1")], None, layers=1))
    answers: list[str] = []

    def ask(_: Any, __: Event) -> None:
        if not answers:
            answers.append(inner.chat(QUESTION).message.content or "")

    with outer.listen(ask):
        assert outer.chat(QUESTION).message.content
    assert answers != [""]


FORK = """
import asyncio, os
from llama_index.llms.openai import OpenAI
from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack

llm, proposer = OpenAI("gpt-4.1", api_key="k"), OpenAI("gpt-4o", api_key="k")
pack = MixtureOfAgentsPack(llm, [proposer], num_layers=1)

def ask(loop):
    return bool(pack.run("Why?") and asyncio.run(pack.arun("Why?")) and loop.run_until_complete(pack.arun("Why?")))

loop = asyncio.new_event_loop()
ask(loop)
child = os.fork()
if not child:
    loop = asyncio.new_event_loop()
answered = [ask(loop) for _ in range(10)]
if not child:
    loop.close()
    raise SystemExit(0 if all(answered) else 1)
print(all(answered), os.waitpid(child, 0)[1], ask(loop))
loop.close()
"""


def outcome(providers: SimulatedProviders, script: str) -> tuple[list[str], str]:
    """The words that a script prints, and its standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={**os.environ, **providers.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.split(), done.stderr


@forks
def test_a_process_and_its_fork_both_go_on(providers: SimulatedProviders) -> None:
    assert outcome(providers, FORK) == (["True", "0", "True"], "")


DROPPED = """
import gc
from llama_index.llms.openai import OpenAI
from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.clients import share_clients

mixture = MixtureOfAgents(moa(share_clients(OpenAI("gpt-4.1", api_key="k")), None, layers=1))
print(mixture.complete("Why?").text != "")
del mixture
gc.collect()
"""


def test_connections_of_blocking_runs_that_are_dropped_end_silently_with_the_process(
    providers: SimulatedProviders,
) -> None:
    assert outcome(providers, DROPPED) == (["True"], "")
