"""What a call needs to know: which agent to ask for what, and the state of the run it belongs to. Plain data."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.streams import OnChunk
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Degraded, Emit, Event, Role, RunStarted
from llama_index.packs.mixture_of_agents.recipe import Agent

if TYPE_CHECKING:
    from .job import Job

CANCELLED = Fault(FailureKind.CANCELLED, "the call was cancelled before it ended")


@dataclass
class RunState:
    """The state that all calls of one run share.

    Attributes:
        job: what the run was asked to do.
        emit: where events go.
        start: the run's first event; None for calls without a run around them.
        happened: the run's events so far, except pieces of the streamed answer.
        room: waits until the reader of the run's events has taken enough of them.
        closing: the reason for any cancellation that happens now.
        calls: the number of calls so far.
        notes: what a caller (a cache, a replay) remembers during this run.
    """

    job: "Job"
    emit: Emit
    start: RunStarted | None = None
    happened: list[Event] = field(default_factory=list[Event])
    room: Callable[[], Awaitable[None]] | None = None
    closing: Fault = CANCELLED
    calls: int = 0
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    _begun: float = field(default_factory=time.perf_counter)

    def degrade(self, reason: str) -> None:
        """Record that the run gives less than the recipe asked for, and why."""
        self.emit(Degraded(reason, self.now()))

    def now(self) -> float:
        """Seconds since the run's start: the run's clock."""
        return time.perf_counter() - self._begun

    def remaining(self) -> float | None:
        """Seconds until the run's deadline; None without one."""
        deadline = self.job.recipe.deadline
        return None if deadline is None else deadline - self.now()


def earliest(one: float | None, other: float | None) -> float | None:
    """The earlier of two times; None stands for no bound."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _as_it_is(response: ChatResponse) -> ChatResponse:
    return response


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask an agent.

    Attributes:
        agent: the agent.
        role: the role in which it is asked.
        layer: the number of its layer.
        messages: the conversation to send.
        kwargs: parameters of this call; they take precedence over the agent's own.
        samples: how many answers to ask for in one request.
        on_chunk: awaited with each piece of a streamed answer; None asks for a whole answer.
        reads: makes the response that the caller gets of the LLM's own. What it raises is a failure of the call.
        tools: whether tool calls alone count as an answer.
        until: when its layer ends, on the run's clock; no retry starts after that.
    """

    agent: Agent
    role: Role
    layer: int
    messages: Sequence[ChatMessage]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    samples: int = 1
    on_chunk: OnChunk | None = None
    reads: Callable[[ChatResponse], ChatResponse] = _as_it_is
    tools: bool = False
    until: float | None = None
