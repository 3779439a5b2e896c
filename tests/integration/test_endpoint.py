"""An endpoint that fails over HTTP is left alone for a while."""

import asyncio
from dataclasses import replace

import pytest
from asking import ask
from members import ONCE

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    Proposer,
    QuorumNotMet,
    moa,
)
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import Breaker, Limits
from llama_index.packs.mixture_of_agents.simulation import HANG, OK, SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

# --- in a mixture --------------------------------------------------------------------------------


def limits(failures: int = 2, cooldown: float = 3600) -> Limits:
    return Limits(breaker=Breaker(failures, cooldown))


async def test_a_probe_finds_out_that_an_endpoint_is_well_again(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", script=[failure(503)] * 3 + [OK] * 9)
    recipe = moa([providers.openai("gpt-4.1"), ScriptedLLM("fine")], ScriptedLLM("end"), layers=1)
    mixture = MixtureOfAgents(replace(recipe, call=ONCE, limits=limits(2, cooldown=0.2)))
    for _ in range(2):
        await ask(mixture)
    assert (await ask(mixture)).failures[0].kind == FailureKind.CIRCUIT_OPEN
    await asyncio.sleep(0.2)
    assert (await ask(mixture)).failures[0].status == 503, "the first probe"
    assert (await ask(mixture)).failures[0].kind == FailureKind.CIRCUIT_OPEN
    await asyncio.sleep(0.2)
    assert not (await ask(mixture)).failures, "the second probe"
    assert not (await ask(mixture)).failures
    assert len(providers.log()) == 5


async def test_an_endpoint_that_hangs_is_left_alone_too(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", script=[HANG] * 9)
    recipe = moa([providers.openai("gpt-4.1"), ScriptedLLM("fine")], ScriptedLLM("end"), layers=1)
    (layer,) = recipe.layers
    recipe = replace(recipe, layers=(replace(layer, deadline=0.1),), limits=limits())
    mixture = MixtureOfAgents(recipe)
    for _ in range(2):
        assert (await ask(mixture)).failures[0].kind == FailureKind.TIMEOUT
    assert (await ask(mixture)).failures[0].kind == FailureKind.CIRCUIT_OPEN


async def test_two_llm_objects_of_one_endpoint_share_its_circuit(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", script=[failure(500)] * 9)
    proposers = [Proposer(providers.openai("gpt-4.1"), name=name) for name in ("one", "other")]
    mixture = MixtureOfAgents(moa(proposers, None, layers=1, call=ONCE, limits=limits(2)))
    for _ in range(2):
        with pytest.raises(QuorumNotMet):
            await ask(mixture)
    assert len(providers.log()) == 2
