"""LLMs and mixtures that many tests ask."""

import asyncio
from typing import Any

import pytest

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

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


def six_calls(providers: SimulatedProviders, **policies: Any) -> MixtureOfAgents:
    """Two proposers of each class, twice, under an aggregator."""
    names = ("gpt-4.1-mini", "gpt-4o", "mistral-small-latest", "mistral-large-latest")
    proposers = [llm_of(providers, name) for name in names]
    return MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1"), layers=2, **policies))


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b
