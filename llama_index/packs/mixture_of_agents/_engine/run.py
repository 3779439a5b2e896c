"""The layered runner: a recipe and a conversation in, events out.

y_i = aggregate-and-synthesize over the proposals A_ij(x_i), plus x_1; x_(i+1) = y_i (arXiv 2406.04692, section 2.2).
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llama_index.packs.mixture_of_agents._concurrency.tasks import stop
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._providers.faults import redact
from llama_index.packs.mixture_of_agents._providers.structured import audience, form_of
from llama_index.packs.mixture_of_agents.errors import BudgetExceeded, RunError
from llama_index.packs.mixture_of_agents.events import (
    AnswerDelta,
    CallFinished,
    Emit,
    Event,
    LayerFinished,
    LayerStarted,
    Listener,
    NoteTaken,
    Proposal,
    RunFinished,
    RunStarted,
)
from llama_index.packs.mixture_of_agents.recipe import Layer, Proposer, Recipe, Selection, Step
from llama_index.packs.mixture_of_agents.recipe._agents import kinds_taken
from llama_index.packs.mixture_of_agents.recipe._step import Briefing
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .aggregation import Answered, Answering, cut_words
from .budget import Spending
from .calls import Request, RunState
from .job import Finished, Job, started
from .layers import asking, close, select, shortfall
from .references import References, Rendering, chance_of, draw_tag

_SHARED_KWARGS = ("temperature", "max_tokens", "top_p")
"""What a caller's keyword arguments say about sampling holds for the proposers too; the rest is the aggregator's."""

Views = list[tuple[Proposer, list[ChatMessage]]]
"""Each proposer of a layer with the messages that it is sent."""


async def run(job: Job, listener: Emit | None = None) -> Finished:
    """Run a job to its end.

    Args:
        job: the job.
        listener: called with each event as it happens; None for nobody.

    Raises:
        RunError: there is no answer; its ``result`` tells how far the run came.
    """
    return await _Run(job, listener).run()


class Happening:
    """The events of a job as they happen, and at the end what it gave: an async iterator.

    Closing it cancels every call in flight. It is no async generator, since a loop that ends would close it and the
    generator that reads it at the same time.

    Raises:
        RunError: there is no answer.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._task: asyncio.Future[Finished] | None = None
        self._over = False

    def __aiter__(self) -> "Happening":
        return self

    async def __anext__(self) -> Event | Finished:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = self._job.context.run(
                asyncio.ensure_future, run(self._job, self._queue.put_nowait)
            )
            self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        event = await self._queue.get()
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
    """What keeps events and passes them on. It knows no run, or each would be kept until the collector comes."""

    def emit(event: Event) -> None:
        if not isinstance(event, AnswerDelta):
            happened.append(event)
        for reader in readers:
            reader(event)

    return emit


class _Run:
    def __init__(self, job: Job, listener: Emit | None) -> None:
        self.job, self.recipe = job, job.recipe
        self.spending = Spending(job.recipe, job.caller, job.kwargs) if job.recipe.budget else None
        self.start, self.happened = started(job), list[Event]()
        listeners = Listeners(job.listeners, self.start) if job.listeners else None
        readers = (self.spending and self.spending.add, listeners and listeners.tell, listener)
        self.emit = _reporting(self.happened, [reader for reader in readers if reader])
        self.state = RunState(self.emit, job.threaded, job.recipe.deadline, start=self.start)
        deadline = job.recipe.deadline
        self.layers_end = None if deadline is None else deadline * (1 - job.recipe.reserve)
        self.answering = Answering(job, self.state, self.spending)
        self.shared = {name: job.kwargs[name] for name in _SHARED_KWARGS if name in job.kwargs}
        self.audience = audience(job.messages, job.kwargs)
        self.addition, self.final = "", False
        self.memory: dict[str, Any] = {}

    async def run(self) -> Finished:
        self.emit(self.start)
        try:
            proposals = await self.layers() if self.fans_out() else ()
            answered = await self.answer(proposals)
        except BaseException as error:
            problem = error.problem if isinstance(error, RunError) else _words(error)
            self.emit(RunFinished(self.state.now(), self.answering.partial, error=problem))
            if isinstance(error, RunError):
                error.result = MixtureResult(tuple(self.happened))
            raise
        self.emit(RunFinished(self.state.now(), answered.message, answered.agent))
        return Finished(MixtureResult(tuple(self.happened)), answered.response)

    def fans_out(self) -> bool:
        messages = self.job.messages
        of_user = bool(messages) and messages[-1].role == MessageRole.USER
        return of_user or self.recipe.fan_out == "every_call"

    async def answer(self, proposals: tuple[Proposal, ...]) -> Answered:
        takes_tools = form_of(self.job.kwargs) or self.job.kwargs.get("tools")
        if self.recipe.aggregator is None or (self.final and proposals and not takes_tools):
            if not proposals:
                raise RunError("the last layer passed nothing on, and the recipe has no aggregator")
            return self.answering.stand_in(proposals[0])
        number = len(self.recipe.layers) + 1
        return await self.answering.answer(self.references(number, proposals), proposals)

    async def layers(self) -> tuple[Proposal, ...]:
        proposals: tuple[Proposal, ...] = ()
        for number, layer in enumerate(self.recipe.layers, 1):
            if proposals and self.layers_end is not None and self.state.now() >= self.layers_end:
                self.state.degrade(f"the deadline left no time for layer {number} and what follows")
                break
            views = await self.views(number, layer, proposals)
            if not await self.affords(number, layer, views):
                self.go_without(number, proposals)
                break
            proposals, stop = await self.layer(number, layer, views, proposals)
            if stop:
                break
        return proposals

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

    async def layer(
        self, number: int, layer: Layer, views: Views, previous: tuple[Proposal, ...]
    ) -> tuple[tuple[Proposal, ...], bool]:
        self.emit(LayerStarted(number, tuple(p.name for p in layer.proposers), self.state.now()))
        bounds = (self.layers_end, layer.deadline and self.state.now() + layer.deadline)
        end = min((bound for bound in bounds if bound is not None), default=None)
        calls = [call for view in views for call in self.calls(number, *view, end)]
        tasks = [asyncio.ensure_future(call) for call in calls]
        reason = await close(tasks, layer, end, self.state)
        proposals = tuple(p for task in tasks if not task.cancelled() for p in task.result())
        self.check_quorum(number, layer, len(proposals))
        selected, stop = await self.select(number, layer, proposals, previous)
        self.emit(LayerFinished(number, selected, reason, self.state.now()))
        return selected, stop

    def references(self, number: int, proposals: tuple[Proposal, ...]) -> References:
        """What the layer before has passed on, as layer ``number`` gets it."""
        texts = [proposal.text for proposal in proposals]
        references = References(texts, self.recipe, self.addition, number)
        if texts and self.recipe.shuffle:
            agents = [proposals[position].agent for position in references.order]
            self.emit(NoteTaken(number, "order", {"agents": agents}, self.state.now()))
        return references

    async def views(self, number: int, layer: Layer, previous: tuple[Proposal, ...]) -> Views:
        """What each proposer is sent, rendered once for all that take the same kinds of content."""
        references = self.references(number, previous)
        renderings: dict[frozenset[str], Rendering] = {}
        views: Views = []
        for proposer in layer.proposers:
            kinds = self.audience.kinds(partial(kinds_taken, proposer))
            if kinds not in renderings:
                renderings[kinds] = Rendering(
                    references.put(self.audience.view(kinds)), self.recipe
                )
            transport = self.job.caller.transport(proposer)
            messages = await renderings[kinds].for_agent(proposer, transport, self.shared)
            views.append((proposer, messages))
        cut = [agent for rendering in renderings.values() for agent in rendering.cut]
        if cut:
            self.state.degrade(cut_words(cut))
        return views

    def calls(
        self, number: int, proposer: Proposer, messages: list[ChatMessage], end: float | None
    ) -> list[Coroutine[Any, Any, tuple[Proposal, ...]]]:
        """A proposer's calls: one, or one per sample where one request cannot ask for several."""
        ask = partial(self.propose, number, messages=messages, end=end)
        transport, count = self.job.caller.transport(proposer), proposer.samples
        if count == 1:
            return [ask(proposer)]
        if transport.offers_samples:
            return [self.samples(ask, proposer)]
        return [ask(replace(proposer, name=f"{proposer.name}#{i}")) for i in range(1, count + 1)]

    async def samples(self, ask: Any, proposer: Proposer) -> tuple[Proposal, ...]:
        """Several answers by one request; where the server turns out to give but one, the others one by one."""
        got = await ask(proposer, samples=proposer.samples)
        if self.job.caller.transport(proposer).offers_samples:
            return got
        first = len(got) + 1
        names = [f"{proposer.name}#{i}" for i in range(first, proposer.samples + 1)]
        others = await asyncio.gather(*(ask(replace(proposer, name=name)) for name in names))
        return (*got, *(proposal for each in others for proposal in each))

    async def propose(
        self,
        number: int,
        proposer: Proposer,
        messages: list[ChatMessage],
        end: float | None,
        samples: int = 1,
    ) -> tuple[Proposal, ...]:
        request = Request(proposer, "proposer", number, messages, self.shared, samples, until=end)
        finished, _ = await self.job.caller.call(request, self.state)
        return finished.proposals

    def check_quorum(self, number: int, layer: Layer, got: int) -> None:
        ended = [e for e in self.happened if isinstance(e, CallFinished) and e.layer == number]
        failures = [e.failure for e in sorted(ended, key=lambda e: e.call) if e.failure]
        late = self.layers_end is not None and self.state.now() >= self.layers_end
        missing = shortfall(number, layer, got, failures, late=late)
        if missing:
            self.state.degrade(missing)

    async def select(
        self,
        number: int,
        layer: Layer,
        proposals: tuple[Proposal, ...],
        previous: tuple[Proposal, ...],
    ) -> tuple[tuple[Proposal, ...], bool]:
        self.addition = ""
        if not layer.select:
            return proposals, False
        conversation = self.audience.view()

        def put(references: tuple[Proposal, ...]) -> Briefing:
            texts = [reference.text for reference in references]
            return References(texts, self.recipe, self.addition, number).put(conversation)

        recipe = self.recipe
        tag = draw_tag(chance_of(recipe, f"judges of {number}")) if recipe.fence else ""
        step = Step(
            tuple(conversation), number, layer.proposers, proposals, previous,
            asking(self.job, self.state, number), put, recipe.seed, tag, self.memory,
        )  # fmt: skip
        selected = await select(_selections(recipe, layer), step, self.state)
        self.addition, self.final = selected.addition, selected.final
        return selected.references, selected.stop


def _selections(recipe: Recipe, layer: Layer) -> tuple[Selection, ...]:
    if not recipe.shuffle:
        return layer.select
    from llama_index.packs.mixture_of_agents.selection import (
        Shuffle,  # all selections take 10 ms to import, and few mixtures have one
    )

    return (Shuffle(), *layer.select)


def _words(error: BaseException) -> str:
    """What ended a run that no LLM's fault ended."""
    cancelled = isinstance(error, asyncio.CancelledError)
    return "the run was cancelled" if cancelled else redact(f"{type(error).__name__}: {error}")


_log = logging.getLogger(__name__)


class Listeners:
    """The listeners of one run. One that raises hears no more of it: who watches a run never breaks it."""

    def __init__(self, listeners: Iterable[Listener], run: RunStarted) -> None:
        self._listeners, self._run = tuple(listeners), run

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        for listener in self._listeners:
            try:
                listener(self._run, event)
            except Exception:  # noqa: BLE001, PERF203 - a user's code may raise anything
                self._listeners = tuple(one for one in self._listeners if one is not listener)
                _log.exception("%r failed; it hears no more of run %s", listener, self._run.run_id)
