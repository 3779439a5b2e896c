"""A run: a recipe and a conversation in, events out.

y_i = aggregate-and-synthesize over the proposals A_ij(x_i), plus x_1; x_(i+1) = y_i (arXiv 2406.04692, section 2.2).
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from llama_index.core.base.llms.types import MessageRole

from llama_index.packs.mixture_of_agents._concurrency.buffer import Buffer
from llama_index.packs.mixture_of_agents._concurrency.tasks import stop
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._providers.redaction import redact
from llama_index.packs.mixture_of_agents._providers.structured import form_of
from llama_index.packs.mixture_of_agents.errors import BudgetExceeded, RunError
from llama_index.packs.mixture_of_agents.events import (
    AnswerDelta,
    Emit,
    Event,
    Listener,
    Proposal,
    RunFinished,
    RunStarted,
)
from llama_index.packs.mixture_of_agents.recipe import Layer
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .aggregation import Answered, Answering
from .budget import Spending
from .calls import RunState
from .job import Finished, Job, started
from .layers import Layers, Views


async def run(
    job: Job, listener: Emit | None = None, room: Callable[[], Awaitable[None]] | None = None
) -> Finished:
    """Run a job to its end.

    Args:
        job: the job.
        listener: called with each event as it occurs.
        room: awaited after each piece of a streamed answer, until the listener can take more.

    Raises:
        RunError: there is no answer; its ``result`` holds the run as far as it came.
    """
    return await _Run(job, listener, room).run()


class Happening:
    """An async iterator over the events of a job as they occur, then its ``Finished``.

    Closing it cancels every call in flight. A streamed answer waits until the pieces before have been read. It is not
    an async generator: a loop that ends would close it at the same time as the generator that reads it.

    Raises:
        RunError: there is no answer.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._events: Buffer[Event | None] = Buffer()
        self._task: asyncio.Future[Finished] | None = None
        self._over = False

    def __aiter__(self) -> "Happening":
        return self

    async def __anext__(self) -> Event | Finished:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = self._job.context.run(
                asyncio.ensure_future, run(self._job, self._events.put, self._events.room)
            )
            # None wakes the reader when the run has ended, however it ended.
            self._task.add_done_callback(lambda _: self._events.put(None))
        event = await self._events.get()
        if event is not None:
            return event
        self._over = True
        return await self._task

    async def aclose(self) -> None:
        """Stop the run and wait until it is over."""
        self._over = True
        if self._task:
            await stop([self._task])


def _reporting(happened: list[Event], readers: Sequence[Emit]) -> Emit:
    """Collects events and forwards them. It holds no reference to the run: that would create a cycle."""

    def emit(event: Event) -> None:
        if not isinstance(event, AnswerDelta):
            happened.append(event)
        for reader in readers:
            reader(event)

    return emit


class _Run:
    """One run: its layers, then its answer, and its first and last event."""

    def __init__(
        self, job: Job, listener: Emit | None, room: Callable[[], Awaitable[None]] | None
    ) -> None:
        self.job, self.recipe = job, job.recipe
        self.spending = Spending(job.recipe, job.caller, job.kwargs) if job.recipe.budget else None
        start, happened = started(job), list[Event]()
        listeners = Listeners(job.listeners, start) if job.listeners else None
        readers = (self.spending and self.spending.add, listeners and listeners.tell, listener)
        emit = _reporting(happened, [reader for reader in readers if reader])
        self.state = RunState(job, emit, start, happened, room)
        self.layers = Layers(self.state)
        self.answering = Answering(self.state, self.spending)

    async def run(self) -> Finished:
        emit, happened = self.state.emit, self.state.happened
        assert self.state.start
        emit(self.state.start)
        try:
            await self.job.caller.prepare(self.recipe.agents)
            self.answering.check_circuits()
            proposals = await self.propose() if self.fans_out() else ()
            answered = await self.answer(proposals)
        # A cancelled run has a last event too: traces and listeners count on one.
        except BaseException as error:
            problem = error.problem if isinstance(error, RunError) else _words(error)
            emit(RunFinished(self.state.now(), self.answering.partial, error=problem))
            if isinstance(error, RunError):
                error.result = MixtureResult(tuple(happened))
            raise
        emit(RunFinished(self.state.now(), answered.message, answered.agent))
        result = MixtureResult(tuple(happened))
        if result.degraded:
            _warn(result)
        return Finished(result, answered.response)

    def fans_out(self) -> bool:
        """Whether the layers are asked: always, never, or not after a tool's result, as the recipe says."""
        messages = self.job.messages
        of_user = bool(messages) and messages[-1].role == MessageRole.USER
        fan_out = self.recipe.fan_out
        return fan_out == "every_call" or (fan_out == "user_turns" and of_user)

    async def propose(self) -> tuple[Proposal, ...]:
        """Ask the layers one after the other, as long as time and budget last."""
        proposals: tuple[Proposal, ...] = ()
        for number, layer in enumerate(self.recipe.layers, 1):
            if proposals and self.layers.late:
                self.state.degrade(f"the deadline left no time for layer {number} and what follows")
                break
            views = await self.layers.views(number, layer, proposals)
            if not await self.affords(number, layer, views):
                self.go_without(number, proposals)
                break
            proposals, stop = await self.layers.ask(number, layer, views, proposals)
            if stop:
                break
        return proposals

    async def answer(self, proposals: tuple[Proposal, ...]) -> Answered:
        takes_tools = form_of(self.job.kwargs) or self.job.kwargs.get("tools")
        # Only the aggregator can call tools or fill in a schema, so a selection's winner cannot replace it then.
        final = self.layers.final and proposals and not takes_tools
        if self.recipe.aggregator is None or final:
            if not proposals:
                raise RunError("the last layer passed nothing on, and the recipe has no aggregator")
            return self.answering.stand_in(proposals[0])
        references = self.layers.references(len(self.recipe.layers) + 1, proposals)
        return await self.answering.answer(references, proposals)

    async def affords(self, number: int, layer: Layer, views: Views) -> bool:
        if self.spending is None:
            return True
        plans = await in_thread(partial(self.spending.plans, number, layer, views))
        return self.spending.covers(plans)

    def go_without(self, number: int, proposals: tuple[Proposal, ...]) -> None:
        problem = f"what is left of the budget does not reach for layer {number}"
        if self.recipe.aggregator is None and not proposals:
            raise BudgetExceeded(problem)
        self.state.degrade(problem)


def _words(error: BaseException) -> str:
    """What ended a run, in words, if it was not a ``RunError``."""
    cancelled = isinstance(error, asyncio.CancelledError)
    return "the run was cancelled" if cancelled else redact(f"{type(error).__name__}: {error}")


def _warn(result: MixtureResult) -> None:
    """Log why an answer is less than its recipe asked for: one warning a run, each cause once and counted."""
    if not _LOG.isEnabledFor(logging.WARNING):
        return
    reasons = Counter(re.sub(r"\blayer \d+", "a layer", reason) for reason in result.degraded)
    causes = [
        reason if count == 1 else f"{reason} ({count} times)" for reason, count in reasons.items()
    ]
    # Reversed, so that of several failures alike the first one is kept.
    first = {
        (failure.agent, failure.kind, failure.status): failure
        for failure in reversed(result.failures)
    }
    calls = Counter((failure.agent, failure.kind, failure.status) for failure in result.failures)
    for key, count in calls.items():
        agent, kind, status = key
        what = f"{kind.value} {status}" if status else kind.value
        times = "1 call" if count == 1 else f"{count} calls"
        causes.append(f"{agent}: {what} in {times}: {first[key].message}")
    _LOG.warning("the answer of run %s is degraded: %s", result.run_id, "; ".join(causes))


_LOG = logging.getLogger("llama_index.packs.mixture_of_agents")
_log = logging.getLogger(__name__)


class Listeners:
    """The listeners of one run. A listener that raises is dropped for the rest of the run, which continues."""

    def __init__(self, listeners: Iterable[Listener], run: RunStarted) -> None:
        self._listeners, self._run = tuple(listeners), run

    def tell(self, event: Event) -> None:
        """Pass an event on to all listeners."""
        for listener in self._listeners:
            try:
                listener(self._run, event)
            except Exception:  # noqa: BLE001, PERF203 - a user's code may raise anything
                self._listeners = tuple(one for one in self._listeners if one is not listener)
                _log.exception("%r failed; it hears no more of run %s", listener, self._run.run_id)
