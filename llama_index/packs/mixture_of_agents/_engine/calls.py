"""One call to one agent: its attempts, its endpoint's circuit breaker, its outcome. An LLM's fault is never raised."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.slots import Slots
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._providers.environment import no_key
from llama_index.packs.mixture_of_agents._providers.facts import context_window
from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.readiness import missing_key
from llama_index.packs.mixture_of_agents._providers.transport import Transport, has_clients
from llama_index.packs.mixture_of_agents.errors import (
    OF_THE_ENDPOINT,
    RETRYABLE,
    Failure,
    FailureKind,
)
from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    CallRetried,
    CallStarted,
    Proposal,
)
from llama_index.packs.mixture_of_agents.recipe import Agent, Limits, Recipe

from .attempts import Attempt, Attempts
from .endpoint import Admission, CircuitBreaker, Endpoint
from .request import Request, RunState, earliest

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.limits import Quota

__all__ = ["Caller", "Request", "RunState", "parameters_of"]

_SAYS_NOTHING = frozenset(
    {FailureKind.STRAGGLER, FailureKind.CANCELLED, FailureKind.CONFIGURATION, FailureKind.ERROR}
)
"""Failures that say nothing about the endpoint."""

Outcome: TypeAlias = tuple[CallFinished, ChatResponse | None]
"""The event of a call's end, and the LLM's own response if it gave an answer."""


class Caller:
    """Makes the calls of a recipe. All runs of the recipe share it, and so share what it learns about each model."""

    def __init__(self, recipe: Recipe) -> None:
        self._begin(recipe)

    def _begin(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._transports: dict[int, Transport] = {}
        self._endpoints: dict[tuple[str, str, str], Endpoint] = {}
        self._slots = _slots(recipe.limits)

    def of(self, recipe: Recipe) -> "Caller":
        """A caller of the same kind for another recipe."""
        other = copy(self)
        other._begin(recipe)  # noqa: SLF001
        return other

    def transport(self, agent: Agent) -> Transport:
        """The transport of the agent's LLM."""
        known = self._transports.get(id(agent.llm))
        if known:
            return known
        policy = agent.call or self._recipe.call
        made = Transport(agent.llm, shared=policy.shared_clients)
        # Another thread may have made one at the same time; all must use the same.
        return self._transports.setdefault(id(agent.llm), made)

    def window(self, llm: LLM) -> int | None:
        """The context window of an LLM, in tokens; None if it is unknown."""
        known = self._transports.get(id(llm))
        return known.window if known else context_window(llm)

    async def prepare(self, agents: Sequence[Agent]) -> None:
        """Make the agents' clients, in a thread: on the loop, each would delay the start of the next call."""
        unknown = [agent for agent in agents if id(agent.llm) not in self._transports]
        new = [agent for agent in unknown if has_clients(agent.llm)]
        if new:
            await in_thread(lambda: [self.transport(agent).prepare() for agent in new])

    def endpoint(self, transport: Transport) -> Endpoint:
        """What all calls to the same model at the same address share."""
        known = self._endpoints.get(transport.key)
        if known is not None:
            return known
        policy = self._recipe.limits.breaker
        breaker = CircuitBreaker(policy.failures, policy.cooldown) if policy.failures else None
        quota = self._quota(*transport.key[:2])
        slots = tuple(one for one in (self._slots, quota and quota.slots) if one)
        made = Endpoint(breaker, slots, quota=quota)
        return self._endpoints.setdefault(transport.key, made)

    def _quota(self, provider: str, model: str) -> "Quota | None":
        if not self._recipe.limits.endpoints:
            return None
        from llama_index.packs.mixture_of_agents.limits import quota_of

        return quota_of(self._recipe.limits, provider, model)

    def left_alone(self, agent: Agent) -> Failure | None:
        """The failure that any call to the agent would end in now (its circuit is open, it has no key); else None."""
        transport = self.transport(agent)
        breaker = self.endpoint(transport).breaker
        if variable := missing_key(agent.llm):
            fault = Fault(FailureKind.CONFIGURATION, no_key(variable))
        elif breaker is None or not breaker.remaining:
            return None
        else:
            fault = _left_alone(breaker)
        return Failure(agent.name, transport.key[1], 0, fault.kind, fault.message)

    def retry_after(self, agents: Sequence[Agent]) -> float | None:
        """Seconds until one of these agents can be asked, if the circuits of all are open; else None."""
        breakers = [self.endpoint(self.transport(agent)).breaker for agent in agents]
        waits = [breaker.remaining if breaker else 0.0 for breaker in breakers]
        return min(waits, default=0.0) or None

    def call(self, request: Request, run: RunState) -> Coroutine[Any, Any, Outcome]:
        """Ask an agent.

        Returns:
            The event of its end (already emitted), and the LLM's own response if it gave an answer.

        Raises:
            asyncio.CancelledError: the call was cancelled; its event has been emitted.
        """
        run.calls += 1  # before anything is awaited: the numbers follow the recipe's order
        return self.make(request, run, run.calls)

    def make(self, request: Request, run: RunState, number: int) -> Coroutine[Any, Any, Outcome]:
        """Make the call with this number; see ``call``."""
        transport = self.transport(request.agent)
        if limit := request.kwargs.get("max_tokens"):
            transport = transport.within(limit)
        endpoint = self.endpoint(transport)
        policy = request.agent.call or self._recipe.call
        parameters = parameters_of(request, self._recipe)
        attempts = Attempts(request, run, transport, endpoint, policy, parameters)
        return _Call(number, attempts, endpoint.breaker).make()


class _Call:
    """One call: its attempts with the waits between them, and its events."""

    def __init__(self, number: int, attempts: Attempts, breaker: CircuitBreaker | None) -> None:
        self.number, self.attempts, self.breaker = number, attempts, breaker
        self.request, self.run, self.policy = attempts.request, attempts.run, attempts.policy
        self.provider, self.model, _ = attempts.transport.key
        self.spent, self.retries = attempts.spent, self.policy.retries
        self.wait = 0.0
        self.last: Fault | None = None

    async def make(self) -> Outcome:
        self._announce()
        admission: Admission = self.breaker.admit() if self.breaker else "closed"
        try:
            if self.breaker and admission == "open":
                attempt = Attempt(fault=_left_alone(self.breaker))
            else:
                # A probe is one request: an endpoint that fails should get no more.
                self.retries = 0 if admission == "probe" else self.retries
                attempt = await self.attempts.make()
            while self._worth_another(attempt):
                await self._pause(self.wait)
                attempt = await self.attempts.make()
        except BaseException:
            self._finish(Attempt(fault=self._interruption()), admission)
            raise
        return self._finish(attempt, admission), None if attempt.fault else attempt.response

    def _worth_another(self, attempt: Attempt) -> bool:
        """Whether another attempt, after ``self.wait`` seconds, may cure what went wrong."""
        fault = attempt.fault
        if fault is None or self.spent.passed_on:
            return False
        self.last = fault
        if fault.refused:
            self.wait = 0.0
            return True
        if fault.kind not in RETRYABLE or not self.spent.requests or not self.retries:
            return False
        self.wait = self._backoff() if fault.retry_after is None else fault.retry_after
        self.retries -= 1
        end = earliest(self.attempts.end, self.request.until)
        in_time = end is None or self.run.now() + self.wait < end
        return in_time and self.wait <= self.policy.max_wait

    def _backoff(self) -> float:
        first = self.policy.backoff
        doubled = first * 2 ** (self.policy.retries - self.retries)
        # By chance a little longer, so that calls that failed together are not repeated together.
        return min(doubled + random.uniform(0, first), self.policy.max_wait)  # noqa: S311  # it keeps no secret

    async def _pause(self, seconds: float) -> None:
        """Record the failure, and wait."""
        assert self.last
        failure = self._failure(self.last)
        self.run.emit(CallRetried(self.number, failure.attempts, failure, seconds, self.run.now()))
        await asyncio.sleep(seconds)

    def _interruption(self) -> Fault:
        """Why the call was cancelled, and what had gone wrong before."""
        why = self.run.closing
        if self.last is None:
            return why
        before = f"{why.message}; before that, {self.last.kind.value}: {self.last.message}"
        return replace(why, message=before, status=self.last.status)

    def _announce(self) -> None:
        request = self.request
        self.run.emit(
            CallStarted(
                self.number, request.layer, request.agent.name, request.role, self.model, self.provider,
                self.spent.started,
            )
        )  # fmt: skip

    def _finish(self, attempt: Attempt, admission: Admission) -> CallFinished:
        request, spent = self.request, self.spent
        failure = self._failure(attempt.fault) if attempt.fault else None
        failure = failure and failure.seen_as(attempt.error)
        if self.breaker:
            self._tell_breaker(self.breaker, admission, failure)
        finished = CallFinished(
            self.number, request.layer, request.agent.name, request.role, self.model, self.provider, spent.started,
            self.run.now(), self._proposals(attempt), failure, spent.total,
            spent.requests, spent.first_token, hedged=spent.hedged,
        )  # fmt: skip
        self.run.emit(finished)
        return finished

    def _tell_breaker(
        self, breaker: CircuitBreaker, admission: Admission, failure: Failure | None
    ) -> None:
        if admission == "open":
            return
        if failure is None:
            breaker.succeeded()
        elif failure.kind in _SAYS_NOTHING or not failure.attempts:
            breaker.gave_up(admission)
        elif failure.kind in OF_THE_ENDPOINT:
            breaker.failed(admission, f"{failure.kind.value}: {failure.message}")
        else:
            breaker.succeeded()  # the endpoint works, though its answer is of no use here

    def _failure(self, fault: Fault) -> Failure:
        agent, layer, spent = self.request.agent.name, self.request.layer, self.spent
        elapsed = self.run.now() - spent.started
        return Failure(
            agent, self.model, layer, fault.kind, fault.message, fault.status, spent.requests, elapsed,
        )  # fmt: skip

    def _proposals(self, attempt: Attempt) -> tuple[Proposal, ...]:
        answers, name = () if attempt.fault else attempt.answers, self.request.agent.name
        several = len(answers) > 1
        return tuple(
            Proposal(
                f"{name}#{number}" if several else name,
                self.model,
                answer.text,
                answer.thinking,
                answer.finish_reason,
            )
            for number, answer in enumerate(answers, 1)
        )


def _left_alone(breaker: CircuitBreaker) -> Fault:
    again, reason = breaker.remaining, breaker.reason
    words = f"left alone for another {again:.0f} s, after failures in a row; the last one: {reason}"
    return Fault(FailureKind.CIRCUIT_OPEN, words)


def _slots(limits: Limits) -> Slots | None:
    if limits.in_flight is None and limits.per_endpoint is None and not limits.one_model_at_a_time:
        return None
    return Slots(limits.in_flight, limits.per_endpoint, one_key=limits.one_model_at_a_time)


def parameters_of(request: Request, recipe: Recipe) -> dict[str, Any]:
    """The parameters that a request sends beside its messages; a parameter that is None is not sent."""
    agent = request.agent
    sampling = {
        "temperature": recipe.temperature if agent.temperature is None else agent.temperature,
        "max_tokens": recipe.max_tokens if agent.max_tokens is None else agent.max_tokens,
        "n": request.samples if request.samples > 1 else None,
    }
    return {**sampling, **agent.kwargs, **request.kwargs}
