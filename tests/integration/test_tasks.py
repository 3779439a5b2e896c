"""The second request of a late proposer, over HTTP."""

import asyncio

import pytest
from asking import ask
from members import of_both_classes, one_proposer

from llama_index.packs.mixture_of_agents.events import CallRetried
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import HANG, OK, SimulatedProviders, failure


@of_both_classes
async def test_the_second_request_wins_and_the_first_one_is_hung_up(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, script=[HANG, OK], reply="the second one")
    make = providers.mistral if "mistral" in model else providers.openai
    result = await ask(one_proposer(make(model), CallPolicy(hedge_after=0.1)))
    assert result.answer == "the second one"
    (call,) = result.calls
    assert call.hedged
    assert call.attempts == call.usage.requests == 2
    assert not result.degraded
    assert not [event for event in result.events if isinstance(event, CallRetried)]
    await providers.await_for(model, arrived=2, hung_up=1, open=0, timeout=2)


async def test_both_failing_is_one_failure_that_is_tried_again(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", latency=0.15, script=[failure(500), failure(503), OK])
    policy = CallPolicy(hedge_after=0.1, backoff=0)
    result = await ask(one_proposer(providers.openai("gpt-4.1"), policy))
    assert result.answer
    retried = [event for event in result.events if isinstance(event, CallRetried)]
    assert len(retried) == 1
    assert retried[0].attempt == 2


async def test_cancelling_cancels_both_requests(providers: SimulatedProviders) -> None:
    providers.hold("gpt-4.1")
    asking = asyncio.ensure_future(
        ask(one_proposer(providers.openai("gpt-4.1"), CallPolicy(hedge_after=0.05)))
    )
    await providers.await_for("gpt-4.1", held=2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await providers.await_for("gpt-4.1", hung_up=2, open=0, timeout=2)
