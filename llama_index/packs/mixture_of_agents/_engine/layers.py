"""When a layer may close, whether it has enough, and what it passes on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._concurrency.tasks import expired, expires_after, stop
from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents.errors import (
    DeadlineExceeded,
    Failure,
    FailureKind,
    QuorumNotMet,
)
from llama_index.packs.mixture_of_agents.events import Degraded, NoteTaken, Proposal
from llama_index.packs.mixture_of_agents.recipe import Agent, Ask, Layer, Selected, Selection, Step
from llama_index.packs.mixture_of_agents.recipe._step import Briefing

from .job import Job
from .references import Rendering
from .request import CANCELLED, Request, RunState

Proposing: TypeAlias = asyncio.Future[tuple[Proposal, ...]]
Reason: TypeAlias = Literal["all", "quorum", "deadline"]

_WHY = {
    "all": CANCELLED,
    "quorum": Fault(FailureKind.STRAGGLER, "its layer had enough proposals and went on without it"),
    "deadline": Fault(FailureKind.TIMEOUT, "it had not answered when its layer's time was up"),
}


async def close(
    tasks: Sequence[Proposing], layer: Layer, end: float | None, state: RunState
) -> Reason:
    """Wait until a layer may close, then cancel its stragglers for real.

    Args:
        tasks: one per proposer.
        layer: the layer.
        end: when it ends at the latest, on the run's clock; None for no bound.
        state: the run's.

    Returns:
        Why it closed.
    """
    try:
        reason = await _closed(tasks, layer, end, state)
        state.closing = _WHY[reason]
        return reason
    finally:
        await stop(tasks)
        state.closing = CANCELLED


async def _closed(
    tasks: Sequence[Proposing], layer: Layer, end: float | None, state: RunState
) -> Reason:
    grace_end: float | None = None
    pending: set[Proposing] = set(tasks)
    while pending:
        if layer.grace is not None and grace_end is None and _count(tasks) >= layer.quorum:
            grace_end = state.now() + layer.grace
        limit = min((bound for bound in (end, grace_end) if bound is not None), default=None)
        left = None if limit is None else limit - state.now()
        if left is not None and left <= 0:
            return "quorum" if limit == grace_end else "deadline"
        watching = layer.grace is not None and grace_end is None
        until = asyncio.FIRST_COMPLETED if watching else asyncio.FIRST_EXCEPTION
        done, pending = await asyncio.wait(pending, timeout=left, return_when=until)
        for task in done:
            if not task.cancelled():
                task.result()  # an LLM's fault never raises: what does is a bug, and ends the run at once
    return "all"


def _count(tasks: Sequence[Proposing]) -> int:
    """How many proposals have come so far."""
    return sum(len(task.result()) for task in tasks if task.done() and not task.cancelled())


def shortfall(
    number: int, layer: Layer, got: int, failures: Sequence[Failure], *, late: bool
) -> str:
    """What a layer lacks, in words; "" where it has all it asked for.

    Args:
        number: the layer's number.
        layer: the layer.
        got: how many proposals it got.
        failures: what happened to its other proposers.
        late: whether the time is up that the run's deadline leaves for layers.

    Raises:
        QuorumNotMet: it has too few proposals.
        DeadlineExceeded: it has too few, and there is no time for more.
    """
    if got < layer.quorum:
        problem = f"layer {number} needed {layer.quorum} of {layer.samples} proposals and got {got}"
        if late:
            raise DeadlineExceeded(f"{problem} before the run's deadline", failures)
        raise QuorumNotMet(problem, failures)
    if got == layer.samples:
        return ""
    missing = ", ".join(f"{failure.agent}: {failure.kind.value}" for failure in failures)
    return f"layer {number} has {got} of {layer.samples} proposals ({missing})"


async def select(selections: Sequence[Selection], step: Step, state: RunState) -> Selected:
    """What all selections of a layer decide together; what they find out is emitted."""
    total = Selected(step.proposals)
    for selection in selections:
        selected = await _in_time(selection, replace(step, proposals=total.references), state)
        if selected.topic:
            state.emit(NoteTaken(step.layer, selected.topic, dict(selected.note), state.now()))
        if selected.degraded:
            state.emit(Degraded(selected.degraded, state.now()))
        total = Selected(
            selected.references,
            # what is to start anew is not to end
            stop=(total.stop or selected.stop or selected.final) and bool(selected.references),
            final=selected.final,
            addition="\n\n".join(text for text in (total.addition, selected.addition) if text),
        )
        if selected.final:
            break
    return total


async def _in_time(selection: Selection, step: Step, state: RunState) -> Selected:
    """What a selection decides in half of the time that is left: the rest is for what comes behind it."""
    left = state.remaining()
    scope = expires_after(None if left is None else max(left / 2, 0))
    try:
        async with scope:
            return await selection(step)
    except (TimeoutError, asyncio.TimeoutError) as error:
        if not expired(scope, error):
            raise
        what = type(selection).__name__
        return Selected(
            step.proposals, degraded=f"layer {step.layer}: no time was left for its {what}"
        )


def asking(job: Job, state: RunState, layer: int) -> Ask:
    """How the selections of a layer ask an LLM."""
    told: set[str] = set()

    async def ask(agent: Agent, messages: Sequence[ChatMessage]) -> tuple[Proposal, ...]:
        known = isinstance(messages, Briefing)
        briefing = messages if known else Briefing((), lambda _: list(messages))
        rendering = Rendering(briefing, job.recipe)
        sent = await rendering.for_agent(agent, job.caller.transport(agent), {})
        for name in {*rendering.cut} - told:
            told.add(name)
            state.degrade(f"layer {layer}: proposals were cut to fit the context window of {name}")
        finished, _ = await job.caller.call(Request(agent, "judge", layer, sent), state)
        return finished.proposals

    return ask
