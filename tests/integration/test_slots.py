"""How many requests are under way at once, over HTTP."""

import asyncio

from asking import QUESTION, ask, sync_and_async
from limiting import Recording, with_limiter

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents.policies import CallPolicy, Limits
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure

# --- in a mixture --------------------------------------------------------------------------------


@sync_and_async
async def test_no_more_calls_are_in_flight_than_the_limit_for_all_runs_together(
    providers: SimulatedProviders, way: str
) -> None:
    providers.configure("*", latency=0.02)
    names = ("gpt-4.1", "gpt-4o", "mistral-small-latest", "gpt-4.1-mini")
    proposers = [
        providers.mistral(name) if "mistral" in name else providers.openai(name) for name in names
    ]
    recipe = moa(proposers, providers.openai("gpt-4.1-nano"), layers=2, limits=Limits(in_flight=3))
    mixture = MixtureOfAgents(recipe)
    results = await asyncio.gather(*(ask(mixture, way) for _ in range(3)))
    assert all(not result.degraded for result in results)
    assert providers.counts().arrived == 3 * 9
    assert providers.high_water() == 3


async def test_no_more_calls_are_in_flight_to_an_endpoint_than_its_limit(
    providers: SimulatedProviders,
) -> None:
    providers.configure("*", latency=0.02)
    proposers = [
        Proposer(providers.mistral("mistral-small-latest"), samples=5),
        Proposer(providers.mistral("mistral-medium-latest"), samples=5),
    ]
    limits = Limits(per_endpoint=2)
    await ask(MixtureOfAgents(moa(proposers, None, layers=1, limits=limits)))
    assert providers.high_water("mistral-small-latest") == 2
    assert providers.high_water("mistral-medium-latest") == 2
    assert providers.high_water() == 4


async def test_one_model_at_a_time_groups_calls_by_model(providers: SimulatedProviders) -> None:
    providers.configure("*", latency=0.01)
    small, large = providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1")
    proposers = [Proposer(llm, name=f"p{i}") for i, llm in enumerate([small, large] * 3)]
    recipe = moa(proposers, small, layers=2, limits=Limits(one_model_at_a_time=True))
    result = await ask(MixtureOfAgents(recipe))
    assert not result.degraded
    order = [record.model for record in providers.log()]
    groups = [model for i, model in enumerate(order) if i == 0 or order[i - 1] != model]
    assert len(order) == 13
    assert len(groups) == 5, "two per layer, and the aggregator"
    for one, next_one in zip(providers.log(), providers.log()[1:], strict=False):
        if one.model != next_one.model:
            assert one.ended
            assert one.ended <= next_one.arrived


async def test_a_call_that_waits_to_be_tried_again_holds_no_slot(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", script=[failure(429, retry_after=0.5)])
    limited, other = providers.openai("gpt-4.1"), providers.openai("gpt-4.1-mini")
    recipe = moa([limited, other], None, layers=1, limits=Limits(in_flight=1))
    assert not (await ask(MixtureOfAgents(recipe))).failures
    assert [record.model for record in providers.log()] == ["gpt-4.1", "gpt-4.1-mini", "gpt-4.1"]


# --- requests and tokens per minute --------------------------------------------------------------


@sync_and_async
async def test_a_rate_limiter_is_told_of_each_request_once_and_of_its_tokens(
    providers: SimulatedProviders, way: str
) -> None:
    limiter = Recording()
    providers.configure("gpt-4.1", script=[failure(500)])
    llm = with_limiter(providers.openai("gpt-4.1"), limiter)
    policy = CallPolicy(backoff=0)
    await ask(MixtureOfAgents(moa([llm], None, layers=1, max_tokens=300, call=policy)), way)
    assert limiter.asked == [(way, tokens_of(QUESTION) + 300)] * 2
    assert len(providers.log()) == 2
    assert llm.rate_limiter is limiter
