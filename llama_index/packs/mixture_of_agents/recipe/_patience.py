"""A recipe without limits of time, for answers that may take a day: those of the providers' batch APIs."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.policies import Breaker, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.pricing import Prices

from ._agents import Agent
from ._recipe import Layer, Recipe

AnyAgent = TypeVar("AnyAgent", bound=Agent)


def patient(recipe: Recipe, prices: Prices, seed: int, member: Callable[[LLM], LLM]) -> Recipe:
    """Return the recipe without deadlines, timeouts, grace times, hedging, circuits and limits of calls in flight.

    Args:
        recipe: The recipe.
        prices: What its models cost.
        seed: Its seed if it has none: the same question must send the same requests again.
        member: Makes the LLM of an agent patient, if that is a mixture.
    """

    def agent(one: AnyAgent) -> AnyAgent:
        return replace(one, llm=member(one.llm), call=one.call and _waiting(one.call))

    def layer(one: Layer) -> Layer:
        proposers = tuple(map(agent, one.proposers))
        return replace(one, proposers=proposers, grace=None, deadline=None)

    return replace(
        recipe,
        layers=tuple(map(layer, recipe.layers)),
        aggregator=recipe.aggregator and agent(recipe.aggregator),
        fallbacks=tuple(map(agent, recipe.fallbacks)),
        call=_waiting(recipe.call),
        deadline=None,
        limits=Limits(breaker=Breaker(failures=0)),
        prices=prices,
        seed=seed if recipe.seed is None else recipe.seed,
    )


def _waiting(call: CallPolicy) -> CallPolicy:
    return replace(call, timeout=None, deadline=None, hedge_after=None)
