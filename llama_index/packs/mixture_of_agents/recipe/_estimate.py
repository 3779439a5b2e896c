"""Estimates: the calls, the tokens, the money and the shortest time of a run, before it begins.

Tokens are counted by LlamaIndex's tokenizer; providers count a little differently. Failures, retries, hedges, fallbacks
and images are not counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._messages.prompts import fence
from llama_index.packs.mixture_of_agents._providers.facts import (
    endpoint_key,
    gives_samples,
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
_TOKENS_OF_A_DRAW = 8
"""Tokens that the characters drawn for a fence's tag can have."""

GivesSamples: TypeAlias = Callable[[LLM], bool | None]
"""Whether one request to an LLM can give several answers; None where that is not known yet."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers; ``most`` is None where there is no bound. Sums with ``+``, repeats with ``*``."""

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
        role: the role in which it is asked.
        provider: the integration's short name.
        model: the model's name.
        sent: tokens in.
        received: tokens out; without a bound where no ``max_tokens`` is set anywhere.
        sure: whether every run makes it. False after a step that may end a run early.
        spare: whether it is made only if the server gives one answer to a request for several.
    """

    layer: int
    agent: str
    role: Role
    provider: str
    model: str
    sent: Span
    received: Span
    sure: bool = True
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take. Prints as a short text.

    Attributes:
        stages: the calls, stage by stage. The calls of a stage are made at the same time, the stages one after the other.
        adaptive: whether a step may end a run early.
        prices: the user's own prices.
    """

    stages: tuple[tuple[PlannedCall, ...], ...]
    adaptive: bool
    prices: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )

    @property
    def exact(self) -> bool:
        """Whether a run without failures makes exactly these calls; otherwise it makes at most these."""
        return not self.adaptive and not any(call.spare for call in self.calls)

    @property
    def calls(self) -> tuple[PlannedCall, ...]:
        """All calls, in order."""
        return tuple(call for stage in self.stages for call in stage)

    @property
    def calls_per_layer(self) -> dict[int, int]:
        """The number of calls of each layer, by the layer's number. Judges' calls are among them."""
        numbers = [call.layer for call in self.calls]
        return {number: numbers.count(number) for number in sorted(set(numbers))}

    @property
    def input_tokens(self) -> Span:
        """The tokens that are sent, at least and at most."""
        return self._sum([(call.sent, call.sure) for call in self.calls])

    @property
    def output_tokens(self) -> Span:
        """The tokens of the answers, at least and at most."""
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
        """Return the shortest possible time in seconds: the slowest call of each stage, one stage after the other.

        A run that ends early takes less.

        Args:
            seconds: how long a call of each model takes.
        """
        return sum(max(seconds[call.model] for call in stage) for stage in self.stages)

    @property
    def number_of_calls(self) -> str:
        """The number of calls in words: "7", "at most 7", or "2 or 7" where it depends on the server."""
        return f"{'at most ' if self.adaptive else ''}{_number(self.calls)} calls"

    def __str__(self) -> str:
        layers = [[c for c in self.calls if c.layer == number] for number in self.calls_per_layer]
        per_layer = ", ".join(map(_number, layers))
        return "\n".join(
            [
                f"{self.number_of_calls} ({per_layer} by layer)",
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


def _number(calls: Sequence[PlannedCall]) -> str:
    """How many calls these are: "7", or "2 or 7" if it depends on the server."""
    spare = [call for call in calls if call.spare]
    several = len({(call.layer, call.agent) for call in spare}) > 1
    least = f"{len(calls) - len(spare)} {'to' if several else 'or'} " if spare else ""
    return f"{least}{len(calls)}"


def _slowest(stage: tuple[PlannedCall, ...]) -> str:
    first = stage[0]
    alone = len({call.model for call in stage}) == 1
    return first.model if alone else f"slowest {first.role} of layer {first.layer}"


def estimate(
    recipe: "Recipe", messages: Sequence[ChatMessage], together: GivesSamples = gives_samples
) -> Estimate:
    """What a run of a recipe will take; see ``Recipe.estimate``.

    Args:
        recipe: the recipe.
        messages: the conversation.
        together: tells of an LLM whether one request can give several answers.
    """
    return _Planner(recipe, messages, together).plan()


class _Planner:
    def __init__(
        self, recipe: "Recipe", messages: Sequence[ChatMessage], together: GivesSamples
    ) -> None:
        self.recipe, self.messages, self.together = recipe, messages, together
        self.question = _tokens(messages)
        prompt, (fenced,) = (
            fence(recipe.prompt, [""], "") if recipe.fence else (recipe.prompt, [""])
        )
        tags = 2 * _TOKENS_OF_A_DRAW if recipe.fence else 0
        self.prompt = _tokens_of(prompt) + tags
        self.rule = self.prompt - _tokens_of(recipe.prompt)
        fences = _tokens_of(fenced)
        self.number = Span(_TOKENS_OF_A_NUMBER + fences, _TOKENS_OF_A_NUMBER + fences + tags)
        self.stages: list[tuple[PlannedCall, ...]] = []
        self.sure = True

    def plan(self) -> Estimate:
        recipe, references = self.recipe, Span()
        last = self.messages[-1].role if self.messages else MessageRole.USER
        of_user = recipe.fan_out == "user_turns" and last == MessageRole.USER
        if recipe.fan_out == "every_call" or of_user:
            for number, layer in enumerate(recipe.layers, 1):
                references = self.layer(number, layer, references)
        if recipe.aggregator is not None:
            number = len(recipe.layers) + 1
            self.stage(self.call(number, recipe.aggregator, "aggregator", references))
        return Estimate(tuple(self.stages), not self.sure, recipe.prices)

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
        call, samples = self.call(number, proposer, "proposer", references), proposer.samples
        together = self.together(proposer.llm) if samples > 1 else False
        if together is False:
            return [call] * samples
        first = replace(call, received=call.received * samples)
        # The answers are the same ones: the first call already counts their tokens.
        spare = replace(call, received=Span(), sure=False, spare=True)
        return [first, *([] if together else [spare] * (samples - 1))]

    def call(self, number: int, agent: Agent, role: Role, read: Span) -> PlannedCall:
        """A call that reads the question and that many tokens besides."""
        provider, model, _ = endpoint_key(agent.llm)
        given = self.question + _tokens_of(agent.system_prompt or "")
        prompt = self.prompt if role != "judge" else _JUDGES_INSTRUCTIONS + self.rule
        fixed = Span(given, given + (prompt if read.most != 0 else 0))
        received = Span(1, self.limit(agent))
        return PlannedCall(
            number, agent.name, role, provider, model, fixed + read, received, self.sure
        )

    def stage(self, *calls: PlannedCall) -> None:
        self.stages.append(calls)

    def references(self, longest: Span, count: int) -> Span:
        return (longest + self.number) * count

    def longest(self, agents: Sequence[Agent]) -> Span:
        limits = [self.limit(agent) for agent in agents]
        known = [limit for limit in limits if limit is not None]
        return Span(1, max(known, default=0) if len(known) == len(limits) else None)

    def limit(self, agent: Agent) -> int | None:
        wanted = self.recipe.max_tokens if agent.max_tokens is None else agent.max_tokens
        return output_limit(agent.llm, wanted)


def _tokens_of(text: str) -> int:
    return _tokens([ChatMessage(content=text)]) if text else 0


def _tokens(messages: Sequence[ChatMessage]) -> int:
    return estimate_usage(messages, "").input_tokens
