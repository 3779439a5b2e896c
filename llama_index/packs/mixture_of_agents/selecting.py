"""A layer's selections, one behind the other, in the course of a run."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from llama_index.core.base.llms.types import ChatMessage

from .asking import Request, RunState
from .events import Degraded, NoteTaken, Proposal
from .expiry import expired, expires_after
from .jobs import Job
from .recipe import Agent, Ask, Selected, Selection, Step
from .references import Rendering
from .step import Briefing


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
