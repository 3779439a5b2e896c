"""The result of a run over HTTP."""

from decimal import Decimal

import pytest
from asking import QUESTION, ask

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult, RunError, moa
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"gpt-4.1-mini": (1.0, 10.0), "mistral-small-latest": (2.0, 20.0), "gpt-4.1": (3.0, 30.0)}


async def test_cost_adds_up_over_calls_layers_and_the_run(providers: SimulatedProviders):
    providers.configure("gpt-4.1-mini", script=[failure(500)])
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    recipe = moa(proposers, providers.openai("gpt-4.1"), prices=PRICES, call=CallPolicy(backoff=0))
    response = await MixtureOfAgents(recipe).achat(QUESTION)
    result: MixtureResult = response.additional_kwargs["mixture"]
    expected = (
        sum(
            Decimal(str(PRICES[r.model][0])) * r.input_tokens
            + Decimal(str(PRICES[r.model][1])) * r.output_tokens
            for r in providers.log()
        )
        / 1_000_000
    )
    assert result.cost.usd == expected > 0
    assert sum((layer.cost.at_least for layer in result.layers), Decimal(0)) == expected
    assert sum((result.cost_of(c).at_least for c in result.calls), Decimal(0)) == expected
    assert MixtureResult.from_json(result.to_json()).cost == result.cost


async def test_a_sum_with_an_unknown_part_says_so(providers: SimulatedProviders):
    recipe = moa([ScriptedLLM(model="mine")], providers.openai("gpt-4.1"), layers=1)
    result = await ask(recipe)
    assert result.cost.usd is None
    assert result.cost.at_least > 0
    assert result.cost.unpriced == ("mine",)
    assert "? no price known for mine." in result.summary()


async def test_keys_are_never_in_it(providers: SimulatedProviders):
    key = "sk-very-secret-key-1234567890"
    refusing = providers.openai("gpt-4.1-mini", api_key=key)
    providers.configure("gpt-4.1-mini", script=[failure(400, f"your key {key} is odd")] * 9)
    with pytest.raises(RunError) as caught:
        await MixtureOfAgents(moa([refusing], providers.openai("gpt-4.1"))).achat(QUESTION)
    result = caught.value.result
    assert result.failures
    assert key not in result.to_json() + result.summary() + result._repr_html_() + repr(result)
