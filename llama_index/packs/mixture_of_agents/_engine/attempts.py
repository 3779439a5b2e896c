"""The requests of one call: within the limits, in time, hedged where that is wanted; and what is made of the answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._concurrency.tasks import (
    expired,
    expires_after,
    hedged,
    put_off,
)
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents._providers.facts import output_limit
from llama_index.packs.mixture_of_agents._providers.faults import Fault, diagnose
from llama_index.packs.mixture_of_agents._providers.responses import (
    EXPLANATIONS,
    Answer,
    assembled,
    read,
    verdict,
)
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents._providers.usage import (
    estimate_usage,
    read_usage,
    unanswered_usage,
    was_sent,
)
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.recipe import CallPolicy

from .endpoint import Endpoint
from .request import Request, RunState

_PERHAPS_BILLED = (FailureKind.TIMEOUT, FailureKind.CONNECTION, FailureKind.BAD_RESPONSE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended: with answers of use and the LLM's own response, or with a fault."""

    answers: tuple[Answer, ...] = ()
    response: ChatResponse | None = None
    fault: Fault | None = None


class Attempts:
    """Makes the attempts of one call.

    Attributes:
        requests: how many requests were made so far.
        usage: the tokens of all of them; a guess where a request was given up.
        first_token: when the first piece of a streamed answer came, on the run's clock.
        passed_on: whether a part of a streamed answer has been handed on: it cannot be taken back.
        hedged: whether a second request was made because the first one was late.
    """

    def __init__(
        self, request: Request, transport: Transport, endpoint: Endpoint, run: RunState, policy: CallPolicy,
        parameters: dict[str, Any],
    ) -> None:  # fmt: skip
        self.request, self.transport, self.endpoint, self.run = request, transport, endpoint, run
        self.policy, self.parameters = policy, parameters
        self.started = run.now()
        self.requests = 0
        self.usage = Usage()
        self.first_token: float | None = None
        self.passed_on = False
        self.hedged = False
        self._dropped: set[str] = set()

    def time_left(self) -> float | None:
        """Seconds that the call may still take; None for no bound."""
        run, own = self.run.remaining(), self.policy.deadline
        if own is None:
            return run
        own += self.started - self.run.now()
        return own if run is None else min(own, run)

    async def make(self) -> Attempt:
        """One attempt. Never raises for an LLM's fault."""
        left = self.time_left()
        if left is not None and left <= 0:
            return Attempt(fault=Fault(FailureKind.TIMEOUT, "no time was left for this call"))
        slots = self.endpoint.slots
        if slots is None and self.transport.limiter is None:
            return await self._in_time()
        scope = expires_after(left)
        try:
            async with scope:
                await self._turn()
        except Exception as error:  # noqa: BLE001  # a rate limiter may raise anything
            late = Fault(
                FailureKind.TIMEOUT, f"the limits did not let it through within {left or 0:.4g} s"
            )
            return Attempt(fault=late if expired(scope, error) else self._diagnosis(error, {}))
        try:
            return await self._in_time()
        finally:
            if slots:
                slots.release(self.transport.key)

    async def _turn(self) -> None:
        """Wait for a slot, and for the rate limiter."""
        slots, key = self.endpoint.slots, self.transport.key
        if slots:
            await slots.acquire(key)
        try:
            await self._pace()
        except BaseException:
            if slots:
                slots.release(key)
            raise

    async def _pace(self) -> None:
        """Wait until the LLM's rate limiter lets the request through, with all the tokens it may take."""
        if self.transport.limiter is not None:
            answer = output_limit(self.transport.original, self.parameters.get("max_tokens")) or 0
            sent = await in_thread(partial(tokens_of, self.request.messages))
            tokens = sent + answer * self.request.samples
            await self.transport.pace(tokens, threaded=self.run.threaded)

    async def _in_time(self) -> Attempt:
        """A request; or two, where the first one is late and the policy wants that."""
        after = self.policy.hedge_after if self.request.role == "proposer" else None
        if after == "usual":
            after = self.endpoint.usual.seconds
        if after is None:
            return await self._request()
        return await hedged(
            self._request, self._second_request, after, lambda attempt: attempt.fault is None
        )

    async def _second_request(self) -> Attempt:
        slots, key = self.endpoint.slots, self.transport.key
        if slots and not slots.try_acquire(key):
            return Attempt(
                fault=Fault(FailureKind.TIMEOUT, "the limits left no room for a second request")
            )
        try:
            await self._pace()
            self.hedged = True
            return await self._request()
        finally:
            if slots:
                slots.release(key)

    async def _request(self) -> Attempt:
        limits = (self.time_left(), self.policy.timeout)
        limit = min((seconds for seconds in limits if seconds is not None), default=None)
        sent = self.transport.parameters(self.parameters, stream=self.request.on_chunk is not None)
        self._count()
        begun, scope = self.run.now(), expires_after(limit)
        received: list[str] = []
        try:
            async with scope:
                answers, response, known = await self._ask(sent, scope, received)
        except asyncio.CancelledError:
            self.usage += unanswered_usage(self.request.messages, received)
            raise
        except Exception as error:  # noqa: BLE001  # whatever an LLM raises becomes a record
            fault = self._late(begun) if expired(scope, error) else self._diagnosis(error, sent)
            if fault.kind in _PERHAPS_BILLED and fault.status is None and was_sent(error):
                self.usage += unanswered_usage(self.request.messages, received)
            return Attempt(fault=fault)
        self.usage += known or await self._estimate(answers)
        self.endpoint.usual.add(self.run.now() - begun)
        if self.request.samples > 1 and len(answers) == 1:
            self.transport.refuse(("n",))  # without a word
        return self._judged(answers, response)

    def _count(self) -> None:
        self.requests += 1

    async def _ask(
        self, sent: dict[str, Any], scope: Any, received: list[str]
    ) -> tuple[Sequence[Answer], ChatResponse | None, Usage | None]:
        messages, on_chunk = self.request.messages, self.request.on_chunk
        if on_chunk is None:
            response = await self.transport.chat(
                messages, sent, threaded=self.run.threaded, again=self._count
            )
            return read(response), response, read_usage(response)

        def pass_on(text: str, chunk: ChatResponse) -> None:
            received.append(text)
            self._mark(text, chunk.message)
            if self.policy.timeout is not None:  # a stream may take longer, as long as it goes on
                left = self.time_left()
                put_off(
                    scope, self.policy.timeout if left is None else min(left, self.policy.timeout)
                )
            on_chunk(text, chunk)

        streamed = await self.transport.stream(
            messages, sent, pass_on, threaded=self.run.threaded, again=self._count
        )
        answer = assembled(streamed.text, streamed.last, streamed.finish_reason)
        return (answer,), streamed.last, streamed.usage

    async def _estimate(self, answers: Sequence[Answer]) -> Usage:
        """In a thread: the tokenizer may take long to load, and long for a long prompt."""
        text = "".join(answer.thinking + answer.text for answer in answers)
        return await in_thread(partial(estimate_usage, self.request.messages, text))

    def _late(self, begun: float) -> Fault:
        return Fault(FailureKind.TIMEOUT, f"gave up after {self.run.now() - begun:.4g} s")

    def _mark(self, text: str, message: ChatMessage) -> None:
        if text and self.first_token is None:
            self.first_token = self.run.now()
        self.passed_on = (
            self.passed_on or bool(text) or any(b.block_type == "tool_call" for b in message.blocks)
        )

    def _judged(self, answers: Sequence[Answer], response: ChatResponse | None) -> Attempt:
        # The aggregator's answer is the user's: a cut one is better than none.
        truncated = "keep" if self.request.role == "aggregator" else self.policy.truncated
        kinds = [
            verdict(answer, tools=self.request.tools, truncated=truncated) for answer in answers
        ]
        useful = tuple(answer for answer, kind in zip(answers, kinds, strict=True) if kind is None)
        if useful or not kinds or kinds[0] is None:
            return Attempt(useful, response)
        return Attempt(response=response, fault=Fault(kinds[0], EXPLANATIONS[kinds[0]]))

    def _diagnosis(self, error: Exception, sent: dict[str, Any]) -> Fault:
        """What the error means; parameters that it refuses are not sent to this model any more."""
        transport = self.transport
        names = {*sent, *transport.sent_by_itself(), *transport.refused} - self._dropped
        fault = diagnose(error, names, transport.secrets)
        self._dropped.update(fault.refused)
        transport.refuse(fault.refused)
        return fault
