"""Makes the requests of one call, within its limits and deadlines, and judges their answers."""

from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._concurrency.tasks import (
    expired,
    expires_after,
    hedged,
)
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents._providers.facts import output_limit
from llama_index.packs.mixture_of_agents._providers.faults import Fault, diagnose
from llama_index.packs.mixture_of_agents._providers.responses import (
    Answer,
    assembled,
    calls_tools,
    explained,
    read,
    usable,
)
from llama_index.packs.mixture_of_agents._providers.streams import OnChunk
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents._providers.usage import (
    estimate_usage,
    is_perhaps_billed,
    read_usage,
    unanswered_usage,
)
from llama_index.packs.mixture_of_agents.errors import FailureKind, LimiterUnavailable
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.recipe import CallPolicy

from .endpoint import Endpoint
from .request import Request, RunState, earliest
from .timed_task import TimedTask

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.limits import Ticket


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of an attempt: usable answers, or a fault.

    Attributes:
        answers: the usable answers.
        response: the LLM's own response, or None if it gave none.
        fault: what went wrong; None if there are usable answers.
        error: the exception that the fault stands for, if there was one.
    """

    answers: tuple[Answer, ...] = ()
    response: ChatResponse | None = None
    fault: Fault | None = None
    error: BaseException | None = None


Requested: TypeAlias = TimedTask[tuple[Attempt, Usage]]
"""The task of one request."""
_ENDS_THE_PROGRAM = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Whatever else an LLM raises ends its call alone, a ``CancelledError`` of its own included."""


@dataclass
class Spent:
    """What a call has used so far.

    Attributes:
        started: when the call began, on the run's clock.
        requests: the number of requests made.
        usage: the tokens of all requests; an estimate for a request that was given up. None before the first one.
        first_token: when the first piece of a streamed answer came, on the run's clock.
        passed_on: whether a part of a streamed answer has been passed on and so cannot be taken back.
        hedged: whether a second request was made because the first one was late.
    """

    started: float
    requests: int = 0
    usage: Usage | None = None
    first_token: float | None = None
    passed_on: bool = False
    hedged: bool = False

    def add(self, usage: Usage) -> None:
        """Count the tokens of a request."""
        self.usage = self.usage + usage if self.usage else usage

    @property
    def total(self) -> Usage:
        """The tokens and the number of all requests."""
        used, requests = self.usage or Usage(), self.requests
        return Usage(
            used.input_tokens, used.output_tokens, used.reasoning_tokens, used.cached_tokens, requests,
            used.estimated, used.cache_write_tokens,
        )  # fmt: skip


class Attempts:
    """Makes the attempts of one call.

    Args:
        request: what to ask.
        run: the state of the run.
        transport: the agent's LLM.
        endpoint: what all calls to its model share.
        policy: how the call is made.
        parameters: what is sent beside the messages.

    Attributes:
        spent: what the call has used so far.
        end: when the call must end, on the run's clock; None without a deadline.
    """

    def __init__(
        self, request: Request, run: RunState, transport: Transport, endpoint: Endpoint, policy: CallPolicy,
        parameters: dict[str, Any],
    ) -> None:  # fmt: skip
        self.request, self.run, self.transport, self.endpoint = request, run, transport, endpoint
        self.policy, self.parameters = policy, parameters
        self._dropped: frozenset[str] = frozenset()
        self._ticket: Ticket | None = None
        self.spent = Spent(run.now())
        own = None if policy.deadline is None else self.spent.started + policy.deadline
        self.end = earliest(own, run.job.recipe.deadline)

    def _time_left(self) -> float | None:
        """Seconds that the call may still take; None without a deadline."""
        return None if self.end is None else self.end - self.run.now()

    def make(self) -> Coroutine[Any, Any, Attempt]:
        """Make one attempt. An LLM's fault is part of what it returns, and never raised."""
        limited = self.endpoint.slots or self._is_paced
        return self._admitted() if limited else self._answered()

    async def _admitted(self) -> Attempt:
        """Make an attempt once all limits let it through."""
        left = self._time_left()
        scope = expires_after(left)
        with ExitStack() as held:
            try:
                async with scope:
                    for slots in self.endpoint.slots:
                        await slots.acquire(self.transport.key)
                        held.callback(slots.release, self.transport.key)
                    await self._pace()
            except LimiterUnavailable:
                raise  # nothing may be sent without limits, so the run cannot continue
            except Exception as error:  # noqa: BLE001  # a rate limiter may raise anything
                words = f"the limits did not let it through within {left or 0:.4g} s"
                late = Fault(FailureKind.TIMEOUT, words)
                return Attempt(fault=late if expired(scope, error) else self._diagnosis(error))
            return await self._answered()

    @property
    def _is_paced(self) -> bool:
        return self.endpoint.quota is not None or self.transport.limiter is not None

    async def _pace(self) -> None:
        """Wait until the endpoint's quota and the LLM's rate limiter admit all tokens that the request may use."""
        if not self._is_paced:
            return
        answer = output_limit(self.transport.original, self.parameters.get("max_tokens")) or 0
        sent = await in_thread(partial(tokens_of, self.request.messages))
        tokens = sent + answer * self.request.samples
        if self.transport.limiter is not None:
            await self.transport.pace(tokens, threaded=self.run.job.threaded)
        if self.endpoint.quota:
            self._ticket = await self.endpoint.quota.enter(tokens)

    def _answered(self) -> Coroutine[Any, Any, Attempt]:
        """Make one request, and a second one if the first is late and the policy asks for that."""
        # Only proposers: the pieces of an aggregator's answer may be on a screen already.
        after = self.policy.hedge_after if self.request.role == "proposer" else None
        if after == "usual":
            after = self.endpoint.usual.seconds
        if after is None:
            return self._request()
        return hedged(
            self._request, self._second_request, after, lambda attempt: attempt.fault is None
        )

    async def _second_request(self) -> Attempt:
        with ExitStack() as held:
            for slots in self.endpoint.slots:
                if not slots.try_acquire(self.transport.key):
                    words = "the limits left no room for a second request"
                    return Attempt(fault=Fault(FailureKind.TIMEOUT, words))
                held.callback(slots.release, self.transport.key)
            await self._pace()
            self.spent.hedged = True
            return await self._request()

    async def _request(self) -> Attempt:
        left = self._time_left()
        if left is not None and left <= 0:
            return Attempt(fault=Fault(FailureKind.TIMEOUT, "no time was left for this call"))
        task: Requested = TimedTask(earliest(left, self.policy.timeout))
        received: list[str] = []
        begun, ticket = self.run.now(), self._ticket
        self._count()
        try:
            asked, error = await task.outcome(self._ask(task, received))
        except BaseException:  # cancelled from outside
            self.spent.add(unanswered_usage(self.request.messages, received))
            raise
        seconds = self.run.now() - begun
        if asked:
            attempt, usage = asked
            self.spent.add(usage)
            self.endpoint.usual.add(seconds)
            if ticket:
                ticket.answered(seconds, usage.input_tokens + usage.output_tokens)
            return attempt
        try:
            late = Fault(FailureKind.TIMEOUT, f"gave up after {seconds:.4g} s")
            attempt = self._failed(error, late if task.expired else None, received)
            if ticket and attempt.fault:
                ticket.failed(attempt.fault.status, attempt.fault.retry_after)
            return attempt
        finally:
            error = None  # its traceback holds this frame

    def _failed(
        self, error: BaseException | None, late: Fault | None, received: list[str]
    ) -> Attempt:
        """Make the outcome of an attempt that raised an error. An error that ends the program is raised again."""
        assert error
        sent = self.request.messages
        if isinstance(error, _ENDS_THE_PROGRAM):
            self.spent.add(unanswered_usage(sent, received))
            raise error
        fault = late or self._diagnosis(error)
        if is_perhaps_billed(fault, error):
            self.spent.add(unanswered_usage(sent, received))
        return Attempt(fault=fault, error=error)

    def _count(self) -> None:
        self.spent.requests += 1

    async def _ask(self, task: Requested, received: list[str]) -> tuple[Attempt, Usage]:
        """Make one request and judge its answers. Whatever a response makes fail fails in here, and ends this call."""
        request, threaded = self.request, self.run.job.threaded
        # The aggregator's answer is the user's: a cut one is better than none.
        truncated = "keep" if request.role == "aggregator" else self.policy.truncated
        sent = self.transport.parameters(self.parameters, stream=request.on_chunk is not None)
        if request.on_chunk is None:
            response = await self.transport.chat(
                request.messages, sent, threaded=threaded, again=self._count
            )
            answers, usage = read(response), read_usage(response)
        else:
            pass_on = partial(self._pass_on, request.on_chunk, task, received)
            streamed = await self.transport.stream(
                request.messages, sent, pass_on, threaded=threaded, again=self._count
            )
            response, usage = streamed.last, streamed.usage
            answers = (assembled(streamed.text, response, streamed.finish_reason),)
        if request.samples > 1 and len(answers) == 1:
            self.transport.refuse(("n",))  # this server ignores n: it is not sent again
        elif request.samples > 1:
            self.transport.has_given_samples = True
        if self.run.job.recipe.budget:
            self._report_unlimited(sent)
        useful, kind = usable(answers, tools=request.tools, truncated=truncated)
        response = response and request.reads(response)
        fault = Fault(kind, explained(kind, answers[0])) if kind else None
        return Attempt(useful, response, fault), usage or await self._estimate(answers)

    def _report_unlimited(self, sent: dict[str, Any]) -> None:
        """Report a token limit that the budget counts on and that the model refuses."""
        run = self.run
        if self.parameters.get("max_tokens") and "max_tokens" not in sent:
            name = self.request.agent.name
            run.degrade(f"{name} refuses max_tokens, so its answer may exceed the budget")

    async def _pass_on(
        self,
        on_chunk: OnChunk,
        task: Requested,
        received: list[str],
        text: str,
        chunk: ChatResponse,
    ) -> None:
        received.append(text)
        self._mark(text, chunk.message)
        await self._unhurried(task, on_chunk(text, chunk))

    async def _unhurried(self, task: Requested, reading: Awaitable[None]) -> None:
        """Wait for the reader of a streamed answer. No limit counts this time, which is not the LLM's."""
        if self.end is None and self.policy.timeout is None:
            await reading
            return
        begun = self.run.now()
        # While the reader is slow no clock runs: the LLM is not late.
        task.put_off(None)
        await reading
        if self.end is not None:
            self.end += self.run.now() - begun
        # A stream may take longer than one request, as long as its pieces arrive.
        task.put_off(earliest(self._time_left(), self.policy.timeout))

    async def _estimate(self, answers: Sequence[Answer]) -> Usage:
        """Count tokens in a thread: loading the tokenizer takes time, and so does a long prompt."""
        text = "".join(answer.thinking + answer.text for answer in answers)
        return await in_thread(partial(estimate_usage, self.request.messages, text))

    def _mark(self, text: str, message: ChatMessage) -> None:
        spent = self.spent
        if text and spent.first_token is None:
            spent.first_token = self.run.now()
        spent.passed_on = spent.passed_on or bool(text) or calls_tools(message)

    def _diagnosis(self, error: BaseException) -> Fault:
        """Find out what an error means. Parameters that it refuses are not sent to this model again."""
        transport = self.transport
        sent = transport.parameters(self.parameters, stream=self.request.on_chunk is not None)
        names = {*sent, *transport.sent_by_itself(), *transport.refused} - self._dropped
        fault = diagnose(error, names, transport.secrets)
        self._dropped |= frozenset(fault.refused)
        transport.refuse(fault.refused)
        if fault.window:
            transport.learn_window(fault.window)
        return fault
