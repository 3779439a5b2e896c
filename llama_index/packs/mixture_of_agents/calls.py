"""One call to one agent: its deadline, its attempts, its usage, and what became of it. Never raises for an LLM's fault."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tenacity
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from .answers import EXPLANATIONS, Answer, assembled, read, verdict
from .events import CallFinished, CallRetried, CallStarted, Emit, Proposal, Role, Usage
from .failures import RETRYABLE, Failure, FailureKind, Fault, diagnose
from .recipe import Agent, CallPolicy, Recipe
from .transport import OnChunk, Transport
from .usage import estimate_usage, read_usage

if sys.version_info >= (3, 11):
    from asyncio import timeout as expires_after
else:
    from async_timeout import timeout as expires_after


@dataclass
class RunState:
    """What the calls of one run share.

    Attributes:
        emit: where events go.
        threaded: ask every LLM in a thread, since the caller is sync.
        deadline: when the run ends, on the run's clock (seconds since its start); None for no bound.
        closing: why calls that are being cancelled are cancelled.
    """

    emit: Emit
    threaded: bool = False
    deadline: float | None = None
    closing: str = "the run was cancelled"
    calls: int = 0
    _begun: float = field(default_factory=time.perf_counter)

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
    """

    agent: Agent
    role: Role
    layer: int
    messages: Sequence[ChatMessage]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    samples: int = 1
    on_chunk: OnChunk | None = None
    tools: bool = False


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How one attempt ended: with answers of use, or with a fault."""

    answers: tuple[Answer, ...] = ()
    response: ChatResponse | None = None
    usage: Usage = Usage()
    fault: Fault | None = None


class Caller:
    """Makes the calls of a recipe; shared by all of its runs, so that what is learned about a model is learned once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._transports: dict[int, Transport] = {}

    def transport(self, agent: Agent) -> Transport:
        """The agent's LLM as it is asked."""
        known = self._transports.get(id(agent.llm))
        if known is None:
            known = self._transports[id(agent.llm)] = Transport(agent.llm)
        return known

    async def call(self, request: Request, run: RunState) -> tuple[CallFinished, ChatResponse | None]:
        """Ask an agent.

        Returns:
            The event that tells how it ended (already emitted), and the LLM's own response where it gave an answer.

        Raises:
            asyncio.CancelledError: the call was cancelled; its event has been emitted.
        """
        run.calls += 1
        call = _Call(self.transport(request.agent), request, self._recipe, run, run.calls)
        return await call.make()


class _Call:
    def __init__(self, transport: Transport, request: Request, recipe: Recipe, run: RunState, number: int) -> None:
        self.transport, self.request, self.run, self.number = transport, request, run, number
        self.policy: CallPolicy = request.agent.call or recipe.call
        self.parameters = _parameters(request, recipe)
        self.started = run.now()
        self.usage = Usage()
        self.attempts = 0
        self.first_token: float | None = None

    async def make(self) -> tuple[CallFinished, ChatResponse | None]:
        self._announce()
        try:
            attempt = await self._attempt()
            if self._curable(attempt.fault):
                attempt = await self._attempts(attempt)
        except asyncio.CancelledError:
            self.run.emit(self._finished(failure=self._failure(Fault(FailureKind.STRAGGLER, self.run.closing))))
            raise
        failure = self._failure(attempt.fault) if attempt.fault else None
        finished = self._finished(_proposals(self.request, attempt), failure)
        self.run.emit(finished)
        return finished, attempt.response if not failure else None

    async def _attempts(self, first: _Attempt) -> _Attempt:
        """Further attempts after a first one that failed in a way that another attempt may cure."""
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda attempt: self._curable(attempt.fault)),
            wait=self._wait,
            stop=self._hopeless,
            before_sleep=self._announce_retry,
            retry_error_callback=lambda state: state.outcome.result(),  # type: ignore[union-attr]
            sleep=asyncio.sleep,
        )
        pending = [first]

        async def next_attempt() -> _Attempt:
            return pending.pop() if pending else await self._attempt()

        return await attempts(next_attempt)

    async def _attempt(self) -> _Attempt:
        limit = self._time_left()
        if limit is not None and limit <= 0:
            return _Attempt(fault=Fault(FailureKind.TIMEOUT, "no time was left for this call"))
        self.attempts += 1
        sent = self.transport.parameters(self.parameters, stream=self.request.on_chunk is not None)
        scope = expires_after(limit)
        try:
            async with scope:
                attempt = await self._ask(sent)
        except Exception as error:  # whatever an LLM class raises becomes a record; cancellation passes through
            fault = self._without_known_refusals(self._fault(error, scope, limit, sent))
            attempt = _Attempt(fault=fault, usage=Usage(requests=1))
        self.usage += attempt.usage
        return attempt

    async def _ask(self, sent: dict[str, Any]) -> _Attempt:
        request = self.request
        if request.on_chunk is None:
            response = await self.transport.chat(request.messages, sent, threaded=self.run.threaded)
            answers = read(response)
        else:
            text, response = await self.transport.stream(
                request.messages, sent, self._on_chunk, threaded=self.run.threaded
            )
            answers = (assembled(text, response),)
        known = read_usage(response) if response else None
        usage = known or estimate_usage(request.messages, "".join(answer.text for answer in answers))
        usage += Usage(requests=1)
        faults = [self._verdict(answer) for answer in answers]
        useful = tuple(answer for answer, fault in zip(answers, faults, strict=True) if not fault)
        return _Attempt(useful, response, usage, None if useful else faults[0])

    def _on_chunk(self, text: str, chunk: ChatResponse) -> None:
        if self.first_token is None and text:
            self.first_token = self.run.now()
        assert self.request.on_chunk
        self.request.on_chunk(text, chunk)

    def _verdict(self, answer: Answer) -> Fault | None:
        keep = self.request.role == "aggregator"  # its answer is the user's: a cut one is better than none
        kind = verdict(answer, tools=self.request.tools, truncated="keep" if keep else self.policy.truncated)
        return Fault(kind, EXPLANATIONS[kind]) if kind else None

    def _fault(self, error: Exception, scope: Any, limit: float | None, sent: dict[str, Any]) -> Fault:
        expired = scope.expired() if callable(scope.expired) else scope.expired
        if expired and isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            return Fault(FailureKind.TIMEOUT, f"no answer within {limit:.4g} s")
        return diagnose(error, {*sent, *self.transport.sent_by_itself()}, self.transport.secrets)

    def _without_known_refusals(self, fault: Fault) -> Fault:
        """The fault with only those refused parameters that are news, which are not sent any more from now on."""
        fresh = tuple(name for name in fault.refused if name not in self.transport.refused)
        self.transport.refuse(fresh)
        return replace(fault, refused=fresh)

    def _curable(self, fault: Fault | None) -> bool:
        """Whether another attempt may cure a fault."""
        if fault is None or self.first_token is not None:
            return False  # the answer is there, or a part of it has already been passed on
        return bool(fault.refused) or fault.kind in RETRYABLE or fault.kind == FailureKind.TIMEOUT

    def _wait(self, state: tenacity.RetryCallState) -> float:
        fault = state.outcome.result().fault  # type: ignore[union-attr]
        if fault.refused:
            return 0.0
        if fault.retry_after is not None:
            return fault.retry_after
        jittered = tenacity.wait_exponential_jitter(self.policy.backoff, self.policy.max_wait, jitter=self.policy.backoff)
        return jittered(state)

    def _hopeless(self, state: tenacity.RetryCallState) -> bool:
        fault = state.outcome.result().fault  # type: ignore[union-attr]
        left = self._time_left(of_attempt=False)
        return (
            (self.attempts > self.policy.retries and not fault.refused)
            or state.upcoming_sleep > self.policy.max_wait
            or (left is not None and state.upcoming_sleep >= left)
        )

    def _time_left(self, *, of_attempt: bool = True) -> float | None:
        """Seconds that the next attempt (or the whole call) may still take."""
        own = None if self.policy.deadline is None else self.started + self.policy.deadline - self.run.now()
        bounds = (own, self.run.remaining(), self.policy.timeout if of_attempt else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    def _announce(self) -> None:
        request, (provider, model, _) = self.request, self.transport.key
        self.run.emit(
            CallStarted(self.number, request.layer, request.agent.name, request.role, model, provider, self.started)
        )

    def _announce_retry(self, state: tenacity.RetryCallState) -> None:
        fault = state.outcome.result().fault  # type: ignore[union-attr]
        self.run.emit(
            CallRetried(self.number, self.attempts, self._failure(fault), state.upcoming_sleep, self.run.now())
        )

    def _failure(self, fault: Fault) -> Failure:
        request, (_, model, _) = self.request, self.transport.key
        elapsed = self.run.now() - self.started
        return Failure(
            request.agent.name, model, request.layer, fault.kind, fault.message, fault.status, self.attempts, elapsed
        )

    def _finished(self, proposals: tuple[Proposal, ...] = (), failure: Failure | None = None) -> CallFinished:
        request, (provider, model, _) = self.request, self.transport.key
        return CallFinished(
            self.number, request.layer, request.agent.name, request.role, model, provider, self.started,
            self.run.now(), proposals, failure, self.usage, self.attempts, self.first_token,
        )  # fmt: skip


def _parameters(request: Request, recipe: Recipe) -> dict[str, Any]:
    agent = request.agent
    sampling = {
        "temperature": recipe.temperature if agent.temperature is None else agent.temperature,
        "max_tokens": recipe.max_tokens if agent.max_tokens is None else agent.max_tokens,
        "n": request.samples if request.samples > 1 else None,
    }
    return {**sampling, **agent.kwargs, **request.kwargs}


def _proposals(request: Request, attempt: _Attempt) -> tuple[Proposal, ...]:
    name, model = request.agent.name, request.agent.model
    several = len(attempt.answers) > 1
    return tuple(
        Proposal(f"{name}#{number}" if several else name, model, answer.text, answer.thinking, answer.finish_reason)
        for number, answer in enumerate(attempt.answers, 1)
    )
