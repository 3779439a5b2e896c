"""The events of a run, as frozen data. Streaming, tracing, display, trace files and the result all read them.

Times named ``at``, ``started`` and ``ended`` are seconds since the run began; ``RunStarted.time`` is the only
wall-clock time (seconds since the epoch). Layers are numbered from 1; the aggregator's number is one more than
the last proposer layer's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from .errors import Failure

Role: TypeAlias = Literal["proposer", "aggregator", "judge"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and requests of a call, a layer or a run. Sums with ``+``.

    Attributes:
        input_tokens: tokens sent, cached ones included.
        output_tokens: tokens received, reasoning ones included.
        reasoning_tokens: the part of ``output_tokens`` that was reasoning.
        cached_tokens: the part of ``input_tokens`` that the provider had cached.
        requests: requests made, retries and cancelled hedges included.
        estimated: whether some numbers are estimates because a provider reported none.
        cache_write_tokens: the part of ``input_tokens`` that the provider wrote to its cache and bills as such.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    estimated: bool = False
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens in and out together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
            self.requests + other.requests,
            self.estimated or other.estimated,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposer's answer, or the aggregator's, whose last proposal is the final answer.

    Attributes:
        agent: the agent's name in the recipe, unique in its layer.
        model: the model's name.
        text: the answer without thinking. It can become a reference.
        thinking: the visible part of the model's reasoning. It never becomes a reference.
        finish_reason: the provider's word for why it stopped; "" if it gave none.
    """

    agent: str
    model: str
    text: str
    thinking: str = ""
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run begins.

    Attributes:
        run_id: a random name for the run.
        time: wall-clock seconds since the epoch.
        question: the text of the last user message.
        layers: the agents' names, layer by layer.
        aggregator: the aggregator's name; "" if the recipe has none.
        prices: the recipe's own prices, model -> (input, output) in US dollars per million tokens.
        conversation: a hash of every message and tool. Runs of the same conversation have the same hash.
        recipe: the recipe as data, without keys, if the event was read from a trace file (``trace_to``); else None.
    """

    run_id: str
    time: float
    question: str
    layers: tuple[tuple[str, ...], ...]
    aggregator: str
    prices: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    conversation: str = ""
    recipe: dict[str, Any] | None = None
    kind: Literal["run_started"] = "run_started"


@dataclass(frozen=True, slots=True)
class LayerStarted:
    """A layer of proposers begins.

    Attributes:
        layer: the layer's number, from 1.
        agents: the names of its proposers.
        at: when, in seconds since the run began.
    """

    layer: int
    agents: tuple[str, ...]
    at: float
    kind: Literal["layer_started"] = "layer_started"


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call to an LLM begins.

    Attributes:
        call: the call's number in the run, from 1.
        layer: the layer's number; the aggregator's is one more than the last layer's.
        agent: the agent's name.
        role: what the agent does in the run.
        model: the model's name.
        provider: the provider, as LlamaIndex names the integration.
        at: when, in seconds since the run began.
    """

    call: int
    layer: int
    agent: str
    role: Role
    model: str
    provider: str
    at: float
    kind: Literal["call_started"] = "call_started"


@dataclass(frozen=True, slots=True)
class CallRetried:
    """An attempt failed, and another one follows.

    Attributes:
        call: the call's number.
        attempt: the number of attempts so far.
        failure: why the last one failed.
        wait: the seconds until the next one.
        at: when, in seconds since the run began.
    """

    call: int
    attempt: int
    failure: Failure
    wait: float
    at: float
    kind: Literal["call_retried"] = "call_retried"


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call ended: with proposals (one, or n if one request asked for n samples), or with a failure.

    ``call`` to ``provider`` are those of its ``CallStarted``.

    Attributes:
        call: the call's number.
        layer: the layer's number.
        agent: the agent's name.
        role: what the agent does in the run.
        model: the model's name.
        provider: the provider.
        started: when the call began, in seconds since the run began.
        ended: when it ended.
        proposals: its proposals; none if it failed.
        failure: why it failed, or None.
        attempts: the number of requests.
        usage: the usage of all its attempts together.
        first_token: when its first token arrived; None without a stream.
        cached: whether the answer came from the cache, without a request.
        hedged: whether a second request was made because the first one was late.
        replayed: whether the answer came from a trace file. Its tokens are those of the recorded call, and cost nothing.
        spared: for an answer from the cache, the usage of the original call.
        spared_seconds: for an answer from the cache, the seconds that the original call took.
    """

    call: int
    layer: int
    agent: str
    role: Role
    model: str
    provider: str
    started: float
    ended: float
    proposals: tuple[Proposal, ...] = ()
    failure: Failure | None = None
    usage: Usage = Usage()
    attempts: int = 1
    first_token: float | None = None
    cached: bool = False
    hedged: bool = False
    replayed: bool = False
    spared: Usage = Usage()
    spared_seconds: float = 0.0
    kind: Literal["call_finished"] = "call_finished"

    @property
    def elapsed(self) -> float:
        """Seconds from its start to its end, retries and waits included."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class LayerFinished:
    """A layer is closed.

    Attributes:
        layer: the layer's number.
        references: the proposals that the layer passes on, in order.
        reason: why it closed: all proposers ended, the quorum and its grace time were reached, or a deadline passed.
        at: when, in seconds since the run began.
    """

    layer: int
    references: tuple[Proposal, ...]
    reason: Literal["all", "quorum", "deadline"]
    at: float
    kind: Literal["layer_finished"] = "layer_finished"


@dataclass(frozen=True, slots=True)
class NoteTaken:
    """A finding of a selection: a ranking, a vote, an analysis.

    Attributes:
        layer: the number of the selection's layer.
        topic: what kind of finding it is, such as "ranking".
        data: the finding, as plain JSON data.
        at: when, in seconds since the run began.
    """

    layer: int
    topic: str
    data: dict[str, Any]
    at: float
    kind: Literal["note_taken"] = "note_taken"


@dataclass(frozen=True, slots=True)
class Degraded:
    """From here on, the run delivers less than its recipe requires.

    Attributes:
        reason: why.
        at: when, in seconds since the run began.
    """

    reason: str
    at: float
    kind: Literal["degraded"] = "degraded"


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """A piece of the final answer as it streams. The result does not keep it.

    Attributes:
        text: the new text.
        response: the aggregator's own chunk, as its LLM class made it.
        at: when, in seconds since the run began.
    """

    text: str
    response: ChatResponse
    at: float
    kind: Literal["answer_delta"] = "answer_delta"


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run ended, with an answer or with an error.

    Attributes:
        at: when, in seconds since the run began.
        message: the answer as a chat message, or None.
        agent: the name of the answer's author: an aggregator, or a proposer whose proposal is the answer.
        error: the error in words if there is no answer; else "".
    """

    at: float
    message: ChatMessage | None = None
    agent: str = ""
    error: str = ""
    kind: Literal["run_finished"] = "run_finished"


Event: TypeAlias = (
    RunStarted
    | LayerStarted
    | CallStarted
    | CallRetried
    | CallFinished
    | LayerFinished
    | NoteTaken
    | Degraded
    | AnswerDelta
    | RunFinished
)
Emit: TypeAlias = Callable[[Event], None]

Listener: TypeAlias = Callable[[RunStarted, Event], None]
"""Called with every event of every run, on the run's own event loop. The events of one run arrive in order.

The first argument is the run's ``RunStarted``, which identifies the run among parallel ones. The last event of a run is
its ``RunFinished``, even if the run failed or was cancelled.
"""
