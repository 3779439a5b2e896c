"""What a file says of an endpoint's limits holds for the requests that reach its provider."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from asking import ask, in_every_way, sync_and_async
from llama_index.core.llms.llm import LLM
from programs import run_python
from served import served
from systems import makes_links
from wire import BODY, CHAT

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.batch import run_batch
from llama_index.packs.mixture_of_agents.cli.offer import mixtures_of
from llama_index.packs.mixture_of_agents.cli.sources import Source
from llama_index.packs.mixture_of_agents.config import Document
from llama_index.packs.mixture_of_agents.errors import (
    ConfigError,
    FailureKind,
    LimiterUnavailable,
    RecipeError,
)
from llama_index.packs.mixture_of_agents.evaluation import aevaluate
from llama_index.packs.mixture_of_agents.limits import SqliteLimiter, connect, quota_of
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


@makes_links
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


@makes_links
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
    with pytest.raises(ConfigError, match=r"'postgres' is not a store.*memory, sqlite, ray, redis"):
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


def asked_alone(providers: SimulatedProviders, mixture: MixtureOfAgents) -> dict[str, LLM]:
    """A mixture and its model, as ``moa serve --members`` serves them."""
    return {"moa": mixture, "mini": providers.openai(MODEL, max_retries=2)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_served_alone_counts_towards_its_mixtures_limit(
    providers: SimulatedProviders, tmp_path: Path, stream: bool
) -> None:
    mixture = limited(providers, tmp_path / "limits.db", requests_per_minute=4)
    with served(asked_alone(providers, mixture)) as at:
        for model in ("moa", "mini", "mini", "moa"):
            body = {**BODY, "model": model, "stream": stream}
            assert httpx.post(f"{at}{CHAT}", json=body, timeout=30).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{at}{CHAT}", json={**BODY, "model": "mini"}, timeout=1)
    assert len(providers.log()) == 4


def test_a_model_that_is_served_alone_shares_the_requests_in_flight(
    providers: SimulatedProviders,
) -> None:
    providers.configure("*", latency=0.05)
    said = Limits(endpoints={MODEL: EndpointLimits(in_flight=2)})
    mixture = MixtureOfAgents(moa([providers.openai(MODEL)] * 4, None, layers=1, limits=said))
    with served(asked_alone(providers, mixture)) as at, ThreadPoolExecutor() as pool:
        bodies = [{**BODY, "model": name} for name in ("moa", "mini", "mini", "mini")]
        posts = pool.map(lambda body: httpx.post(f"{at}{CHAT}", json=body, timeout=30), bodies)
        assert [post.status_code for post in posts] == [200] * 4
    assert len(providers.log()) == 7
    assert providers.high_water(MODEL) == 2


def test_each_retry_of_a_model_that_is_served_alone_counts(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    providers.configure(MODEL, script=[failure(500), failure(429, retry_after=0.2)])
    mixture = limited(providers, tmp_path / "limits.db", requests_per_minute=3)
    with served(asked_alone(providers, mixture)) as at:
        done = httpx.post(f"{at}{CHAT}", json={**BODY, "model": "mini"}, timeout=30)
        assert done.status_code == 200, done.text
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{at}{CHAT}", json={**BODY, "model": "moa"}, timeout=1)
    assert [record.status for record in providers.log()] == [500, 429, 200]


def test_a_retry_after_of_a_model_that_is_served_alone_stops_its_mixture(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    providers.configure(MODEL, script=[failure(429, retry_after=50)])
    mixture = limited(providers, tmp_path / "limits.db", requests_per_minute=100)
    with served(asked_alone(providers, mixture)) as at:
        refused = httpx.post(f"{at}{CHAT}", json={**BODY, "model": "mini"}, timeout=30)
        assert refused.status_code == 429
        cooled_down(tmp_path / "limits.db")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{at}{CHAT}", json={**BODY, "model": "moa"}, timeout=1)
    assert len(providers.log()) == 1


def test_a_request_that_chooses_other_models_keeps_the_limits_of_those_it_asks(
    providers: SimulatedProviders,
) -> None:
    said = [
        Limits(endpoints={"openai:gpt-4.1": EndpointLimits(3)}),
        Limits(endpoints={MODEL: EndpointLimits(1)}),
    ]
    mixtures = {
        name: MixtureOfAgents(moa([providers.openai(model)], None, layers=1, limits=limits))
        for name, model, limits in zip(("big", "mini"), ("gpt-4.1", MODEL), said, strict=True)
    }
    members = {"small": providers.openai(MODEL)}
    with served(mixtures, members=members) as at:
        body = {**BODY, "model": "big", "mixture": {"proposers": ["small"]}}
        assert httpx.post(f"{at}{CHAT}", json=body, timeout=30).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{at}{CHAT}", json={**BODY, "model": "mini"}, timeout=1)
    assert [record.model for record in providers.log()] == [MODEL]


def test_mixtures_that_say_the_same_of_an_endpoint_share_its_limit_in_one_process(
    providers: SimulatedProviders,
) -> None:
    both = {MODEL: EndpointLimits(2), "mistral": EndpointLimits(7)}
    one, other = (
        moa(models, None, layers=1, limits=Limits(endpoints=limits))
        for models, limits in (
            ([providers.openai(MODEL), providers.mistral()], both),
            ([providers.openai(MODEL)], {MODEL: EndpointLimits(2)}),
        )
    )
    quotas = [quota_of(recipe.limits, "openai", MODEL) for recipe in (one, other)]
    assert quotas[0] is quotas[1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_alone_whose_limits_are_out_of_reach_is_not_asked(
    providers: SimulatedProviders, tmp_path: Path, stream: bool
) -> None:
    mixture = limited(providers, tmp_path / "no folder" / "limits.db", requests_per_minute=5)
    with served(asked_alone(providers, mixture)) as at:
        body = {**BODY, "model": "mini", "stream": stream}
        response = httpx.post(f"{at}{CHAT}", json=body, timeout=30)
    assert response.status_code == 503
    assert "limits_unavailable" in response.text
    assert providers.log() == []


async def test_every_arm_and_judge_of_an_evaluation_keeps_to_the_mixtures_limits(
    providers: SimulatedProviders,
) -> None:
    providers.configure("*", latency=0.02)
    providers.configure("gpt-4o", reply="2, 2", latency=0.02)
    models = ("gpt-4.1-mini", "gpt-4.1-nano", "gpt-4.1", "gpt-4o")
    mini, nano, writer, judge = map(providers.openai, models)
    said = Limits(endpoints={model: EndpointLimits(in_flight=2) for model in models[:3]})
    judges = Limits(endpoints={"gpt-4o": EndpointLimits(in_flight=3)})
    arms = {
        "mixture": moa([mini, nano], writer, layers=1, limits=said),
        "mini": mini,
        "other": moa([judge], writer, layers=1, limits=judges),
    }
    questions = [{"id": f"q{n}", "question": f"What is {n} + 1?"} for n in range(8)]
    evaluation = await aevaluate(arms, questions, "rubric", judges=[judge], equal=None)
    assert not evaluation.stopped
    assert [providers.high_water(model) for model in models] == [2, 2, 2, 3]


async def test_the_members_of_a_mixture_with_several_limits_are_compared(
    providers: SimulatedProviders,
) -> None:
    mini, writer = providers.openai(MODEL), providers.openai("gpt-4.1")
    said = Limits(endpoints={MODEL: EndpointLimits(900), "gpt-4.1": EndpointLimits(901)})
    questions = [{"id": f"q{n}", "question": f"What is {n} + 1?", "answer": n} for n in range(2)]
    recipe = moa([mini], writer, layers=1, limits=said)
    evaluation = await aevaluate(recipe, questions, "number", equal="calls")
    assert [arm.name for arm in evaluation.arms][:3] == [MODEL, "gpt-4.1", "mixture"]


NOWHERE = "$LIMITS_ARE_NOWHERE"


def test_a_batch_with_a_store_that_does_not_exist_stops_at_its_first_question(
    providers: SimulatedProviders, tmp_path: Path
) -> None:
    said = Limits(endpoints={MODEL: EndpointLimits(5)}, store=NOWHERE)
    mixture = MixtureOfAgents(moa([providers.openai(MODEL)], None, layers=1, limits=said))
    questions = [f"Why {number}?" for number in range(10)]
    report = run_batch(mixture, questions, tmp_path / "answers.jsonl", in_flight=1)
    assert "LIMITS_ARE_NOWHERE is not set" in report.stopped
    assert report.failed < 10


def test_a_server_with_a_store_that_does_not_exist_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "simulated-key")
    models = {"proposers": [f"openai:{MODEL}"], "aggregator": f"openai:{MODEL}"}
    limits = {"store": NOWHERE, "endpoints": {MODEL: {"requests_per_minute": 5}}}
    source = Source(Document({**models, "limits": limits}, "moa.toml"), "moa.toml")
    with pytest.raises(ConfigError, match="LIMITS_ARE_NOWHERE is not set"):
        mixtures_of({"": source}, None)


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
