"""What a mixture is: layers, an aggregator, and the policies they run under. Immutable; refuses nonsense when made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.llm import LLM
from typing_extensions import Unpack

from llama_index.packs.mixture_of_agents._checks import (
    MOST_LAYERS,
    bound,
    is_a,
    is_number,
    not_negative,
    of_kind,
    one_of,
    positive,
    require,
    shown,
    whole,
)
from llama_index.packs.mixture_of_agents._messages.prompts import (
    AGGREGATE_AND_SYNTHESIZE,
    Placement,
)
from llama_index.packs.mixture_of_agents._providers.facts import (
    calls_functions,
    context_window,
    endpoint_key,
    gives_samples,
    output_room,
)
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.policies import Budget, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.pricing import price_of

from ._agents import Agent, Aggregator, Proposer, check_models, many
from ._plan import plan
from ._settings import Policies, RecipeSettings, spelled
from ._step import Arriving, Outlook, Selection, agents_of, outlook_of

if TYPE_CHECKING:
    from ._estimate import Estimate, GivesSamples


@dataclass(frozen=True, slots=True)
class Layer:
    """Proposers that run at the same time on the same input.

    Attributes:
        proposers: proposers, or plain LLMs.
        quorum: how many proposals the layer needs to continue. 0: it may come out empty, and what is behind it starts
            from the question alone.
        grace: seconds to wait for stragglers once the quorum is there (None: wait for all).
        deadline: seconds after which the layer closes with what it has (None: the run's deadline decides).
        select: what becomes of its proposals, one selection after the other.
    """

    proposers: tuple[Proposer, ...]
    quorum: int = 1
    grace: float | None = None
    deadline: float | None = None
    select: tuple[Selection, ...] = ()

    if TYPE_CHECKING:  # what the constructor takes; the fields hold what it makes of that

        def __init__(
            self,
            proposers: "Proposers | OneProposer",
            quorum: int = 1,
            grace: float | None = None,
            deadline: float | None = None,
            select: Selection | Sequence[Selection] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        given = many(self.proposers)
        check_models(given)
        proposers = _named([p if isinstance(p, Proposer) else Proposer(p) for p in given])
        object.__setattr__(self, "proposers", proposers)
        object.__setattr__(self, "select", tuple(many(self.select)))
        for selection in self.select:
            ready = callable(selection) and not is_a(type, selection)
            require(ready, "Layer.select", shown(selection), "is not a selection: say Take(2), ...")
        count = self.samples
        require(count > 0, "Layer.proposers", [], "a layer needs at least one proposer")
        enough = is_number(self.quorum) and is_a(int, self.quorum) and 0 <= self.quorum <= count
        problem = f"must be a whole number from 0 to {count}, its proposals"
        require(enough, "Layer.quorum", self.quorum, problem)
        not_negative("Layer", grace=self.grace)
        positive("Layer", deadline=self.deadline)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Its proposers, then the agents that its selections ask."""
        judges = tuple(agent for selection in self.select for agent in agents_of(selection))
        return (*self.proposers, *judges)

    @property
    def samples(self) -> int:
        """How many proposals it gives when nothing fails."""
        return sum(proposer.samples for proposer in self.proposers)

    def outlook(self, number: int, before: int = 0) -> tuple[Outlook, ...]:
        """Return what its selections will do at most; see ``Selection``.

        Args:
            number: the layer's number, from 1.
            before: the number of proposals of the largest layer before.
        """
        outlooks: list[Outlook] = []
        for selection in self.select:
            count = outlooks[-1].references if outlooks else self.samples
            outlooks.append(outlook_of(selection, Arriving(number, self.proposers, count, before)))
        return tuple(outlooks)


def _named(proposers: Sequence[Proposer]) -> tuple[Proposer, ...]:
    """Every proposer with a name of its own: those without one get their model's, numbered where it repeats."""
    given = [p.name for p in proposers if p.name]
    for name in given:
        require(
            given.count(name) == 1,
            "Proposer.name",
            name,
            "two proposers of one layer have this name",
        )
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
class Recipe:
    """Everything that defines a mixture.

    Attributes:
        layers: the proposer layers, first to last (the paper's l is one more: it counts the aggregator).
        aggregator: an aggregator or a plain LLM; None where the last layer's first reference is the answer.
        fallbacks: asked in order when the aggregator fails.
        or_best_proposal: when every aggregator fails, answer with the first reference, marked as degraded.
        name: what the mixture is called.
        temperature: for every agent without one of its own. None leaves it to the LLM: LlamaIndex's OpenAI and MistralAI
            classes send 0.1 then, unless they were made with another. Judges given as plain LLMs are asked at 0.
        max_tokens: for every agent without one of its own. None leaves it to the LLM.
        prompt: the aggregate-and-synthesize prompt; the references follow it.
        placement: where the references go, see ``prompts.inject``.
        fence: put each reference between lines with a tag that is new in each prompt, so that a proposal cannot
            forge another's.
        shuffle: give the references in an order drawn by ``seed``, so that no proposer's place is fixed.
        fan_out: ask the proposers on every call, or only when the last message is the user's (an agent's loop),
            or never: the aggregator answers alone.
        call: how calls are made.
        deadline: seconds for the whole run (None: no bound).
        reserve: the part of the deadline, from 0 to 1, that is kept for the aggregator.
        budget: what one run may use.
        limits: how much may be under way at once.
        prices: the user's own prices, model -> (input, output) in US dollars per million tokens.
        seed: makes whatever is drawn by chance repeatable.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents import moa

        recipe = moa([OpenAI("gpt-4.1-mini"), OpenAI("gpt-4o-mini")], OpenAI("gpt-4.1"), layers=1, quorum=1)
        print(recipe)
        print(recipe.estimate("What is a generator?"))
        ```
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
    fan_out: Literal["every_call", "user_turns", "never"] = "every_call"
    call: CallPolicy = CallPolicy()
    deadline: float | None = 200.0
    reserve: float = 0.25
    budget: Budget | None = None
    limits: Limits = Limits()
    prices: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    seed: int | None = None

    if TYPE_CHECKING:  # what the constructor takes; the fields hold what it makes of that

        def __init__(
            self,
            layers: "Layer | Sequence[Layer | Proposers]",
            aggregator: "OneAggregator | None",
            **settings: Unpack[RecipeSettings],
        ) -> None: ...

    def __post_init__(self) -> None:
        layers, fallbacks = many(self.layers), many(self.fallbacks)
        check_models((*layers, self.aggregator, *fallbacks))
        layers = tuple(x if isinstance(x, Layer) else Layer(x) for x in layers)
        object.__setattr__(self, "layers", layers)
        if self.aggregator is not None:
            object.__setattr__(self, "aggregator", _aggregator(self.aggregator))
        object.__setattr__(self, "fallbacks", tuple(map(_aggregator, fallbacks)))
        require(bool(self.layers), "Recipe.layers", (), "a recipe needs at least one layer")
        whole("Recipe", 1, MOST_LAYERS, layers=len(self.layers))
        positive("Recipe", deadline=self.deadline)
        bound("Recipe", max_tokens=self.max_tokens)
        not_negative("Recipe", temperature=self.temperature)
        reserves = is_number(self.reserve) and 0 <= self.reserve < 1
        require(reserves, "Recipe.reserve", self.reserve, "must be from 0 to below 1")
        one_of("Recipe.placement", self.placement, "system", "user")
        one_of("Recipe.fan_out", self.fan_out, "every_call", "user_turns", "never")
        self._check_kinds()
        if self.aggregator is None:
            self._answers_without_aggregator()
        if self.budget and self.budget.usd is not None:
            self._knows_all_prices()
        if self.limits.endpoints:
            self._knows_all_endpoints()

    def _check_kinds(self) -> None:
        of_kind("Recipe.prompt", self.prompt, str, '"..."')
        of_kind("Recipe.call", self.call, CallPolicy, "CallPolicy(timeout=30.0)")
        of_kind("Recipe.limits", self.limits, Limits, "Limits(in_flight=8)")
        if self.budget is not None:
            of_kind("Recipe.budget", self.budget, Budget, "Budget(usd=0.05)")
        of_kind("Recipe.prices", self.prices, Mapping, '{"gpt-4.1": (2.0, 8.0)}')
        for model, price in self.prices.items():
            pair = [one for one in many(price) if is_number(one) and one >= 0]
            right = "must be (input, output), US dollars per million tokens"
            require(len(pair) == 2 == len(price), "Recipe.prices", {model: price}, right)

    def _knows_all_prices(self) -> None:
        for agent in self.agents:
            provider, model, _ = endpoint_key(agent.llm)
            price = price_of(provider, model, Usage(1, 1), self.prices)
            unknown = f"the price of {model!r} is not known: put it into prices, or give tokens"
            require(price is not None, "Recipe.budget", self.budget, unknown)

    def _knows_all_endpoints(self) -> None:
        keys = {endpoint_key(agent.llm)[:2] for agent in self.agents}
        known = {self.limits.name_of(*key) for key in keys}
        for name in self.limits.endpoints:
            models = ", ".join(sorted(f"{provider}:{model}" for provider, model in keys))
            problem = f"is the endpoint of none of its models ({models}), or a narrower name applies to them"
            require(name in known, "Recipe.limits.endpoints", name, problem)

    def limited_by(self, limits: Limits, *others: Limits) -> "Recipe":
        """The recipe with these limits, without the endpoints of models that it does not have.

        Args:
            limits: the limits.
            others: further limits, for models that the first ones say nothing of; see ``Limits.covering``.
        """
        models = {endpoint_key(agent.llm)[:2] for agent in self.agents}
        return replace(self, limits=limits.covering(models, *others))

    def estimate(
        self, messages: str | Sequence[ChatMessage] = "", together: "GivesSamples" = gives_samples
    ) -> "Estimate":
        """Return what a run will take, without asking any LLM: calls, tokens, money, the shortest time.

        Whether a server gives several answers to one request is known of OpenAI's own. Of others the estimate says both
        numbers of calls, such as "2 or 7"; ``MixtureOfAgents.estimate`` knows it after the first run.

        Args:
            messages: the conversation, or the question alone.
            together: tells of an LLM whether one request can give several answers; None where that is not known.
        """
        from ._estimate import estimate  # many runs are never estimated

        given = [ChatMessage(content=messages)] if isinstance(messages, str) else messages
        return estimate(self, given, together)

    def __str__(self) -> str:
        return plan(self)

    def __repr__(self) -> str:
        layers = [[p.name for p in layer.proposers] for layer in self.layers]
        aggregator = self.aggregator.name if self.aggregator else None
        return f"Recipe({self.name!r}, layers={layers}, aggregator={aggregator!r})"

    def _answers_without_aggregator(self) -> None:
        names = [agent.name for agent in self.fallbacks]
        require(not names, "Recipe.fallbacks", names, "there is no aggregator to fall back from")
        alone = "without an aggregator, the proposers must be asked on every call"
        require(self.fan_out == "every_call", "Recipe.fan_out", self.fan_out, alone)
        nothing = "may pass nothing on, and there is no aggregator to answer"
        last = self.layers[-1]
        require(last.quorum > 0, "Layer.quorum", last.quorum, f"the last layer {nothing}")
        for selection, outlook in zip(last.select, last.outlook(len(self.layers)), strict=True):
            passes = outlook.references > 0 and not outlook.afresh
            require(passes, "Layer.select", type(selection).__name__, nothing)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Every agent, layer by layer (proposers, then judges), then aggregator and fallbacks."""
        of_layers = tuple(agent for layer in self.layers for agent in layer.agents)
        return (*of_layers, *((self.aggregator,) if self.aggregator else ()), *self.fallbacks)


def _aggregator(agent: Aggregator | LLM) -> Aggregator:
    several = isinstance(agent, (list, tuple))
    swapped = (
        "is not an LLM: give the one that writes the answer (are proposers and aggregator swapped?)"
    )
    require(not several, "Recipe.aggregator", shown(agent), swapped)
    known = agent if isinstance(agent, Aggregator) else Aggregator(agent)
    return known if known.name else replace(known, name=known.model)


def recipe_metadata(
    recipe: Recipe, window_of: Callable[[LLM], int | None] = context_window
) -> LLMMetadata:
    """Return what a mixture says of itself as an LLM.

    The context window is the smallest of its agents (those whose window nobody knows do not count), less the room that
    the references and their prompt can take, which is at most half of it. The abilities are the aggregator's.

    Args:
        recipe: the mixture's recipe.
        window_of: the context window of an LLM, for a caller that knows it already.
    """
    members = {id(agent.llm): agent.llm for agent in recipe.agents}
    windows = map(window_of, members.values())
    window = min((w for w in windows if w), default=DEFAULT_CONTEXT_WINDOW)
    references = max(
        sum(p.samples * _answer_room(p, recipe) for p in x.proposers) for x in recipe.layers
    )
    writer = recipe.aggregator or recipe.layers[-1].proposers[0]
    return LLMMetadata(
        context_window=window - min(references + len(recipe.prompt) // 3, window // 2),
        num_output=_answer_room(writer, recipe),
        is_chat_model=True,
        is_function_calling_model=recipe.aggregator is not None and calls_functions(writer.llm),
        model_name=recipe.name,
    )


def _answer_room(agent: Agent, recipe: Recipe) -> int:
    """Tokens that an answer of an agent can have."""
    return agent.max_tokens or recipe.max_tokens or output_room(agent.llm) or DEFAULT_NUM_OUTPUTS


OneProposer: TypeAlias = Proposer | LLM
Proposers: TypeAlias = Sequence[Proposer | LLM]
OneAggregator: TypeAlias = Aggregator | LLM
DEFAULT_LAYERS = 2
"""The number of proposer layers unless a recipe says otherwise: the paper's "3 layers"."""


@spelled()
def moa(
    proposers: Proposers | OneProposer,
    aggregator: OneAggregator | None,
    *,
    layers: int = DEFAULT_LAYERS,
    select: Selection | Sequence[Selection] = (),
    **policies: Unpack[Policies],
) -> Recipe:
    """The paper's mixture (arXiv 2406.04692, section 2.2): every layer has the same proposers.

    A proposal that was cut off at its token limit is passed on and marked as such. The authors' code passes it on
    unmarked. ``CallPolicy(truncated="reject")`` leaves it out.

    Args:
        proposers: the proposers of every layer.
        aggregator: the LLM that writes the answer. None: the last layer's first reference is the answer.
        layers: the number of proposer layers. The paper's "3 layers" are two of these and the aggregator.
        select: the selections that decide what every layer passes on.
        policies: further fields of ``Recipe`` and ``Layer``. The old pack's names of all parameters are accepted too.

    Returns:
        The recipe.

    Raises:
        RecipeError: a part is missing, does not exist, or is not valid.
    """
    whole("", 1, MOST_LAYERS, layers=layers)
    settings: dict[str, Any] = dict(policies)
    of_layer = {name: settings.pop(name) for name in ("quorum", "grace") if name in settings}
    layer = Layer(proposers, select=select, **of_layer)
    return Recipe((layer,) * layers, aggregator, **settings)
