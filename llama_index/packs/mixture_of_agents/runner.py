"""The layered runner: a recipe and a conversation in, events out.

y_i = aggregate-and-synthesize over the proposals A_ij(x_i), plus x_1; x_(i+1) = y_i (arXiv 2406.04692, section 2.2).
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from .agents import kinds_taken
from .answers import answer_message
from .calls import Request, RunState
from .conversation import for_aggregator
from .errors import AggregatorFailed, DeadlineExceeded, RunError
from .events import (
    AnswerDelta,
    CallFinished,
    Degraded,
    Emit,
    Event,
    LayerFinished,
    LayerStarted,
    Proposal,
    RunFinished,
    RunStarted,
)
from .forms import audience, form_of, told, with_tool_calls
from .jobs import Finished, Job
from .prompts import add_system_prompt, inject, question_of, with_references
from .quorum import close, shortfall
from .recipe import Aggregator, Layer, Proposer, Step
from .result import MixtureResult
from .selecting import asking, select

_SHARED_KWARGS = ("temperature", "max_tokens", "top_p")
"""What a caller's keyword arguments say about sampling holds for the proposers too; the rest is the aggregator's."""


async def run(job: Job, listener: Emit | None = None) -> Finished:
    """Run a job to its end.

    Args:
        job: the job.
        listener: called with each event as it happens; None for nobody.

    Raises:
        RunError: there is no answer; its ``result`` tells how far the run came.
    """
    return await _Run(job, listener).run()


async def events(job: Job) -> AsyncGenerator[Event | Finished, None]:
    """The events of a job as they happen, and at the end what it gave. Closing this cancels every call in flight.

    Raises:
        RunError: there is no answer.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    task = job.context.run(asyncio.ensure_future, run(job, queue.put_nowait))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (event := await queue.get()) is not None:
            yield event
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Run:
    def __init__(self, job: Job, listener: Emit | None) -> None:
        self.job, self.recipe, self.listener = job, job.recipe, listener
        self.happened: list[Event] = []
        self.state = RunState(self.emit, job.threaded, job.recipe.deadline)
        deadline = job.recipe.deadline
        self.layers_end = None if deadline is None else deadline * (1 - job.recipe.reserve)
        self.shared = {name: job.kwargs[name] for name in _SHARED_KWARGS if name in job.kwargs}
        self.form = form_of(job.kwargs)
        self.audience = audience(job.messages, job.kwargs)
        self.addition, self.final = "", False
        self.memory: dict[str, Any] = {}

    def emit(self, event: Event) -> None:
        if not isinstance(event, AnswerDelta):
            self.happened.append(event)
        if self.listener:
            self.listener(event)

    def degrade(self, reason: str) -> None:
        self.emit(Degraded(reason, self.state.now()))

    async def run(self) -> Finished:
        recipe = self.recipe
        self.emit(
            RunStarted(
                uuid.uuid4().hex, time.time(), question_of(self.job.messages),
                tuple(tuple(p.name for p in layer.proposers) for layer in recipe.layers),
                recipe.aggregator.name if recipe.aggregator else "", dict(recipe.prices),
            )
        )  # fmt: skip
        try:
            references = await self.layers() if self.fans_out() else ()
            response, message, agent = await self.answer(references)
        except RunError as error:
            self.emit(RunFinished(self.state.now(), error=error.problem))
            error.result = MixtureResult(tuple(self.happened))
            raise
        self.emit(RunFinished(self.state.now(), message, agent))
        return Finished(MixtureResult(tuple(self.happened)), response)

    def fans_out(self) -> bool:
        messages = self.job.messages
        return self.recipe.fan_out == "every_call" or (
            bool(messages) and messages[-1].role == MessageRole.USER
        )

    async def layers(self) -> tuple[Proposal, ...]:
        references: tuple[Proposal, ...] = ()
        for number, layer in enumerate(self.recipe.layers, 1):
            if references and self.layers_end is not None and self.state.now() >= self.layers_end:
                self.degrade(f"the deadline left no time for layer {number} and those behind it")
                break
            references, stop = await self.layer(number, layer, references)
            if stop:
                break
        return references

    async def layer(
        self, number: int, layer: Layer, previous: tuple[Proposal, ...]
    ) -> tuple[tuple[Proposal, ...], bool]:
        self.emit(LayerStarted(number, tuple(p.name for p in layer.proposers), self.state.now()))
        bounds = (self.layers_end, layer.deadline and self.state.now() + layer.deadline)
        end = min((bound for bound in bounds if bound is not None), default=None)
        views = self.views(layer, previous)
        tasks = [asyncio.ensure_future(self.propose(number, *proposer, end)) for proposer in views]
        reason = await close(tasks, layer, end, self.state)
        proposals = tuple(p for task in tasks if not task.cancelled() for p in task.result())
        self.check_quorum(number, layer, len(proposals))
        self.addition = ""
        references, stop = await self.select(number, layer, proposals, previous)
        self.emit(LayerFinished(number, references, reason, self.state.now()))
        return references, stop

    def views(
        self, layer: Layer, previous: tuple[Proposal, ...]
    ) -> list[tuple[Proposer, list[ChatMessage]]]:
        """What each proposer is sent, rendered once for all that take the same kinds of content."""
        kinds = [
            self.audience.kinds(partial(kinds_taken, proposer)) for proposer in layer.proposers
        ]
        rendered = {
            kind: self.with_references(self.audience.view(kind), previous) for kind in set(kinds)
        }
        return [
            (proposer, rendered[kind])
            for proposer, kind in zip(layer.proposers, kinds, strict=True)
        ]

    async def propose(
        self, number: int, proposer: Proposer, messages: list[ChatMessage], end: float | None
    ) -> tuple[Proposal, ...]:
        messages = add_system_prompt(messages, proposer.system_prompt)
        wanted = proposer.samples
        if wanted > 1 and self.job.caller.transport(proposer).offers_samples:
            finished, _ = await self.call(number, proposer, messages, end, samples=wanted)
            if finished.failure or len(finished.proposals) > 1:
                return finished.proposals
            wanted -= len(finished.proposals)
        if proposer.samples == 1:
            return (await self.call(number, proposer, messages, end))[0].proposals
        names = [f"{proposer.name}#{proposer.samples - wanted + i + 1}" for i in range(wanted)]
        calls = (self.call(number, replace(proposer, name=name), messages, end) for name in names)
        return tuple(p for finished, _ in await asyncio.gather(*calls) for p in finished.proposals)

    async def call(
        self,
        number: int,
        proposer: Proposer,
        messages: list[ChatMessage],
        end: float | None,
        samples: int = 1,
    ) -> tuple[CallFinished, ChatResponse | None]:
        request = Request(proposer, "proposer", number, messages, self.shared, samples, until=end)
        return await self.job.caller.call(request, self.state)

    def check_quorum(self, number: int, layer: Layer, got: int) -> None:
        ended = [
            e
            for e in self.happened
            if isinstance(e, CallFinished) and e.layer == number and e.failure
        ]
        failures = [e.failure for e in sorted(ended, key=lambda e: e.call) if e.failure]
        late = self.layers_end is not None and self.state.now() >= self.layers_end
        missing = shortfall(number, layer, got, failures, late=late)
        if missing:
            self.degrade(missing)

    async def select(
        self,
        number: int,
        layer: Layer,
        proposals: tuple[Proposal, ...],
        previous: tuple[Proposal, ...],
    ) -> tuple[tuple[Proposal, ...], bool]:
        step = Step(
            tuple(self.audience.view()), number, layer.proposers, proposals, previous,
            asking(self.job.caller, self.state, number), partial(self.with_references, self.audience.view()),
            self.recipe.seed, self.memory,
        )  # fmt: skip
        selected = await select(layer.select, step, self.state)
        self.addition, self.final = selected.addition, selected.final
        return selected.references, selected.stop

    def with_references(
        self, messages: Sequence[ChatMessage], references: tuple[Proposal, ...]
    ) -> list[ChatMessage]:
        if not references:
            return list(messages)
        text = with_references(self.recipe.prompt, [reference.text for reference in references])
        text = f"{text}\n\n{self.addition}" if self.addition else text
        return inject(messages, text, self.recipe.placement)

    async def answer(
        self, references: tuple[Proposal, ...]
    ) -> tuple[ChatResponse | None, ChatMessage, str]:
        recipe = self.recipe
        if recipe.aggregator is None or (
            self.final and references and not self.form and not self.job.kwargs.get("tools")
        ):
            if not references:
                raise RunError("the last layer passed nothing on, and the recipe has no aggregator")
            return self.stand_in(references[0])
        failed: list[CallFinished] = []
        for aggregator in (recipe.aggregator, *recipe.fallbacks):
            if self.form and not self.form.suits(aggregator.llm):
                self.degrade(f"{aggregator.name} was not asked: it takes no tools")
                continue
            finished, response, message = await self.aggregate(aggregator, references)
            if response is not None:
                if failed:
                    self.degrade(f"{aggregator.name} answered in place of {recipe.aggregator.name}")
                return response, message, aggregator.name
            failed.append(finished)
            if finished.first_token is not None:
                break  # a part of this answer has already been passed on: another one cannot take its place
        if (
            recipe.or_best_proposal
            and references
            and not any(finished.first_token for finished in failed)
        ):
            self.degrade("every aggregator failed; the answer is the first reference")
            return self.stand_in(references[0])
        raise self.no_answer([finished.failure for finished in failed if finished.failure])

    def no_answer(self, failures: list[Any]) -> RunError:
        left = self.state.remaining()
        if left is not None and left <= 0:
            return DeadlineExceeded(
                f"no answer before the run's deadline of {self.recipe.deadline:g} s", failures
            )
        return AggregatorFailed("no aggregator gave an answer", failures)

    async def aggregate(
        self, aggregator: Aggregator, references: tuple[Proposal, ...]
    ) -> tuple[CallFinished, ChatResponse | None, ChatMessage]:
        recipe, form = self.recipe, self.form
        fallback, portable = aggregator is not recipe.aggregator, bool(recipe.fallbacks)
        conversation = for_aggregator(self.job.messages, fallback=fallback, portable=portable)
        messages = add_system_prompt(
            self.with_references(conversation, references), aggregator.system_prompt
        )
        messages, kwargs = told(aggregator.llm, messages, self.job.kwargs)

        def on_chunk(text: str, chunk: ChatResponse) -> None:
            self.emit(
                AnswerDelta(
                    text,
                    with_tool_calls(aggregator.llm, chunk) if form else chunk,
                    self.state.now(),
                )
            )

        request = Request(
            aggregator, "aggregator", len(recipe.layers) + 1, messages, kwargs,
            on_chunk=on_chunk if self.job.stream else None, tools=bool(kwargs.get("tools")),
        )  # fmt: skip
        finished, response = await self.job.caller.call(request, self.state)
        if form and response is not None:
            response = with_tool_calls(aggregator.llm, response)
        return (
            finished,
            response,
            answer_message(response, finished.proposals, streamed=self.job.stream),
        )

    def stand_in(self, reference: Proposal) -> tuple[None, ChatMessage, str]:
        """A proposal as the answer."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content=reference.text)
        if self.job.stream:
            response = ChatResponse(message=message, delta=reference.text)
            self.emit(AnswerDelta(reference.text, response, self.state.now()))
        return None, message, reference.agent
