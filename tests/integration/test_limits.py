"""What a file says of an endpoint's limits holds for the requests that reach its provider."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from asking import ask, in_every_way, sync_and_async
from programs import run_python
from served import served
from wire import BODY, CHAT

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.errors import (
    ConfigError,
    FailureKind,
    LimiterUnavailable,
    RecipeError,
)
from llama_index.packs.mixture_of_agents.limits import SqliteLimiter, connect
from llama_index.packs.mixture_of_agents.policies import CallPolicy, EndpointLimits, Limits
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure

MODEL = "gpt-4.1-mini"


def limited(
    providers: SimulatedProviders, store: Path | str, proposers: int = 1, **limits: int | str
) -> MixtureOfAgents:
    """A mixture of one endpoint with limits, which are counted apart from those of other tests."""
    llm = providers.openai(MODEL)
    endpoints = {f"openai:{MODEL}": EndpointLimits(**limits)}  # type: ignore[arg-type]
    said = Limits(endpoints=endpoints, store=f"sqlite:{store}")
    agents = [Proposer(llm, name=f"p{number}") for number in range(proposers)]
    once = CallPolicy(retries=0)
    return MixtureOfAgents(moa(agents, None, layers=1, limits=said, call=once, max_tokens=50))


@sync_and_async
async def test_no_more_requests_are_sent_in_a_minute_than_the_limit(
    providers: SimulatedProviders, tmp_path: Path, way: str
) -> None:
    mixture = limited(providers, tmp_path / "limits.db", proposers=5, requests_per_minute=3)
    (layer,) = mixture.recipe.layers
    closes = replace(layer, quorum=3, grace=0.0)
    result = await ask(MixtureOfAgents(replace(mixture.recipe, layers=(closes,))), way)
    assert len(providers.log()) == 3
    assert [failure.kind for failure in result.failures] == [FailureKind.STRAGGLER] * 2


async def test_two_mixtures_that_share_a_file_keep_one_limit(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    one = limited(providers, tmp_path / "limits.db", requests_per_minute=4)
    other = limited(providers, tmp_path / "link" / "limits.db", requests_per_minute=4)
    waits = [asyncio.create_task(ask(mixture)) for mixture in (one, other) * 3]
    while len(providers.log()) < 4:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        waits = [wait for wait in waits if not wait.done()]
    limiter = SqliteLimiter(tmp_path / "limits.db", one.recipe.limits.endpoints)
    assert limiter.reserve(f"openai:{MODEL}", 1, 0) > 50
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert len(providers.log()) == 4


async def test_tokens_that_a_request_did_not_use_are_there_for_the_next(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    providers.configure(MODEL, input_tokens=10, output_tokens=5)
    mixture = limited(providers, tmp_path / "limits.db", tokens_per_minute=160)
    for _ in range(6):  # each reserves more than 50
        assert not (await ask(mixture)).failures


def cooled_down(path: Path) -> None:
    """Wait until the file says that nothing may be sent."""
    limiter = SqliteLimiter(path, {})
    while not limiter.reserve(f"openai:{MODEL}", 0, 0):
        pass


async def test_a_retry_after_stops_every_mixture_that_shares_the_store(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    providers.configure(MODEL, script=[failure(429, retry_after=1.5)])
    (tmp_path / "link").symlink_to(tmp_path)
    one = limited(providers, tmp_path / "limits.db", requests_per_minute=100)
    other = limited(providers, tmp_path / "link" / "limits.db", requests_per_minute=100)
    with pytest.raises(Exception, match="429"):
        await ask(one)
    await asyncio.to_thread(cooled_down, tmp_path / "limits.db")
    await asyncio.gather(ask(other), ask(one))
    first, *later = providers.log()
    assert len(later) == 2
    assert all(record.arrived - (first.ended or 0) >= 1.3 for record in later)


@in_every_way
async def test_a_store_out_of_reach_ends_the_run_before_anything_is_sent(
    providers: SimulatedProviders, tmp_path: Path, way: str
) -> None:
    mixture = limited(providers, tmp_path / "no folder" / "limits.db", 3, requests_per_minute=5)
    with pytest.raises(LimiterUnavailable, match="no folder"):
        await ask(mixture, way)
    assert providers.log() == []


async def test_an_endpoints_calls_in_flight_are_limited_and_may_find_their_number(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    providers.configure("*", latency=0.02)
    await ask(limited(providers, tmp_path / "two.db", 8, in_flight=2))
    assert providers.high_water(MODEL) == 2
    providers.reset()
    providers.configure("*", latency=0.02)
    mixture = limited(providers, tmp_path / "auto.db", 12, in_flight="auto")
    await ask(mixture)
    assert 4 <= providers.high_water(MODEL) <= 9
    for _ in range(10):
        await ask(mixture)
    assert providers.high_water(MODEL) == 12


def test_a_name_that_is_no_endpoint_of_the_recipe_is_refused(providers: SimulatedProviders) -> None:
    for name in ("openai:gpt-5", "mistral", "gpt"):
        limits = Limits(endpoints={name: EndpointLimits(5)})
        with pytest.raises(RecipeError, match=r"none of its models.*openai:gpt-4\.1-mini"):
            moa([providers.openai(MODEL)], None, layers=1, limits=limits)


def test_a_store_that_does_not_exist_is_an_error_that_lists_those_that_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"'postgres' is no store.*memory, sqlite, ray, redis"):
        connect("postgres://127.0.0.1", {})
    with pytest.raises(ConfigError, match="LIMITS_ARE_HERE is not set"):
        connect("$LIMITS_ARE_HERE", {})
    monkeypatch.setenv("LIMITS_ARE_HERE", f"sqlite:{tmp_path / 'limits.db'}")
    assert connect("$LIMITS_ARE_HERE", {}).reserve("any", 1, 1) == 0.0
    assert (tmp_path / "limits.db").exists()


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_whose_limits_are_out_of_reach_says_so_and_sends_nothing(
    providers: SimulatedProviders, tmp_path: Path, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    mixture = limited(providers, tmp_path / "no folder" / "limits.db", requests_per_minute=5)
    with served({"moa": mixture}) as at:
        body = {**BODY, "model": "moa", "stream": stream}
        response = httpx.post(f"{at}{CHAT}", json=body, timeout=30)
    assert response.status_code == 503
    assert "no folder" in caplog.text
    assert "limits_unavailable" in response.text
    assert "no folder" not in response.text, "the client need not know where"
    assert providers.log() == []


def test_a_run_without_limits_of_endpoints_does_not_import_them() -> None:
    program = """
import sys
from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM
MixtureOfAgents(moa([ScriptedLLM("one")], ScriptedLLM("two"), layers=1)).complete("Why?")
print([name for name in sys.modules if "mixture_of_agents.limits" in name])
"""
    done = run_python("-c", program, cwd=Path(__file__).parents[2])
    assert done.stdout == "[]\n", done.stderr
