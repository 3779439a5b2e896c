"""The interface between a run and the selections that decide what a layer passes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents.events import Proposal

from ._agents import Agent


class Briefing(list[ChatMessage]):
    """Messages that contain answers of other LLMs. These texts are cut where an LLM's window is too small.

    Args:
        texts: the texts.
        put: makes the messages from the texts, or from shorter ones. A text without any room is "".
        with_role: makes the briefing for an agent with a system prompt, which then stands before the texts. None: the
            system prompt follows them.
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
    """Asks an agent for a selection. The call is part of the run like any other.

    The texts of a ``Briefing`` are cut to the context window of the agent's LLM.

    Returns the agent's proposal, or an empty tuple if the call failed. The failure is recorded in the result.
    """

    async def __call__(
        self, agent: Agent, messages: Sequence[ChatMessage]
    ) -> tuple[Proposal, ...]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """The state of a run when a selection is asked.

    Attributes:
        messages: the user's conversation, with tools and images as text.
        layer: the layer's number, from 1.
        agents: the layer's proposers.
        proposals: the proposals of the layer or of the selection before, in the order of the proposers.
        previous: the references that the layer before passed on.
        ask: asks an LLM.
        with_references: makes the conversation with references in it, as an aggregator reads it.
        seed: the recipe's seed, for random choices.
        tag: the tag that fences the proposals in a judge's prompt, see ``prompts.fence``; "" for no fence.
        memory: what the selections of this run keep from layer to layer; empty at the start of a run.
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
        references: the references for the next layer or the aggregator, in order; the best first if it ranks. With an
            empty tuple the next layer starts from the question alone.
        stop: whether to skip the remaining layers.
        final: whether the first reference is the answer. The selections after this one and the aggregator are then
            skipped. If the run may call tools, the aggregator is asked all the same: only it can call them.
        topic: the name of its note in the result; "" for no note.
        note: what it found, as plain JSON data.
        addition: a text that follows the references in the next prompt (a ranking, an analysis).
        degraded: why it did less than the recipe asked for; "" if it did all.
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
    """What a selection receives when nothing fails.

    Attributes:
        layer: the layer's number, from 1.
        agents: the layer's proposers.
        count: the number of proposals.
        before: the number of proposals of the largest layer before.
    """

    layer: int
    agents: tuple[Agent, ...]
    count: int
    before: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a selection will do at most, without asking any LLM.

    Attributes:
        references: the number of references that it passes on.
        rounds: the agents that it asks, round by round. The calls of a round are made at the same time.
        adaptive: whether a run may be shorter than this.
        afresh: whether it may pass on nothing.
        reads: the number of proposals that each call reads; None for all that arrive.
        adds: whether the answers follow the references in the next prompt.
        writes: whether an answer may be a reference itself.
    """

    references: int
    rounds: tuple[tuple[Agent, ...], ...] = ()
    adaptive: bool = False
    afresh: bool = False
    reads: int | None = None
    adds: bool = False
    writes: bool = False


class Selection(Protocol):
    """Decides what a layer passes on: it chooses, orders, merges or judges the proposals. Usually a frozen dataclass.

    A selection that asks LLMs holds them in fields, as ``Agent``. It may also have a method ``outlook(arriving:
    Arriving) -> Outlook`` for estimates: it gets what arrives if nothing fails, and returns what the selection does
    then at most. Without it, an estimate assumes that it asks each of its agents once and passes on all proposals.
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
