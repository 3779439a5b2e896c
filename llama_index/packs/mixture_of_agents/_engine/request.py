"""What a call needs to know: whom to ask what, and the run that it is a part of. Plain data."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.streams import OnChunk
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Degraded, Emit, Role, RunStarted
from llama_index.packs.mixture_of_agents.recipe import Agent

CANCELLED = Fault(FailureKind.CANCELLED, "the call was cancelled before it ended")


@dataclass
class RunState:
    """What the calls of one run share.

    Attributes:
        emit: where events go.
        threaded: ask every LLM in a thread, since the caller is sync.
        deadline: when the run ends, on the run's clock (seconds since its start); None for no bound.
        closing: why the calls that are being cancelled right now are cancelled.
        calls: how many calls there were so far.
        start: the run's first event.
        notes: what whoever makes the calls wants to remember in the course of this run.
    """

    emit: Emit
    threaded: bool = False
    deadline: float | None = None
    closing: Fault = CANCELLED
    calls: int = 0
    start: RunStarted | None = None
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    _begun: float = field(default_factory=time.perf_counter)

    def degrade(self, reason: str) -> None:
        """Tell that the run is less than the recipe asked for, and why."""
        self.emit(Degraded(reason, self.now()))

    def now(self) -> float:
        """Seconds since the run's start."""
        return time.perf_counter() - self._begun

    def remaining(self) -> float | None:
        """Seconds until the run's deadline; None for no bound."""
        return None if self.deadline is None else self.deadline - self.now()


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask whom.

    Attributes:
        agent: the agent.
        role: what it is asked as.
        layer: the number of its layer.
        messages: the conversation to send.
        kwargs: further parameters of this call; they go before the agent's.
        samples: how many answers to ask for in one request.
        on_chunk: called with each piece of a streamed answer; None asks for a whole one.
        tools: whether tool calls alone are an answer.
        until: when its layer ends, on the run's clock: a wait for another attempt beyond that is in vain.
    """

    agent: Agent
    role: Role
    layer: int
    messages: Sequence[ChatMessage]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    samples: int = 1
    on_chunk: OnChunk | None = None
    tools: bool = False
    until: float | None = None
