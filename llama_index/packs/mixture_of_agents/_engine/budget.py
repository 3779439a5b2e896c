"""Counts what a run has spent, and checks whether its next calls fit the budget."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents._providers.facts import output_limit
from llama_index.packs.mixture_of_agents.events import CallFinished, Event, Usage
from llama_index.packs.mixture_of_agents.pricing import price_of
from llama_index.packs.mixture_of_agents.recipe import Agent, Layer, Proposer, Recipe

from .calls import Caller


@dataclass(frozen=True, slots=True)
class Plan:
    """A call that may be made.

    Attributes:
        agent: the agent.
        input_tokens: the tokens to send.
        samples: the number of answers to ask for.
    """

    agent: Agent
    input_tokens: int
    samples: int = 1


class Spending:
    """What one run has spent so far. Made only for recipes with a budget.

    A planned call counts with the longest answer that it may give: ``max_tokens``, or, if that is not set, the longest
    answer of the run so far. So a run in which every agent has ``max_tokens`` stays within its budget, except for
    failed requests that were billed nevertheless.

    Args:
        recipe: the recipe.
        caller: knows the provider and model of each agent.
        kwargs: the parameters of the run.
    """

    def __init__(self, recipe: Recipe, caller: Caller, kwargs: Mapping[str, Any]) -> None:
        self._recipe, self._caller, self._kwargs = recipe, caller, kwargs
        self._when = time.time()
        self._tokens, self._usd = 0, Decimal(0)
        self._longest = 0

    def add(self, event: Event) -> None:
        """Count the usage of a call that has ended; ignore any other event."""
        if isinstance(event, CallFinished):
            self._tokens += event.usage.total_tokens
            self._usd += self._price(event.provider, event.model, event.usage)
            self._longest = max(self._longest, event.usage.output_tokens)

    def covers(self, plans: Iterable[Plan]) -> bool:
        """Whether all of these calls fit what is left of the budget."""
        tokens, usd = self._tokens, self._usd
        for plan in plans:
            provider, model, _ = self._caller.transport(plan.agent).key
            usage = Usage(plan.input_tokens, plan.samples * self.longest_answer(plan.agent))
            tokens += usage.total_tokens
            usd += self._price(provider, model, usage)
        budget = self._recipe.budget
        assert budget
        return (budget.tokens is None or tokens <= budget.tokens) and (
            # By way of str: Decimal(0.1) is a little more than 0.1.
            budget.usd is None or usd <= Decimal(str(budget.usd))
        )

    def longest_answer(self, agent: Agent) -> int:
        """The most tokens that an agent's answer may have."""
        recipe = self._recipe
        writers = (recipe.aggregator, *recipe.fallbacks)
        answers = not recipe.aggregator or any(agent is writer for writer in writers)
        callers = self._kwargs.get("max_tokens") if answers else None
        wanted = callers or agent.max_tokens or recipe.max_tokens
        return output_limit(agent.llm, wanted) or self._longest

    def plans(
        self, number: int, layer: Layer, views: Sequence[tuple[Proposer, Sequence[ChatMessage]]]
    ) -> list[Plan]:
        """All calls that a layer and then the aggregator make at most."""
        sent = {id(messages): tokens_of(messages) for _, messages in views}
        plans = [
            Plan(proposer, sent[id(messages)], proposer.samples) for proposer, messages in views
        ]
        behind = max(sent.values()) + sum(
            plan.samples * self.longest_answer(plan.agent) for plan in plans
        )
        outlooks = layer.outlook(number)
        judges = (agent for outlook in outlooks for each in outlook.rounds for agent in each)
        writer = self._recipe.aggregator
        return [
            *plans,
            *(Plan(agent, behind) for agent in judges),
            *([Plan(writer, behind)] if writer else []),
        ]

    def _price(self, provider: str, model: str, usage: Usage) -> Decimal:
        budget = self._recipe.budget
        if budget is None or budget.usd is None:
            return Decimal(0)
        price = price_of(provider, model, usage, self._recipe.prices, self._when)
        assert price is not None, "the recipe refuses a budget in US dollars with unknown prices"
        return price
