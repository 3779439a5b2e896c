"""Runs the proposer layers: the messages for each proposer, the closing of a layer, and its selections."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._concurrency.tasks import expired, expires_after, stop
from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.responses import is_cut_off
from llama_index.packs.mixture_of_agents._providers.structured import audience
from llama_index.packs.mixture_of_agents.errors import DeadlineExceeded, FailureKind, QuorumNotMet
from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    Degraded,
    LayerFinished,
    LayerStarted,
    NoteTaken,
    Proposal,
)
from llama_index.packs.mixture_of_agents.recipe import (
    Agent,
    Ask,
    Briefing,
    Layer,
    Proposer,
    Recipe,
    Selected,
    Selection,
    Step,
    kinds_taken,
)

from .references import References, Rendering, chance_of, cut_words, draw_tag, reference_text
from .request import CANCELLED, Request, RunState, earliest

Proposals: TypeAlias = tuple[Proposal, ...]
Proposing: TypeAlias = Coroutine[Any, Any, Proposals]
Views: TypeAlias = list[tuple[Proposer, list[ChatMessage]]]
"""Each proposer of a layer, and the messages that it receives."""
Reason: TypeAlias = Literal["all", "quorum", "deadline"]

_SHARED_KWARGS = ("temperature", "top_p")
"""A caller's sampling parameters apply to the proposers too. All other parameters apply to the aggregator only.

The caller's ``max_tokens`` limits the answer. It applies to proposers only if the recipe has no aggregator: then a
proposal is the answer.
"""
_WHY = {
    "all": CANCELLED,
    "quorum": Fault(FailureKind.STRAGGLER, "its layer had enough proposals and went on without it"),
    "deadline": Fault(FailureKind.TIMEOUT, "it had not answered when its layer's time was up"),
}


class Layers:
    """Runs the layers of one run.

    Args:
        state: the run's state.

    Attributes:
        end: the time by which all layers must end, on the run's clock; None without a deadline.
        final: whether the last selection declared the first reference to be the answer.
    """

    def __init__(self, state: RunState) -> None:
        self._state, self._job, self._recipe = state, state.job, state.job.recipe
        kwargs, deadline = self._job.kwargs, self._recipe.deadline
        self.end = None if deadline is None else deadline * (1 - self._recipe.reserve)
        self.final = False
        shared = _SHARED_KWARGS if self._recipe.aggregator else (*_SHARED_KWARGS, "max_tokens")
        self._shared = {name: kwargs[name] for name in shared if name in kwargs}
        self._audience = audience(self._job.messages, kwargs)
        self._addition = ""
        self._memory: dict[str, Any] = {}

    @property
    def late(self) -> bool:
        """Whether the time for layers is up."""
        return self.end is not None and self._state.now() >= self.end

    def references(self, number: int, proposals: Proposals) -> References:
        """Make the references that a layer or the aggregator reads.

        Args:
            number: the number of the layer that reads them; the aggregator's is one more than the last layer's.
            proposals: the proposals that the layer before passed on.
        """
        texts = [reference_text(proposal) for proposal in proposals]
        references = References(texts, self._recipe, self._addition, number)
        if texts and self._recipe.shuffle:
            agents = [proposals[position].agent for position in references.order]
            self._state.emit(NoteTaken(number, "order", {"agents": agents}, self._state.now()))
        return references

    async def views(self, number: int, layer: Layer, previous: Proposals) -> Views:
        """Make the messages for each proposer. Proposers that take the same kinds of content share one rendering."""
        references = self.references(number, previous)
        renderings: dict[frozenset[str], Rendering] = {}
        views: Views = []
        for proposer in layer.proposers:
            kinds = self._audience.kinds(partial(kinds_taken, proposer))
            if kinds not in renderings:
                briefing = references.put(self._audience.view(kinds))
                renderings[kinds] = Rendering(briefing, self._recipe)
            transport = self._job.caller.transport(proposer)
            messages = await renderings[kinds].for_agent(proposer, transport, self._shared)
            views.append((proposer, messages))
        cut = [agent for rendering in renderings.values() for agent in rendering.cut]
        if cut:
            self._state.degrade(cut_words(cut))
        return views

    async def ask(
        self, number: int, layer: Layer, views: Views, previous: Proposals
    ) -> tuple[Proposals, bool]:
        """Run one layer.

        Args:
            number: the layer's number, from 1.
            layer: the layer.
            views: the messages for each proposer.
            previous: the proposals that the layer before passed on.

        Returns:
            The references that the layer passes on, and whether the layers end here.

        Raises:
            QuorumNotMet: the layer got too few proposals.
            DeadlineExceeded: the layer got too few proposals, and the time for layers is up.
        """
        state, names = self._state, tuple(proposer.name for proposer in layer.proposers)
        state.emit(LayerStarted(number, names, state.now()))
        end = earliest(self.end, layer.deadline and state.now() + layer.deadline)
        calls = [call for view in views for call in self._calls(number, *view, end)]
        proposals, reason = await gathered(calls, layer, end, state)
        self._check_quorum(number, layer, len(proposals))
        cut = [proposal.agent for proposal in proposals if is_cut_off([proposal])]
        if cut:
            state.degrade(f"cut off at their token limit in layer {number}: {', '.join(cut)}")
        selected, stop = await self._select(number, layer, proposals, previous)
        state.emit(LayerFinished(number, selected, reason, state.now()))
        return selected, stop

    def _calls(
        self, number: int, proposer: Proposer, messages: list[ChatMessage], end: float | None
    ) -> list[Proposing]:
        """A proposer's calls: one, or one per sample if a single request cannot return several."""
        ask = partial(self._propose, number, messages=messages, end=end)
        transport, count = self._job.caller.transport(proposer), proposer.samples
        if count == 1:
            return [ask(proposer)]
        if transport.offers_samples:
            return [self._samples(ask, proposer)]
        return [ask(replace(proposer, name=f"{proposer.name}#{i}")) for i in range(1, count + 1)]

    async def _samples(self, ask: Any, proposer: Proposer) -> Proposals:
        """Get several samples from one request. If the server returns only one, make a request for each of the others."""
        got = await ask(proposer, samples=proposer.samples)
        if self._job.caller.transport(proposer).offers_samples:
            return got
        first = len(got) + 1
        # The answer that came is kept: it is paid for.
        names = [f"{proposer.name}#{i}" for i in range(first, proposer.samples + 1)]
        others = await asyncio.gather(*(ask(replace(proposer, name=name)) for name in names))
        return (*got, *(proposal for each in others for proposal in each))

    async def _propose(
        self,
        number: int,
        proposer: Proposer,
        messages: list[ChatMessage],
        end: float | None,
        samples: int = 1,
    ) -> Proposals:
        request = Request(proposer, "proposer", number, messages, self._shared, samples, until=end)
        finished, _ = await self._job.caller.call(request, self._state)
        return finished.proposals

    def _check_quorum(self, number: int, layer: Layer, got: int) -> None:
        """Raise if the layer has too few proposals; record it if some are missing."""
        if got == layer.samples:
            return None
        happened = self._state.happened
        ended = [e for e in happened if isinstance(e, CallFinished) and e.layer == number]
        failures = [e.failure for e in sorted(ended, key=lambda e: e.call) if e.failure]
        if got >= layer.quorum:
            missing = ", ".join(f"{failure.agent}: {failure.kind.value}" for failure in failures)
            problem = f"layer {number} has {got} of {layer.samples} proposals ({missing})"
            return self._state.degrade(problem)
        problem = f"layer {number} needed {layer.quorum} of {layer.samples} proposals and got {got}"
        if self.late:
            raise DeadlineExceeded(f"{problem} before the run's deadline", failures)
        raise QuorumNotMet(problem, failures)

    async def _select(
        self, number: int, layer: Layer, proposals: Proposals, previous: Proposals
    ) -> tuple[Proposals, bool]:
        self._addition = ""
        if not layer.select:
            return proposals, False
        recipe, conversation = self._recipe, self._audience.view()

        def put(references: Proposals) -> Briefing:
            texts = [reference_text(reference) for reference in references]
            return References(texts, recipe, self._addition, number).put(conversation)

        # Not the references' tag: proposers have seen that one and could forge it.
        tag = draw_tag(chance_of(recipe, f"judges of {number}")) if recipe.fence else ""
        step = Step(
            tuple(conversation), number, layer.proposers, proposals, previous,
            asking(self._state, number), put, recipe.seed, tag, self._memory,
        )  # fmt: skip
        selected = await select(_selections(recipe, layer), step, self._state)
        self._addition, self.final = selected.addition, selected.final
        return selected.references, selected.stop


async def gathered(
    calls: Sequence[Proposing], layer: Layer, end: float | None, state: RunState
) -> tuple[Proposals, Reason]:
    """Run the calls of a layer in parallel, until all have ended or the layer may close without the rest.

    Args:
        calls: the layer's calls.
        layer: the layer. Its quorum and grace time define when it may close.
        end: the time at which it must close, on the run's clock; None without a deadline.
        state: the run's state.

    Returns:
        The proposals in the order of the calls, and why the layer closed.
    """
    tasks = [asyncio.create_task(call) for call in calls]
    everyone = asyncio.gather(*tasks)
    enough = [] if layer.grace is None else [asyncio.create_task(_enough(tasks, layer))]
    reason: Reason = "all"
    try:
        left = None if end is None else max(end - state.now(), 0)
        waiting = [everyone, *enough]
        await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if everyone.done():
            everyone.result()  # a call never raises for an LLM's fault: an error here is a bug
        else:
            reason = "quorum" if any(task.done() for task in enough) else "deadline"
        state.closing = _WHY[reason]
    finally:
        await stop([everyone, *enough, *tasks])
        state.closing = CANCELLED
    ended = [task.result() for task in tasks if not task.cancelled()]
    return tuple(proposal for proposals in ended for proposal in proposals), reason


async def _enough(tasks: Sequence[asyncio.Future[Proposals]], layer: Layer) -> None:
    """Wait until the layer has its quorum and the grace time is over."""
    got, grace = 0, layer.grace or 0.0
    for ended in asyncio.as_completed(tasks):
        got += len(await ended)
        if got >= layer.quorum:
            await asyncio.sleep(grace)
            break


async def select(selections: Sequence[Selection], step: Step, state: RunState) -> Selected:
    """Apply the selections of a layer one after the other, and emit their findings as events."""
    total = Selected(step.proposals)
    for selection in selections:
        selected = await _in_time(selection, replace(step, proposals=total.references), state)
        if selected.topic:
            state.emit(NoteTaken(step.layer, selected.topic, dict(selected.note), state.now()))
        if selected.degraded:
            state.emit(Degraded(selected.degraded, state.now()))
        total = Selected(
            selected.references,
            # Without references there is nothing to end with: the next layer starts from the question alone.
            stop=(total.stop or selected.stop or selected.final) and bool(selected.references),
            final=selected.final,
            addition="\n\n".join(text for text in (total.addition, selected.addition) if text),
        )
        if selected.final:
            break
    return total


async def _in_time(selection: Selection, step: Step, state: RunState) -> Selected:
    """Run a selection within half of the remaining time. The later layers and the aggregator need the other half."""
    left = state.remaining()
    scope = expires_after(None if left is None else max(left / 2, 0))
    try:
        async with scope:
            return await selection(step)
    except (TimeoutError, asyncio.TimeoutError) as error:
        if not expired(scope, error):
            raise
        name = type(selection).__name__
        return Selected(
            step.proposals, degraded=f"layer {step.layer}: no time was left for its {name}"
        )


def asking(state: RunState, layer: int) -> Ask:
    """The function with which the selections of a layer call an LLM."""
    job = state.job
    reported: set[str] = set()

    async def ask(agent: Agent, messages: Sequence[ChatMessage]) -> tuple[Proposal, ...]:
        known = isinstance(messages, Briefing)
        briefing = messages if known else Briefing((), lambda _: list(messages))
        rendering = Rendering(briefing, job.recipe)
        sent = await rendering.for_agent(agent, job.caller.transport(agent), {})
        for name in {*rendering.cut} - reported:
            reported.add(name)
            state.degrade(f"layer {layer}: proposals were cut to fit the context window of {name}")
        finished, _ = await job.caller.call(Request(agent, "judge", layer, sent), state)
        return finished.proposals

    return ask


def _selections(recipe: Recipe, layer: Layer) -> tuple[Selection, ...]:
    if not recipe.shuffle:
        return layer.select
    # Importing all selections takes 10 ms, and few mixtures have one.
    from llama_index.packs.mixture_of_agents.selection import Shuffle

    return (Shuffle(), *layer.select)
