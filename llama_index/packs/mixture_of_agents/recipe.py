"""What a mixture is: layers, an aggregator, and the policies they run under. Immutable; refuses nonsense when made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM

from .errors import RecipeError
from .events import Proposal
from .llms import model_name
from .prompts import AGGREGATE_AND_SYNTHESIZE, Placement


def _require(holds: bool, field_name: str, value: object, problem: str) -> None:
    if not holds:
        raise RecipeError(field_name, value, problem)


def _not_negative(owner: str, **seconds: float | None) -> None:
    for name, value in seconds.items():
        _require(value is None or value >= 0, f"{owner}.{name}", value, "a time cannot be negative")


def _positive(owner: str, **values: float | None) -> None:
    for name, value in values.items():
        _require(value is None or value > 0, f"{owner}.{name}", value, "must be more than 0")


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How one LLM call is made.

    Attributes:
        timeout: seconds one attempt may take (None: as long as the LLM class itself allows).
        deadline: seconds the call may take with all its attempts and waits (None: until the layer's or run's deadline).
        retries: how many further attempts follow a failure that another attempt may cure.
        backoff: seconds before the first retry; doubles each time, with jitter. A provider's Retry-After goes before.
        max_wait: seconds; a longer wait than this, Retry-After included, is not worth it and ends the call.
        hedge_after: seconds after which a proposer that has not answered is asked a second time; the first answer
            wins and the other request is cancelled (None: never).
        truncated: what a proposal cut off at ``max_tokens`` is: "reject" makes it a failure, "keep" a reference.
    """

    timeout: float | None = 120.0
    deadline: float | None = None
    retries: int = 2
    backoff: float = 0.5
    max_wait: float = 30.0
    hedge_after: float | None = None
    truncated: Literal["reject", "keep"] = "reject"

    def __post_init__(self) -> None:
        _positive("CallPolicy", timeout=self.timeout, deadline=self.deadline)
        _not_negative("CallPolicy", backoff=self.backoff, max_wait=self.max_wait, hedge_after=self.hedge_after)
        _require(self.retries >= 0, "CallPolicy.retries", self.retries, "cannot be negative")
        _require(self.truncated in ("reject", "keep"), "CallPolicy.truncated", self.truncated, "is 'reject' or 'keep'")


@dataclass(frozen=True, slots=True)
class Agent:
    """An LLM with its settings. What is None is the recipe's, or, where that is None too, is not sent.

    Attributes:
        llm: any LlamaIndex LLM.
        name: what the agent is called in results and messages; by default its model's name.
        system_prompt: put behind the user's own system prompt; a persona, say.
        temperature: sent with every call.
        max_tokens: sent with every call. (LlamaIndex's OpenAI class prefers one given to its own constructor.)
        kwargs: further parameters for the LLM's ``chat``.
        call: how its calls are made, instead of the recipe's policy.
    """

    llm: LLM = field(repr=False)
    name: str = ""
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    call: CallPolicy | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        _require(isinstance(self.llm, LLM), f"{owner}.llm", type(self.llm).__name__, "is not a LlamaIndex LLM")  # type: ignore[reportUnnecessaryIsInstance]
        _positive(owner, max_tokens=self.max_tokens)
        _not_negative(owner, temperature=self.temperature)

    @property
    def model(self) -> str:
        """The model's name."""
        return model_name(self.llm)


@dataclass(frozen=True, slots=True)
class Proposer(Agent):
    """An agent of a layer.

    Attributes:
        samples: how many answers it gives; one request with ``n=`` where the LLM's API offers that.
    """

    samples: int = 1

    def __post_init__(self) -> None:
        # dataclass(slots=True) makes a new class, so the zero-argument super() would look in the wrong one
        Agent.__post_init__(self)
        _require(self.samples >= 1, "Proposer.samples", self.samples, "must be at least 1")


@dataclass(frozen=True, slots=True)
class Aggregator(Agent):
    """The agent that writes the final answer."""


class Ask(Protocol):
    """Ask an agent something in the course of a selection; the call is part of the run like any other.

    Returns its proposals: one, or as many as it has samples; none where the call failed (the failure is recorded).
    """

    async def __call__(self, agent: Agent, messages: Sequence[ChatMessage]) -> tuple[Proposal, ...]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run stands when a selection is asked.

    Attributes:
        messages: the conversation as the user gave it (tools and images already rendered for proposers).
        layer: the layer's number, from 1.
        proposals: what the layer (or the selection before) gives, in the order of its proposers.
        previous: the references that the layer before had passed on.
        ask: how to ask an LLM.
        seed: the recipe's seed, for whatever is drawn by chance.
    """

    messages: tuple[ChatMessage, ...]
    layer: int
    proposals: tuple[Proposal, ...]
    previous: tuple[Proposal, ...]
    ask: Ask
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection decided.

    Attributes:
        references: what goes on to the next layer or the aggregator, in order; the best first where it ranks.
        stop: skip the remaining layers.
        topic: what its finding is called in the result ("" for nothing to tell).
        note: its finding, as plain JSON data.
        addition: text put behind the references in the next prompt (a ranking, an analysis).
    """

    references: tuple[Proposal, ...]
    stop: bool = False
    topic: str = ""
    note: Mapping[str, Any] = field(default_factory=dict[str, Any])
    addition: str = ""


class Selection(Protocol):
    """What a layer passes on: chooses, orders, merges or judges its proposals. A frozen dataclass, usually."""

    async def __call__(self, step: Step) -> Selected: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """Proposers that run at the same time on the same input.

    Attributes:
        proposers: proposers, or plain LLMs.
        quorum: how many proposals the layer needs to go on.
        grace: seconds to wait for stragglers once the quorum is there (None: wait for all).
        deadline: seconds after which the layer closes with what it has (None: the run's deadline decides).
        select: what becomes of its proposals, one selection after the other.
    """

    proposers: tuple[Proposer, ...]
    quorum: int = 1
    grace: float | None = None
    deadline: float | None = None
    select: tuple[Selection, ...] = ()

    def __post_init__(self) -> None:
        proposers = _named([p if isinstance(p, Proposer) else Proposer(p) for p in _many(self.proposers)])
        object.__setattr__(self, "proposers", proposers)
        object.__setattr__(self, "select", tuple(_many(self.select)))
        count = sum(p.samples for p in proposers)
        _require(count > 0, "Layer.proposers", [], "a layer needs at least one proposer")
        _require(1 <= self.quorum <= count, "Layer.quorum", self.quorum, f"must be from 1 to {count}, its proposals")
        _not_negative("Layer", grace=self.grace)
        _positive("Layer", deadline=self.deadline)


def _many(one_or_more: Any) -> Iterable[Any]:
    return one_or_more if isinstance(one_or_more, (list, tuple)) else (one_or_more,)  # type: ignore[reportUnknownVariableType]


def _named(proposers: Sequence[Proposer]) -> tuple[Proposer, ...]:
    """Every proposer with a name of its own: those without one get their model's, numbered where it repeats."""
    given = [p.name for p in proposers if p.name]
    for name in given:
        _require(given.count(name) == 1, "Proposer.name", name, "two proposers of one layer have this name")
    taken = set(given)
    named: list[Proposer] = []
    for proposer in proposers:
        name, number = proposer.name or proposer.model, 1
        while not proposer.name and name in taken:
            number += 1
            name = f"{proposer.model}-{number}"
        taken.add(name)
        named.append(proposer if proposer.name else replace(proposer, name=name))
    return tuple(named)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one run may use: US dollars, tokens, or both. None is no bound."""

    usd: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        _positive("Budget", usd=self.usd, tokens=self.tokens)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a model endpoint is left alone for a while.

    Attributes:
        failures: how many failures in a row open the circuit (0: never).
        cooldown: seconds until one call may probe it again.
    """

    failures: int = 5
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        _require(self.failures >= 0, "Breaker.failures", self.failures, "cannot be negative")
        _not_negative("Breaker", cooldown=self.cooldown)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way at once, shared by all runs of a mixture. None is no bound.

    Attributes:
        in_flight: calls of the whole mixture.
        per_endpoint: calls to one model endpoint.
        one_model_at_a_time: a layer asks one model after the other, for a machine that holds one in memory.
        breaker: when an endpoint is left alone.
    """

    in_flight: int | None = None
    per_endpoint: int | None = None
    one_model_at_a_time: bool = False
    breaker: Breaker = Breaker()

    def __post_init__(self) -> None:
        _positive("Limits", in_flight=self.in_flight, per_endpoint=self.per_endpoint)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that defines a mixture.

    Attributes:
        layers: the proposer layers, first to last (the paper's l is one more: it counts the aggregator).
        aggregator: an aggregator or a plain LLM; None where the last layer's first reference is the answer.
        fallbacks: asked in order when the aggregator fails.
        or_best_proposal: when every aggregator fails, answer with the first reference, marked as degraded.
        name: what the mixture is called.
        temperature: for every agent that has none of its own; None sends nothing.
        max_tokens: for every agent that has none of its own; None sends nothing.
        prompt: the aggregate-and-synthesize prompt; the references follow it.
        placement: where the references go, see ``prompts.inject``.
        fence: wrap each reference in a random tag of the run, so that a proposal cannot forge another's.
        shuffle: give the references in an order drawn by ``seed``, so that no proposer's place is fixed.
        fan_out: ask the proposers on every call, or only when the last message is the user's (an agent's loop).
        call: how calls are made.
        deadline: seconds for the whole run (None: no bound).
        reserve: the part of the deadline, from 0 to 1, that is kept for the aggregator.
        budget: what one run may use.
        limits: how much may be under way at once.
        prices: the user's own prices, model -> (input, output) in US dollars per million tokens.
        seed: makes whatever is drawn by chance repeatable.
    """

    layers: tuple[Layer, ...]
    aggregator: Aggregator | None
    fallbacks: tuple[Aggregator, ...] = ()
    or_best_proposal: bool = False
    name: str = "moa"
    temperature: float | None = 0.7
    max_tokens: int | None = 2048
    prompt: str = AGGREGATE_AND_SYNTHESIZE
    placement: Placement = "system"
    fence: bool = False
    shuffle: bool = False
    fan_out: Literal["every_call", "user_turns"] = "every_call"
    call: CallPolicy = CallPolicy()
    deadline: float | None = 200.0
    reserve: float = 0.25
    budget: Budget | None = None
    limits: Limits = Limits()
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(x if isinstance(x, Layer) else Layer(x) for x in _many(self.layers)))
        if self.aggregator is not None:
            object.__setattr__(self, "aggregator", _aggregator(self.aggregator))
        object.__setattr__(self, "fallbacks", tuple(_aggregator(x) for x in _many(self.fallbacks)))
        _require(bool(self.layers), "Recipe.layers", (), "a recipe needs at least one layer of proposers")
        _require(self.aggregator is not None or not self.fallbacks, "Recipe.fallbacks", self.fallbacks,
                 "there is no aggregator to fall back from")  # fmt: skip
        _positive("Recipe", deadline=self.deadline, max_tokens=self.max_tokens)
        _not_negative("Recipe", temperature=self.temperature)
        _require(0 <= self.reserve < 1, "Recipe.reserve", self.reserve, "must be from 0 to below 1")
        _require(self.placement in ("system", "user"), "Recipe.placement", self.placement, "is 'system' or 'user'")
        _require(self.fan_out in ("every_call", "user_turns"), "Recipe.fan_out", self.fan_out,
                 "is 'every_call' or 'user_turns'")  # fmt: skip

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Every agent, layer by layer, then the aggregator and its fallbacks."""
        proposers = tuple(p for layer in self.layers for p in layer.proposers)
        return (*proposers, *((self.aggregator,) if self.aggregator else ()), *self.fallbacks)


def _aggregator(agent: Aggregator | LLM) -> Aggregator:
    known = agent if isinstance(agent, Aggregator) else Aggregator(agent)
    return known if known.name else replace(known, name=known.model)


def moa(proposers: Sequence[Proposer | LLM], aggregator: Aggregator | LLM, *, layers: int = 2, **policies: Any) -> Recipe:
    """The paper's mixture (arXiv 2406.04692, section 2.2): every layer has the same proposers.

    Args:
        proposers: proposers, or plain LLMs.
        aggregator: the LLM that writes the answer.
        layers: how many proposer layers. The paper's "3 layers" are two of these and the aggregator.
        policies: further fields of ``Recipe``; fields of ``Layer`` (quorum, grace, ...) go into every layer.

    Raises:
        RecipeError: it makes no sense.
    """
    _require(isinstance(layers, int) and layers >= 1, "layers", layers, "must be a whole number, at least 1")  # type: ignore[reportUnnecessaryIsInstance]
    of_layer = {name: policies.pop(name) for name in ("quorum", "grace", "select") if name in policies}
    layer = Layer(tuple(proposers), **of_layer)
    return Recipe((layer,) * layers, aggregator, **policies)  # type: ignore[arg-type]
