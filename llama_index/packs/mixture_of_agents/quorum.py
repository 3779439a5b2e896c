"""When a layer may close, and whether it has enough."""

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

from .asking import CANCELLED, RunState
from .diagnosis import Fault
from .errors import DeadlineExceeded, QuorumNotMet
from .events import Proposal
from .failures import Failure, FailureKind
from .recipe import Layer
from .stopping import stop

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
