"""The seam between the runner and whatever decides what becomes of a layer's proposals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents.events import Proposal

from ._agents import Agent


class Briefing(list[ChatMessage]):
    """Messages that hold texts of others, which are cut where an LLM has no room for them.

    Args:
        texts: those texts.
        put: the messages with these texts in them, or with shorter ones; "" where one has no room at all.
        with_role: the briefing for an agent with this system prompt, put before the texts; None: it follows them.
    """

    def __init__(
        self,
        texts: Sequence[str],
        put: Callable[[Sequence[str]], list[ChatMessage]],
        with_role: "Callable[[str], Briefing] | None" = None,
    ) -> None:
        super().__init__(put(texts))
        self.texts, self.put, self.with_role = tuple(texts), put, with_role


class Ask(Protocol):
    """Ask an agent something in the course of a selection; the call is part of the run like any other.

    The texts in a ``Briefing`` are cut where they do not fit the context window of the agent's LLM.

    Returns its proposal; nothing where the call failed (the failure is recorded in the result).
    """

    async def __call__(
        self, agent: Agent, messages: Sequence[ChatMessage]
    ) -> tuple[Proposal, ...]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run stands when a selection is asked.

    Attributes:
        messages: the conversation as the user gave it (tools and images already rendered for proposers).
        layer: the layer's number, from 1.
        agents: the layer's proposers.
        proposals: what the layer (or the selection before) gives, in the order of its proposers.
        previous: the references that the layer before had passed on.
        ask: how to ask an LLM.
        with_references: the conversation with references in it, as the recipe puts them before an aggregator.
        seed: the recipe's seed, for whatever is drawn by chance.
        tag: fences the proposals in a judge's prompt, see ``prompts.fence``; "" for no fence.
        memory: what the selections of this run want to remember from layer to layer; empty when it starts.
    """

    messages: tuple[ChatMessage, ...]
    layer: int
    agents: tuple[Agent, ...]
    proposals: tuple[Proposal, ...]
    previous: tuple[Proposal, ...]
    ask: Ask
    with_references: Callable[[tuple[Proposal, ...]], Briefing]
    seed: int | None = None
    tag: str = ""
    memory: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Selected:
    """What a selection decided.

    Attributes:
        references: what goes on to the next layer or the aggregator, in order; the best first where it ranks. None at
            all has the next layer start anew from the question alone.
        stop: skip the remaining layers.
        final: the first reference is the answer: skip the selections behind, and the aggregator too. (Where the run may
            call tools, the aggregator is asked all the same: only it can.)
        topic: what its finding is called in the result ("" for nothing to tell).
        note: its finding, as plain JSON data.
        addition: text put behind the references in the next prompt (a ranking, an analysis).
        degraded: why it did less than the recipe asked for ("" where it did all of it).
    """

    references: tuple[Proposal, ...]
    stop: bool = False
    final: bool = False
    topic: str = ""
    note: Mapping[str, Any] = field(default_factory=dict[str, Any])
    addition: str = ""
    degraded: str = ""


@dataclass(frozen=True, slots=True)
class Arriving:
    """What a selection has to do with when nothing fails.

    Attributes:
        layer: the layer's number, from 1.
        agents: the layer's proposers.
        count: how many proposals arrive.
        before: how many proposals the largest of the layers before has.
    """

    layer: int
    agents: tuple[Agent, ...]
    count: int
    before: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a selection will do at most, without asking any LLM.

    Attributes:
        references: how many references it passes on.
        rounds: the agents it asks, round by round; the calls of a round are made at the same time.
        adaptive: whether a run may turn out shorter than this.
        afresh: whether it may pass on nothing at all.
        reads: how many proposals each call reads; None for all that arrive.
        adds: whether what is answered goes into the next prompt, behind the references.
        writes: whether what is answered may itself be a reference.
    """

    references: int
    rounds: tuple[tuple[Agent, ...], ...] = ()
    adaptive: bool = False
    afresh: bool = False
    reads: int | None = None
    adds: bool = False
    writes: bool = False


class Selection(Protocol):
    """What a layer passes on: chooses, orders, merges or judges its proposals. A frozen dataclass, usually.

    One that asks LLMs holds them in fields, as ``Agent``. It may also have a method ``outlook(arriving: Arriving) ->
    Outlook``, for estimates; without it, an estimate takes it to ask each of its agents once and to pass on all.
    """

    async def __call__(self, step: Step) -> Selected: ...


def agents_of(selection: Selection) -> tuple[Agent, ...]:
    """The agents that a selection holds in its fields."""
    if not is_dataclass(selection):
        return ()
    values = (getattr(selection, one.name) for one in fields(selection))
    return tuple(value for value in values if isinstance(value, Agent))


def outlook_of(selection: Selection, arriving: Arriving) -> Outlook:
    """What a selection will do at most; see ``Selection``."""
    own = getattr(selection, "outlook", None)
    if own is not None:
        return own(arriving)
    return Outlook(arriving.count, tuple((agent,) for agent in agents_of(selection)))


SELECTIONS: dict[str, type[Any]] = {}
"""The selections by name, filled in by ``selection``. Put your own dataclass in, and configuration files know it too."""


def name_of(selection: Selection) -> str:
    """The name of a selection in configuration files; that of its class where it has none."""
    kind = type(selection)
    named = (name for name, one in SELECTIONS.items() if one is kind)
    return next(named, getattr(selection, "__name__", kind.__name__))
