"""What a run will take, told before a cent is spent: calls, tokens, money, the shortest time.

Tokens are counted by LlamaIndex's tokenizer; providers count a little differently. Failures, retries, hedges and
fallbacks are not foreseen, nor are images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llama_index.packs.mixture_of_agents._providers.facts import (
    endpoint_key,
    is_openai,
    output_limit,
)
from llama_index.packs.mixture_of_agents._providers.usage import estimate_usage
from llama_index.packs.mixture_of_agents.events import Role, Usage
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of

from ._agents import Agent, Proposer

if TYPE_CHECKING:
    from ._recipe import Layer, Recipe

_JUDGES_INSTRUCTIONS = 200
"""Tokens; more than any of ours have."""
_TOKENS_OF_A_NUMBER = 4
"""Tokens; a line break and "12. "."""


@dataclass(frozen=True, slots=True)
class Span:
    """From the least to the most; the most is None where there is no bound. Sums with ``+``."""

    least: int = 0
    most: int | None = 0

    def __add__(self, other: "Span") -> "Span":
        bounded = self.most is not None and other.most is not None
        return Span(self.least + other.least, self.most + other.most if bounded else None)  # type: ignore[operator]

    def __mul__(self, times: int) -> "Span":
        return Span(self.least * times, None if self.most is None else self.most * times)

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:,}"
        return f"{self.least:,} to {'any number' if self.most is None else f'{self.most:,}'}"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call that a run will make.

    Attributes:
        layer: the number of its layer, from 1; the aggregator's is one more than the last proposer layer's.
        agent: the agent's name.
        role: what it is asked as.
        provider: the integration's short name.
        model: the model's name.
        sent: tokens in.
        received: tokens out; without a bound where no ``max_tokens`` is set anywhere.
        sure: whether every run makes it; False behind what may end a run early.
    """

    layer: int
    agent: str
    role: Role
    provider: str
    model: str
    sent: Span
    received: Span
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take; ``print`` it.

    Attributes:
        stages: the calls, stage by stage: those of a stage are made at the same time, the stages one after the other.
        exact: whether a run without failures makes exactly these calls; otherwise at most these.
        prices: the user's own prices.
    """

    stages: tuple[tuple[PlannedCall, ...], ...]
    exact: bool
    prices: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )

    @property
    def calls(self) -> tuple[PlannedCall, ...]:
        """All of them, in order."""
        return tuple(call for stage in self.stages for call in stage)

    @property
    def calls_per_layer(self) -> dict[int, int]:
        """How many calls each layer makes, by its number; judges' calls are among them."""
        numbers = [call.layer for call in self.calls]
        return {number: numbers.count(number) for number in sorted(set(numbers))}

    @property
    def input_tokens(self) -> Span:
        return self._sum([(call.sent, call.sure) for call in self.calls])

    @property
    def output_tokens(self) -> Span:
        return self._sum([(call.received, call.sure) for call in self.calls])

    def _sum(self, spans: Sequence[tuple[Span, bool]]) -> Span:
        total = sum((span for span, _ in spans), Span())
        return Span(sum(span.least for span, sure in spans if sure), total.most)

    @property
    def least_cost(self) -> Cost:
        """What the calls that every run makes cost, with the shortest of answers."""
        usages = [(c, Usage(c.sent.least, c.received.least)) for c in self.calls if c.sure]
        return self._cost(usages)

    @property
    def most_cost(self) -> Cost | None:
        """What all calls cost, with the longest of answers; None where there is no bound to these."""
        usages = [
            (call, Usage(call.sent.most, call.received.most))
            for call in self.calls
            if call.sent.most is not None and call.received.most is not None
        ]
        return self._cost(usages) if len(usages) == len(self.calls) else None

    def _cost(self, usages: Sequence[tuple[PlannedCall, Usage]]) -> Cost:
        costs = (cost_of(c.provider, c.model, usage, self.prices) for c, usage in usages)
        return sum(costs, Cost())

    def shortest_time(self, seconds: Mapping[str, float]) -> float:
        """The shortest possible time in seconds: the slowest call of each stage, one stage after the other.

        A run that ends early takes less.

        Args:
            seconds: how long a call of each model takes.
        """
        return sum(max(seconds[call.model] for call in stage) for stage in self.stages)

    def __str__(self) -> str:
        most = "" if self.exact else "at most "
        per_layer = ", ".join(map(str, self.calls_per_layer.values()))
        return "\n".join(
            [
                f"{most}{len(self.calls)} calls ({per_layer} by layer)",
                f"tokens in {self.input_tokens}, out {self.output_tokens}",
                f"cost {self._money()}",
                f"shortest time {' + '.join(_slowest(stage) for stage in self.stages)}",
            ]
        )

    def _money(self) -> str:
        least, most = self.least_cost, self.most_cost
        unpriced = (most or least).unpriced
        if unpriced:
            return str(Cost(unpriced=unpriced))
        return f"{least} to {most or 'any amount'}"


def _slowest(stage: tuple[PlannedCall, ...]) -> str:
    first = stage[0]
    alone = len({call.model for call in stage}) == 1
    return first.model if alone else f"slowest {first.role} of layer {first.layer}"


def estimate(recipe: "Recipe", messages: Sequence[ChatMessage]) -> Estimate:
    """What a run of a recipe will take; see ``Recipe.estimate``."""
    return _Planner(recipe, messages).plan()


class _Planner:
    def __init__(self, recipe: "Recipe", messages: Sequence[ChatMessage]) -> None:
        self.recipe, self.messages = recipe, messages
        self.question = _tokens(messages)
        self.prompt = _tokens([ChatMessage(content=recipe.prompt)])
        self.stages: list[tuple[PlannedCall, ...]] = []
        self.sure = True

    def plan(self) -> Estimate:
        recipe, references = self.recipe, Span()
        last = self.messages[-1].role if self.messages else MessageRole.USER
        if recipe.fan_out == "every_call" or last == MessageRole.USER:
            for number, layer in enumerate(recipe.layers, 1):
                references = self.layer(number, layer, references)
        if recipe.aggregator is not None:
            number = len(recipe.layers) + 1
            self.stage(self.call(number, recipe.aggregator, "aggregator", references))
        return Estimate(tuple(self.stages), self.sure, recipe.prices)

    def layer(self, number: int, layer: "Layer", references: Span) -> Span:
        """Plan a layer that gets some tokens of references; returns those that it passes on."""
        self.stage(*(c for p in layer.proposers for c in self.proposals(number, p, references)))
        longest, count, added = self.longest(layer.proposers), layer.samples, Span()
        before = max((one.samples for one in self.recipe.layers[: number - 1]), default=0)
        for outlook in layer.outlook(number, before):
            self.sure = self.sure and not outlook.adaptive
            read = self.references(longest, count if outlook.reads is None else outlook.reads)
            for agents in outlook.rounds:
                self.stage(*(self.call(number, agent, "judge", read) for agent in agents))
            judges = [agent for agents in outlook.rounds for agent in agents]
            if outlook.adds:
                added += self.longest(judges)
            elif outlook.writes:
                longest = self.longest([*layer.proposers, *judges])
            count = outlook.references
        passed = self.references(longest, count) + added
        return passed if self.sure else Span(0, passed.most)

    def proposals(self, number: int, proposer: Proposer, references: Span) -> list[PlannedCall]:
        together = proposer.samples > 1 and is_openai(proposer.llm)
        call = self.call(number, proposer, "proposer", references)
        if together:
            return [replace(call, received=call.received * proposer.samples)]
        return [call] * proposer.samples

    def call(self, number: int, agent: Agent, role: Role, read: Span) -> PlannedCall:
        """A call that reads the question and that many tokens besides."""
        provider, model, _ = endpoint_key(agent.llm)
        persona = _tokens([ChatMessage(content=agent.system_prompt or "")])
        prompt = self.prompt if role != "judge" else _JUDGES_INSTRUCTIONS
        fixed = Span(
            self.question + persona, self.question + persona + (prompt if read.most != 0 else 0)
        )
        received = Span(1, self.limit(agent))
        return PlannedCall(
            number, agent.name, role, provider, model, fixed + read, received, self.sure
        )

    def stage(self, *calls: PlannedCall) -> None:
        self.stages.append(calls)

    def references(self, longest: Span, count: int) -> Span:
        numbers = Span(_TOKENS_OF_A_NUMBER, _TOKENS_OF_A_NUMBER)
        return (longest + numbers) * count

    def longest(self, agents: Sequence[Agent]) -> Span:
        limits = [self.limit(agent) for agent in agents]
        known = [limit for limit in limits if limit is not None]
        return Span(1, max(known, default=0) if len(known) == len(limits) else None)

    def limit(self, agent: Agent) -> int | None:
        wanted = self.recipe.max_tokens if agent.max_tokens is None else agent.max_tokens
        return output_limit(agent.llm, wanted)


def _tokens(messages: Sequence[ChatMessage]) -> int:
    return estimate_usage(messages, "").input_tokens
