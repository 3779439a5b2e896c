"""Connections that LLMs share: the same answers, fewer connections, nothing left open, nothing changed."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai import OpenAI
from wire import TOOL, connections_to

from llama_index.packs.mixture_of_agents import MixtureOfAgents, config, moa
from llama_index.packs.mixture_of_agents._providers.connections import with_shared_clients
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents.clients import share_clients
from llama_index.packs.mixture_of_agents.events import Event, LayerStarted
from llama_index.packs.mixture_of_agents.simulation import (
    Reply,
    SimulatedProviders,
    ToolCall,
    failure,
)

ASKED = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Why?")]


def body(providers: SimulatedProviders) -> dict[str, object]:
    return providers.log()[-1].body


async def test_every_way_of_asking_sends_and_gives_what_it_does_without(
    providers: SimulatedProviders,
) -> None:
    reply = Reply("Because.", tool_calls=(ToolCall("look", {"where": "here"}),))
    alone = providers.openai("gpt-4.1")
    (shared,) = share_clients(alone)
    settings: dict[str, Any] = {
        "temperature": 0.5,
        "tools": [TOOL],
        "extra_headers": {"X-Trace": "1"},
    }

    async def ask(llm: LLM, parameters: dict[str, Any]) -> list[object]:
        providers.reset()  # calls of tools are numbered from 1
        providers.configure("gpt-4.1", reply=reply)
        gave: list[object] = []
        for response in (
            await llm.achat(ASKED, **parameters),
            await asyncio.to_thread(llm.chat, ASKED, **parameters),
            [chunk async for chunk in await llm.astream_chat(ASKED, **parameters)][-1],
            (await asyncio.to_thread(lambda: list(llm.stream_chat(ASKED, **parameters))))[-1],
        ):
            gave += [response.message.model_dump(), body(providers)]
        return gave

    for parameters in (settings, {"temperature": 0.5, "tools": [TOOL]}, {"max_tokens": 9}):
        assert await ask(shared, parameters) == await ask(alone, parameters)


async def test_a_not_given_parameter_is_not_sent(providers: SimulatedProviders) -> None:
    from openai import NOT_GIVEN, omit

    (llm,) = share_clients(providers.openai("gpt-4.1"))
    await llm.achat(ASKED, temperature=NOT_GIVEN, top_p=omit)
    assert not {"temperature", "top_p"} & body(providers).keys()


async def test_a_large_request_is_sent_in_pieces_that_let_others_have_the_event_loop(
    providers: SimulatedProviders,
) -> None:
    (llm,) = share_clients(providers.openai("gpt-4.1"))
    question = "All work and no play. " * 95_000
    # aiohttp would warn of it sent as a whole, and warnings are errors here
    assert (await llm.achat([ChatMessage(role="user", content=question)])).message.content
    (message,) = body(providers)["messages"]  # type: ignore[misc]
    assert message["content"] == question


async def test_an_error_of_the_provider_reads_as_without(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", script=[failure(400, "no such thing")])
    (llm,) = share_clients(providers.openai("gpt-4.1"))
    with pytest.raises(Exception, match="no such thing") as error:
        await llm.achat(ASKED)
    assert getattr(error.value, "status_code", None) == 400


async def test_a_server_that_nobody_runs_is_told_as_without(providers: SimulatedProviders) -> None:
    alone = providers.openai("gpt-4.1", api_base="http://127.0.0.1:1/v1", max_retries=0)
    told: list[str] = []
    for llm in (alone, *share_clients(alone)):
        with pytest.raises(Exception, match=r"Connection error\.") as error:
            await llm.achat(ASKED)
        told.append(repr(error.value))
    assert told[0] == told[1]


def test_a_mixture_of_shared_llms_answers_on_one_loop_after_another_and_without_one(
    providers: SimulatedProviders,
) -> None:
    *proposers, aggregator = share_clients(
        *(providers.openai(name) for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1"))
    )
    for _ in range(2):
        mixture = MixtureOfAgents(llm=aggregator, proposers=proposers)
        assert asyncio.run(mixture.achat(ASKED)).message.content
        assert mixture.chat(ASKED).message.content
        other = MixtureOfAgents(llm=proposers[0], proposers=proposers)  # met on another loop
        assert asyncio.run(other.achat(ASKED)).message.content
    assert providers.counts().arrived == 6 * 5


async def test_a_bound_on_connections_makes_calls_wait_and_fails_none(
    providers: SimulatedProviders,
) -> None:
    providers.hold("gpt-4.1")
    (llm,) = share_clients(providers.openai("gpt-4.1"), connections=3)
    calls = [asyncio.ensure_future(llm.achat(ASKED)) for _ in range(7)]
    await providers.await_for("gpt-4.1", held=3)
    providers.release("gpt-4.1")
    assert len(await asyncio.gather(*calls)) == 7
    assert providers.high_water("gpt-4.1") == 3


def test_the_llms_given_are_not_changed_and_what_is_not_openai_or_has_a_client_comes_back(
    providers: SimulatedProviders,
) -> None:
    plain, mistral = providers.openai("gpt-4.1"), providers.mistral()
    (owner,) = share_clients(providers.openai("gpt-4o"))
    closing = providers.openai("gpt-4o", reuse_client=False)
    locked = providers.openai("gpt-4o", api_base="http://me:secret@127.0.0.1:1/v1")
    before = plain.__dict__.copy(), dict(plain.__pydantic_private__ or {})
    shared, *same = share_clients(plain, mistral, owner, closing, locked)
    assert shared is not plain
    assert isinstance(shared, OpenAI)
    assert all(
        one is given for one, given in zip(same, (mistral, owner, closing, locked), strict=True)
    )
    assert (plain.__dict__, plain.__pydantic_private__) == before


async def test_connections_of_llms_that_nobody_has_any_more_are_closed(
    providers: SimulatedProviders,
) -> None:
    before = connections_to(providers.port)
    llms: list[Any] = share_clients(providers.openai("gpt-4.1"))
    assert (await llms[0].achat(ASKED)).message.content
    assert connections_to(providers.port) - before
    llms.append(llms)  # only the garbage collector finds them, all at once
    del llms
    gc.collect()
    while connections_to(providers.port) - before:  # noqa: ASYNC110 - nobody tells when a socket is closed
        await asyncio.sleep(0)


def test_a_loop_that_is_closed_without_more_leaves_no_word(
    providers: SimulatedProviders, caplog: pytest.LogCaptureFixture
) -> None:
    (llm,) = share_clients(providers.openai("gpt-4.1"))
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(llm.achat(ASKED)).message.content
        loop.close()  # nobody has told the loop's generators
    del llm
    gc.collect()
    assert not caplog.records


FILE = """
proposers = ["openai:gpt-4o", "openai:gpt-4.1-mini"]
select = { use = "rank", judge = "openai:gpt-4.1-nano" }
aggregator = "openai:gpt-4.1"
fallbacks = ["openai:gpt-4o-mini", { class = "llama_index.llms.openai.OpenAIResponses", model = "gpt-4o" }]
"""


async def test_the_llms_of_a_file_share_connections_and_those_that_nobody_asks_have_none(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in providers.environment.items():
        monkeypatch.setenv(name, value)
    recipe, before = config.loads(FILE), connections_to(providers.port)
    assert (await MixtureOfAgents(recipe).acomplete("Why?")).text
    assert providers.counts().arrived == 7
    assert len(connections_to(providers.port) - before) == 2  # as many as a layer has proposers
    clients = [getattr(agent.llm, "_async_http_client", None) for agent in recipe.agents]
    assert clients[-1] is None
    assert len({*map(id, clients[:-1])}) == 1
    assert config.dumps(config.loads(config.dumps(recipe))) == config.dumps(recipe)
    for agent in config.loads(FILE, need_keys=False).agents:
        assert getattr(agent.llm, "_async_http_client", None) is None


class OtherClients(OpenAI):
    """As Azure's class: it makes clients of another kind."""

    def _get_aclient(self):
        client = super()._get_aclient()
        client._custom_headers = {"X-Mine": "yes"}
        return client


async def test_a_class_that_makes_its_own_clients_keeps_them_and_shares_the_connections(
    providers: SimulatedProviders,
) -> None:
    llm = OtherClients(model="gpt-4.1", api_key="key", api_base=providers.openai_base)
    (shared,) = share_clients(llm)
    assert (await shared.achat(ASKED)).message.content
    assert "x-mine" in providers.log()[-1].headers
    assert shared._get_aclient()._client is shared._async_http_client


SCRIPT = """
import asyncio, sys
sys.modules.update(dict.fromkeys(sys.argv[1:]))  # None: not to be found
from llama_index.llms.openai import OpenAI
from llama_index.packs.mixture_of_agents.clients import share_clients

async def main():
    first, second = share_clients(*(OpenAI(name, api_key="k") for name in ("gpt-4o", "gpt-4.1")))
    said = await asyncio.gather(first.acomplete("Why?"), second.acomplete("Why?"))
    print(len(said), first._async_http_client is second._async_http_client)
    print(first.complete("Why?").text != "")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("absent", "proxies", "shared"),
    [
        ([], {}, True),
        (["httpx_aiohttp"], {}, False),
        ([], {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}, False),
    ],
)
def test_a_script_ends_without_a_word_about_connections(
    providers: SimulatedProviders, absent: list[str], proxies: dict[str, str], shared: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *absent],
        env={**os.environ, **providers.environment, **proxies},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["2", str(shared), "True"], "")


@pytest.mark.parametrize(("switch", "connections"), [("1", 2), ("0", 3)])
async def test_a_mixture_shares_connections_without_being_asked_and_leaves_the_llms_as_they_are(
    providers: SimulatedProviders,
    monkeypatch: pytest.MonkeyPatch,
    switch: str,
    connections: int,
) -> None:
    monkeypatch.setenv("MOA_SHARED_CLIENTS", switch)
    llms = [providers.openai(model) for model in ("gpt-4.1", "gpt-4.1-mini", "gpt-4o")]
    before = [dict(llm.__pydantic_private__ or {}) for llm in llms]
    open_before = connections_to(providers.port)
    mixture = MixtureOfAgents(moa(llms[:2], llms[2], layers=2))
    assert (await mixture.achat(ASKED)).message.content
    assert (
        len(connections_to(providers.port) - open_before) == connections
    )  # as many as a layer is wide
    assert [dict(llm.__pydantic_private__ or {}) for llm in llms] == before


async def test_llms_keep_clients_of_their_own_where_a_recipe_or_the_environment_says_so(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = providers.openai("gpt-4.1")
    alone = Transport(llm, shared=False)
    assert alone.llm._async_http_client is None  # type: ignore[attr-defined]
    assert Transport(llm, shared=True).llm._async_http_client is not None  # type: ignore[attr-defined]
    monkeypatch.setenv("MOA_SHARED_CLIENTS", "0")
    assert with_shared_clients(llm) is llm
    assert (await MixtureOfAgents(moa([llm], llm, layers=1)).achat(ASKED)).message.content


def test_certificates_that_cannot_be_read_are_left_to_the_llms_own_clients(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    llm = providers.openai("gpt-4.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert with_shared_clients(llm) is llm


class Noticing(OpenAI):
    """It notes where its async client is asked for."""

    _in_loop: list[bool] = PrivateAttr(default_factory=list[bool])

    def _get_aclient(self) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._in_loop.append(False)
        else:
            self._in_loop.append(True)
        return super()._get_aclient()


@pytest.mark.parametrize("switch", ["0", "1"])
async def test_clients_are_made_before_the_layer_and_off_the_event_loop(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv("MOA_SHARED_CLIENTS", switch)
    made: list[bool] = []
    proposers = [
        Noticing(model=name, api_key="k", api_base=providers.openai_base)
        for name in ("gpt-4.1", "gpt-4o")
    ]
    mixture = MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1-mini"), layers=1))

    def notice(_: Any, event: Event) -> None:
        if isinstance(event, LayerStarted):
            made.extend(proposer._in_loop[0] for proposer in proposers)

    with mixture.listen(notice):
        await mixture.achat(ASKED)
    assert made == [False, False]


async def test_a_client_that_cannot_be_made_fails_its_own_call(
    providers: SimulatedProviders,
) -> None:
    class Broken(OpenAI):
        def _get_aclient(self) -> Any:
            raise OSError("no certificates here")

    proposers = [
        Broken(model="gpt-4o", api_key="k", api_base=providers.openai_base),
        providers.openai("gpt-4.1"),
    ]
    recipe = moa(proposers, providers.openai("gpt-4.1-mini"), layers=1)
    result = (await MixtureOfAgents(recipe).achat(ASKED)).additional_kwargs["mixture"]
    assert ["no certificates here" in one.message for one in result.failures] == [True]
