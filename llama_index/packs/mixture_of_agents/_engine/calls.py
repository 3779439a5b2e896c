"""One call to one agent: its attempts, its endpoint's circuit, and what became of it. Never raises for an LLM's fault."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatResponse

from llama_index.packs.mixture_of_agents._concurrency.slots import Slots
from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.transport import Transport
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
from .request import Request, RunState

__all__ = ["Caller", "Request", "RunState", "parameters_of"]

_SAYS_NOTHING = frozenset(
    {FailureKind.STRAGGLER, FailureKind.CANCELLED, FailureKind.CONFIGURATION, FailureKind.ERROR}
)
"""Failures that tell neither for nor against the endpoint."""


class Caller:
    """Makes the calls of a recipe; shared by all of its runs, so that what is learned about a model is learned once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._transports: dict[int, Transport] = {}
        self._endpoints: dict[tuple[str, str, str], Endpoint] = {}
        self._slots = _slots(recipe.limits)

    def transport(self, agent: Agent) -> Transport:
        """The agent's LLM as it is asked."""
        known = self._transports.get(id(agent.llm))
        return known or self._transports.setdefault(id(agent.llm), Transport(agent.llm))

    def endpoint(self, transport: Transport) -> Endpoint:
        """What is shared with all other calls to the same model at the same place."""
        known = self._endpoints.get(transport.key)
        if known is not None:
            return known
        policy = self._recipe.limits.breaker
        breaker = CircuitBreaker(policy.failures, policy.cooldown) if policy.failures else None
        return self._endpoints.setdefault(transport.key, Endpoint(breaker, self._slots))

    async def call(
        self, request: Request, run: RunState
    ) -> tuple[CallFinished, ChatResponse | None]:
        """Ask an agent.

        Returns:
            The event that tells how it ended (already emitted), and the LLM's own response where it gave an answer.

        Raises:
            asyncio.CancelledError: the call was cancelled; its event has been emitted.
        """
        run.calls += 1  # before anything is awaited: the numbers follow the recipe's order
        return await self.make(request, run, run.calls)

    async def make(
        self, request: Request, run: RunState, number: int
    ) -> tuple[CallFinished, ChatResponse | None]:
        """Make the call that has this number; see ``call``."""
        transport = self.transport(request.agent).within(request.kwargs.get("max_tokens"))
        policy = request.agent.call or self._recipe.call
        parameters = parameters_of(request, self._recipe)
        attempts = Attempts(request, transport, self.endpoint(transport), run, policy, parameters)
        return await _Call(attempts, number).make()


class _Call:
    def __init__(self, attempts: Attempts, number: int) -> None:
        self.attempts, self.number = attempts, number
        self.request, self.run, self.policy = attempts.request, attempts.run, attempts.policy
        self.provider, self.model, _ = attempts.transport.key
        self.breaker = attempts.endpoint.breaker
        self.retries = self.policy.retries
        self.wait = 0.0
        self.last: Fault | None = None

    async def make(self) -> tuple[CallFinished, ChatResponse | None]:
        self._announce()
        admission: Admission = self.breaker.admit() if self.breaker else "closed"
        try:
            attempt = await self._made(admission)
        except BaseException:
            self._finish(Attempt(fault=self._interruption()), admission)
            raise
        return self._finish(attempt, admission), None if attempt.fault else attempt.response

    async def _made(self, admission: Admission) -> Attempt:
        if self.breaker and admission == "open":
            again, reason = self.breaker.remaining, self.breaker.reason
            words = f"left alone for another {again:.0f} s, after failures in a row; the last one: {reason}"
            return Attempt(fault=Fault(FailureKind.CIRCUIT_OPEN, words))
        if admission == "probe":
            self.retries = 0
        attempt = await self.attempts.make()
        while self._worth_another(attempt):
            await self._pause(self.wait)
            attempt = await self.attempts.make()
        return attempt

    def _worth_another(self, attempt: Attempt) -> bool:
        """Whether another attempt may cure what went wrong, after ``self.wait`` seconds."""
        fault, made = attempt.fault, self.attempts
        if fault is None or made.passed_on:
            return False
        self.last = fault
        if fault.refused:
            self.wait = 0.0
            return True
        if fault.kind not in RETRYABLE or not made.requests or not self.retries:
            return False
        self.wait = self._backoff() if fault.retry_after is None else fault.retry_after
        self.retries -= 1
        bounds = (
            made.time_left(),
            None if self.request.until is None else self.request.until - self.run.now(),
        )
        return self.wait <= self.policy.max_wait and all(
            bound is None or self.wait < bound for bound in bounds
        )

    def _backoff(self) -> float:
        first = self.policy.backoff
        doubled = first * 2 ** (self.policy.retries - self.retries)
        return min(doubled + random.uniform(0, first), self.policy.max_wait)  # noqa: S311  # it keeps no secret

    async def _pause(self, seconds: float) -> None:
        """Tell of the failure, and wait."""
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
                self.attempts.started,
            )
        )  # fmt: skip

    def _finish(self, attempt: Attempt, admission: Admission) -> CallFinished:
        request, made = self.request, self.attempts
        failure = self._failure(attempt.fault) if attempt.fault else None
        if self.breaker:
            self._tell_breaker(self.breaker, admission, failure)
        finished = CallFinished(
            self.number, request.layer, request.agent.name, request.role, self.model, self.provider, made.started,
            self.run.now(), self._proposals(attempt), failure, replace(made.usage, requests=made.requests),
            made.requests, made.first_token, hedged=made.hedged,
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
            breaker.succeeded()  # it answers, if not in a way that is of use here

    def _failure(self, fault: Fault) -> Failure:
        request, made = self.request, self.attempts
        elapsed = self.run.now() - made.started
        return Failure(
            request.agent.name,
            self.model,
            request.layer,
            fault.kind,
            fault.message,
            fault.status,
            made.requests,
            elapsed,
        )

    def _proposals(self, attempt: Attempt) -> tuple[Proposal, ...]:
        answers, name = () if attempt.fault else attempt.answers, self.request.agent.name
        if len(answers) == 1:
            answer = answers[0]
            return (Proposal(name, self.model, answer.text, answer.thinking, answer.finish_reason),)
        return tuple(
            Proposal(
                f"{name}#{number}", self.model, answer.text, answer.thinking, answer.finish_reason
            )
            for number, answer in enumerate(answers, 1)
        )


def _slots(limits: Limits) -> Slots | None:
    if limits.in_flight is None and limits.per_endpoint is None and not limits.one_model_at_a_time:
        return None
    return Slots(limits.in_flight, limits.per_endpoint, one_key=limits.one_model_at_a_time)


def parameters_of(request: Request, recipe: Recipe) -> dict[str, Any]:
    """What a request sends beside its messages; None stands for nothing."""
    agent = request.agent
    sampling = {
        "temperature": recipe.temperature if agent.temperature is None else agent.temperature,
        "max_tokens": recipe.max_tokens if agent.max_tokens is None else agent.max_tokens,
        "n": request.samples if request.samples > 1 else None,
    }
    return {**sampling, **agent.kwargs, **request.kwargs}
