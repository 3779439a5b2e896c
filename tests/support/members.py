"""LLMs and mixtures that many tests ask."""

import asyncio
from typing import Any

import pytest

from llama_index.packs.mixture_of_agents import Aggregator, MixtureOfAgents, Proposer, Recipe, moa
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

ONCE = CallPolicy(retries=0)
AT_ONCE = CallPolicy(backoff=0)
of_both_classes = pytest.mark.parametrize("model", ["gpt-4.1", "mistral-small-latest"])


class Closed(Exception):
    """A provider's error that no further attempt cures."""

    status_code = 403


async def forever(_: Any) -> str:
    """A reply of ``ScriptedLLM`` that never comes."""
    await asyncio.Event().wait()
    raise AssertionError("it waits forever")


async def settle() -> None:
    """Let every task go on until it waits for something else."""
    for _ in range(100):
        await asyncio.sleep(0)


def llm_of(providers: SimulatedProviders, model: str, **settings: Any) -> Any:
    """Of OpenAI's or Mistral's class, as the model's name says."""
    make = providers.mistral if model.startswith("mistral") else providers.openai
    return make(model, **settings)


def one_proposer(llm: Any, policy: CallPolicy = AT_ONCE, **policies: Any) -> MixtureOfAgents:
    """A mixture whose answer is its only proposer's: one call a run."""
    return MixtureOfAgents(moa([Proposer(llm, name="p")], None, layers=1, call=policy, **policies))


def under_writer(llm: Any, policy: CallPolicy = AT_ONCE) -> MixtureOfAgents:
    """A mixture of one scripted proposal, whose answer this LLM writes."""
    writer = Aggregator(llm, name="writer")
    return MixtureOfAgents(moa([ScriptedLLM("proposal")], writer, layers=1, call=policy))


def two_layers(aggregator: Any = None, **policies: Any) -> Recipe:
    """Three scripted proposers, twice."""
    proposers = [Proposer(ScriptedLLM(f"I am {name}"), name=name) for name in "abc"]
    return moa(proposers, aggregator or ScriptedLLM("the end"), layers=2, **policies)


def of_paris(
    *replies: Any, proposers: Any = ("Paris", "Paris, France"), **settings: Any
) -> MixtureOfAgents:
    """Scripted proposers p1, p2, ... in one layer, under the aggregator ``writer``."""
    members = [ScriptedLLM(one, model=f"p{n}") for n, one in enumerate(proposers, 1)]
    writer = ScriptedLLM(*(replies or ("It is Paris.",)), model="writer")
    return MixtureOfAgents(llm=writer, proposers=members, num_layers=1, **settings)


def of_both_providers(providers: SimulatedProviders, **settings: Any) -> MixtureOfAgents:
    """A proposer of each class in one layer, without retries."""
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    writer = providers.openai("gpt-4.1")
    return MixtureOfAgents(llm=writer, proposers=proposers, num_layers=1, call=ONCE, **settings)


def six_calls(providers: SimulatedProviders, **policies: Any) -> MixtureOfAgents:
    """Two proposers of each class, twice, under an aggregator."""
    names = ("gpt-4.1-mini", "gpt-4o", "mistral-small-latest", "mistral-large-latest")
    proposers = [llm_of(providers, name) for name in names]
    return MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1"), layers=2, **policies))


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def a_story(words: int) -> str:
    """At least that many words."""
    sentence = "Once upon a time there was a very old bridge over a very wide river. "
    return (sentence * (words // 14 + 1)).strip()
