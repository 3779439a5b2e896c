"""The arms of an evaluation: a mixture, its members alone, and one member asked several times for the same money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.facts import endpoint_key
from llama_index.packs.mixture_of_agents._providers.usage import estimate_usage
from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.policies import Limits
from llama_index.packs.mixture_of_agents.pricing import Cost, Prices, cost_of
from llama_index.packs.mixture_of_agents.recipe import Agent, Aggregator, Layer, Proposer, Recipe
from llama_index.packs.mixture_of_agents.selection import Vote

ArmKind = Literal["member", "aggregator", "self_consistency", "self_moa", "mixture", "other"]
Equal = Literal["cost", "calls"]
AnyAgent = TypeVar("AnyAgent", bound=Agent)
MOST_SAMPLES = 64
"""Samples that a member is asked for at most, however expensive the mixture is."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to answer the questions.

    Attributes:
        name: The name in the report; unique.
        recipe: What answers. A single model is a recipe with one proposer and no aggregator.
        kind: The arm's part in the comparison.
        of: The member that is asked several times; "" for other kinds.
        samples: How many times it is asked.
    """

    name: str
    recipe: Recipe
    kind: ArmKind = "other"
    of: str = ""
    samples: int = 1

    @property
    def is_single(self) -> bool:
        """Whether one model answers with one call."""
        return self.recipe.aggregator is None and _proposals(self.recipe) == 1


ArmSource: TypeAlias = Recipe | LLM | Mapping[str, Recipe | LLM] | Sequence[Arm]
"""A mixture, whose arms follow from it; or arms by name; or arms."""


@dataclass(frozen=True, slots=True)
class Means:
    """What an arm took for a question, on average.

    Attributes:
        usd: US dollars; None where a price is not known.
        input_tokens: Tokens sent.
        output_tokens: Tokens received.
        calls: Calls.
    """

    usd: float | None
    input_tokens: float
    output_tokens: float
    calls: float


def arms_of(source: ArmSource) -> tuple[Arm, ...]:
    """Return the arms that need no other arm's answers first.

    Args:
        source: A mixture gives its members alone, its aggregator alone, and itself. A mapping gives an arm for each
            name.

    Raises:
        EvaluationError: There are no arms, or two have the same name.
    """
    if isinstance(source, (Recipe, LLM)):
        arms = _arms_of_mixture(recipe_of(source))
    elif isinstance(source, Mapping):
        arms = [named_arm(name, given) for name, given in source.items()]
    else:
        arms = list(source)
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluationError(f"two arms are called {twice[0]!r}: give each its own name")
    if not arms:
        raise EvaluationError("there are no arms: give a mixture, or LLMs by name")
    return tuple(arms)


def named_arm(name: str, given: Recipe | LLM) -> Arm:
    """An arm of the user's: one model counts as a member, a mixture does not."""
    arm = Arm(name, recipe_of(given))
    return replace(arm, kind="member") if arm.is_single else arm


def recipe_of(given: Recipe | LLM) -> Recipe:
    """A recipe that answers as the given LLM does; one that is not a mixture is asked with its own settings."""
    if isinstance(given, Recipe):
        return given
    if isinstance(given, MixtureOfAgents):
        return given.recipe
    return Recipe(Layer(given), None, temperature=None, max_tokens=None)


def _arms_of_mixture(recipe: Recipe) -> list[Arm]:
    members: list[Proposer] = []
    for proposer in recipe.layers[0].proposers:
        if not any(_same(proposer, known) for known in members):
            members.append(replace(proposer, samples=1))
    arms = [Arm(member.name, _alone(recipe, member), "member") for member in members]
    writer = recipe.aggregator
    taken = {arm.name for arm in arms} | {"mixture"}
    if writer is not None and not any(_same(writer, known) for known in members):
        name = writer.name if writer.name not in taken else f"{writer.name} (aggregator)"
        arms.append(Arm(name, _alone(recipe, _as(Proposer, writer)), "aggregator"))
    return [*arms, Arm("mixture", _sample_by_sample(recipe), "mixture")]


def _same(one: Agent, other: Agent) -> bool:
    """Whether two agents are asked the same."""
    settings = [
        (a.system_prompt, a.temperature, a.max_tokens, dict(a.kwargs), endpoint_key(a.llm), a.llm)
        for a in (one, other)
    ]
    return settings[0] == settings[1]


def _as(kind: type[AnyAgent], agent: Agent) -> AnyAgent:
    """The agent with the same settings in another part."""
    return kind(
        agent.llm, agent.name, agent.system_prompt, agent.temperature, agent.max_tokens,
        agent.kwargs, agent.call,
    )  # fmt: skip


def _alone(recipe: Recipe, proposer: Proposer) -> Recipe:
    """A member with the same settings as in the mixture, so that its calls are the same calls."""
    return replace(
        recipe, layers=(Layer(proposer),), aggregator=None, fallbacks=(), or_best_proposal=False,
        fan_out="every_call", budget=None, name=proposer.name, limits=Limits(),
    ).limited_by(recipe.limits)  # fmt: skip


def _sample_by_sample(recipe: Recipe) -> Recipe:
    """The recipe with a call for each sample of its first layer: then other arms can share these calls."""
    first = recipe.layers[0]
    copies = [copy for proposer in first.proposers for copy in _copies(proposer, proposer.samples)]
    return replace(recipe, layers=(replace(first, proposers=tuple(copies)), *recipe.layers[1:]))


def _copies(proposer: Proposer, samples: int) -> list[Proposer]:
    if samples == 1:
        return [proposer]
    numbers = range(1, samples + 1)
    return [replace(proposer, samples=1, name=f"{proposer.name}#{number}") for number in numbers]


def _proposals(recipe: Recipe) -> int:
    return sum(layer.samples for layer in recipe.layers)


def self_consistency(member: Arm, samples: int) -> Arm:
    """The answer that most samples of a member come to (arXiv 2203.11171)."""
    layer = Layer(_copies(member.recipe.layers[0].proposers[0], samples), select=Vote())
    recipe = replace(member.recipe, layers=(layer,), name="self_consistency")
    name = f"{member.name}, vote of {samples}"
    return Arm(name, recipe, "self_consistency", member.name, samples)


def self_moa(member: Arm, mixture: Recipe, samples: int) -> Arm:
    """A member that aggregates its own samples (arXiv 2502.00674), with the mixture's prompt."""
    proposer = member.recipe.layers[0].proposers[0]
    layers = (Layer(_copies(proposer, samples)),)
    writer = _as(Aggregator, proposer)
    recipe = replace(
        mixture, layers=layers, aggregator=writer, fallbacks=(), name="self_moa", limits=Limits()
    ).limited_by(mixture.limits)
    name = f"{member.name}, Self-MoA of {samples}"
    return Arm(name, recipe, "self_moa", member.name, samples)


def equal_samples(
    equal: Equal, mixture: Arm, spent: Means, member: Arm, one: Means
) -> tuple[int, int]:
    """How often a member can be asked for what the mixture takes, for a vote and for Self-MoA.

    Args:
        equal: What is held equal.
        mixture: The mixture.
        spent: What the mixture took for a question.
        member: The member.
        one: What the member took for a question.

    Raises:
        EvaluationError: The costs must be equal, but a price is not known.
    """
    if equal == "calls":
        return min(round(spent.calls), MOST_SAMPLES), min(round(spent.calls) - 1, MOST_SAMPLES)
    if spent.usd is None or not one.usd:
        raise EvaluationError(f"{unpriced_words(mixture, member)}, or compare at equal calls")
    prompt = estimate_usage([ChatMessage(content=mixture.recipe.prompt)], "").input_tokens

    def aggregation(samples: int) -> float:
        read = one.input_tokens + prompt + samples * one.output_tokens
        return price_of_one(member, read, one.output_tokens)

    counts = range(1, MOST_SAMPLES + 1)
    votes = sum(count * one.usd <= spent.usd * _ROUNDING for count in counts)
    merged = sum(count * one.usd + aggregation(count) <= spent.usd * _ROUNDING for count in counts)
    return votes, merged


_ROUNDING = 1.0001
"""Costs are sums of rounded numbers: what is equal must not fail by the last digit."""


def price_of_one(arm: Arm, input_tokens: float, output_tokens: float) -> float:
    """US dollars of a call of a single model, 0 where its price is not known."""
    provider, model, _ = endpoint_key(arm.recipe.layers[0].proposers[0].llm)
    usage = Usage(round(input_tokens), round(output_tokens))
    return float(cost_of(provider, model, usage, arm.recipe.prices).at_least)


def unpriced_words(*arms: Arm) -> str:
    """Which prices are missing, and how to give them."""
    names = sorted({name for arm in arms for name in arm.recipe.estimate("?").least_cost.unpriced})
    which = ", ".join(names) or "some models"
    return (
        f"the price of {which} is not known: give prices in US dollars per million tokens in and out"
        f" ([prices] in the recipe file, or prices={{{names[0] if names else 'model'!r}: (0.4, 1.6)}})"
    )


def with_prices(arms: Sequence[Arm], prices: Prices | None) -> tuple[Arm, ...]:
    """The arms with further prices; a recipe's own go first."""
    if not prices:
        return tuple(arms)
    return tuple(
        replace(arm, recipe=replace(arm.recipe, prices={**prices, **arm.recipe.prices}))
        for arm in arms
    )


def with_limits(arms: Sequence[Arm], known: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms with the limits of all arms: an endpoint counts the same, whichever arm asks it.

    Args:
        arms: The arms. What their own limits say goes first.
        known: All arms whose limits count.
    """
    limits = [arm.recipe.limits for arm in known]
    return tuple(replace(arm, recipe=_limited(arm.recipe, limits)) for arm in arms)


def _limited(recipe: Recipe, limits: Sequence[Limits]) -> Recipe:
    if recipe.limits.endpoints:
        return recipe.limited_by(recipe.limits, *limits)
    shared = next((one for one in limits if one.endpoints), recipe.limits)
    own = replace(recipe.limits, store=shared.store)
    return recipe.limited_by(own, *limits)


def foreseen(
    arms: Sequence[Arm], question: Sequence[ChatMessage]
) -> dict[str, tuple[Cost, Cost | None]]:
    """What each arm will cost for a question, the least and the most, when calls that arms share are made once."""
    known = {_content(arm.recipe.layers[0].proposers[0]) for arm in arms if arm.is_single}
    costs: dict[str, tuple[Cost, Cost | None]] = {}
    for arm in arms:
        estimate = arm.recipe.estimate(question)
        if not arm.is_single:
            first = arm.recipe.layers[0].proposers
            left = [
                c
                for c, p in zip(estimate.stages[0], first, strict=False)
                if _content(p) not in known
            ]
            stages = (tuple(left), *estimate.stages[1:])
            estimate = replace(estimate, stages=tuple(stage for stage in stages if stage))
        costs[arm.name] = (estimate.least_cost, estimate.most_cost)
    return costs


def _content(proposer: Proposer) -> str:
    settings = (proposer.system_prompt, proposer.temperature, proposer.max_tokens)
    return repr((endpoint_key(proposer.llm), settings, sorted(map(str, proposer.kwargs.items()))))
