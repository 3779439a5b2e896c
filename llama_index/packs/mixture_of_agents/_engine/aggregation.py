"""The final answer: aggregators are asked in turn until one succeeds."""

from dataclasses import dataclass, replace
from functools import partial

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.llms.llm import LLM
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents._checks import is_a
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents._messages.views import for_aggregator
from llama_index.packs.mixture_of_agents._providers.responses import (
    INCOMPLETE,
    answer_message,
    calls_tools,
    is_cut_off,
)
from llama_index.packs.mixture_of_agents._providers.structured import (
    form_of,
    prepared_chat,
    with_tool_calls,
)
from llama_index.packs.mixture_of_agents.errors import (
    AggregatorFailed,
    BudgetExceeded,
    DeadlineExceeded,
    Failure,
    RunError,
)
from llama_index.packs.mixture_of_agents.events import AnswerDelta, Proposal
from llama_index.packs.mixture_of_agents.recipe import Aggregator

from .budget import Plan, Spending
from .references import References, Rendering, cut_words
from .request import Request, RunState


@dataclass(frozen=True, slots=True)
class Answered:
    """The final answer.

    Attributes:
        message: the answer.
        agent: the name of the agent that wrote it.
        response: that agent's own response; None if a proposal stands in.
    """

    message: ChatMessage
    agent: str
    response: ChatResponse | None = None


class Answering:
    """Asks the aggregators of one run for its answer.

    Args:
        state: the run's state.
        spending: what the run has spent; None without a budget.

    Attributes:
        partial: the part of a streamed answer that arrived before it broke off.
    """

    def __init__(self, state: RunState, spending: Spending | None) -> None:
        self._state, self._job, self._spending = state, state.job, spending
        self._recipe, self._form = state.job.recipe, form_of(state.job.kwargs)
        self._failures: list[Failure] = []
        self._unaffordable: list[str] = []
        self._pieces: list[str] = []
        self._held = ""
        self._passed_on = False

    @property
    def partial(self) -> ChatMessage | None:
        text = "".join(self._pieces)
        return ChatMessage(role=MessageRole.ASSISTANT, content=text) if text else None

    def check_circuits(self) -> None:
        """Raise before anything is asked if no aggregator can be asked at the end.

        Nothing is raised if a selection or a proposal may take the place of the aggregator's answer.

        Raises:
            AggregatorFailed: the circuits of all aggregators are open, or they have no keys.
        """
        recipe = self._recipe
        selects = any(layer.select for layer in recipe.layers)
        if recipe.aggregator is None or recipe.or_best_proposal or selects:
            return
        failures = [self._job.caller.left_alone(one) for one in self._aggregators]
        if all(failures):
            layer = len(recipe.layers) + 1
            self._failures = [replace(failure, layer=layer) for failure in failures if failure]
            raise self._no_answer()

    @property
    def _aggregators(self) -> tuple[Aggregator, ...]:
        first, others = self._recipe.aggregator, self._recipe.fallbacks
        return (first, *others) if first else ()

    async def answer(self, references: References, proposals: tuple[Proposal, ...]) -> Answered:
        """Ask the aggregators in turn; if all fail, the first proposal may stand in for an answer.

        Args:
            references: what the aggregators read.
            proposals: the proposals of the last layer.

        Raises:
            RunError: there is no answer.
        """
        recipe = self._recipe
        assert recipe.aggregator
        for aggregator in self._aggregators:
            answered = await self._asked(aggregator, references)
            if answered:
                if aggregator is not recipe.aggregator:
                    name = recipe.aggregator.name
                    self._state.degrade(f"{aggregator.name} answered in place of {name}")
                return answered
            if self._passed_on:
                break  # the caller already has a part of this answer
        if recipe.or_best_proposal and proposals and not self._passed_on:
            self._state.degrade("every aggregator failed; the answer is the first reference")
            return self.stand_in(proposals[0])
        raise self._no_answer()

    def stand_in(self, proposal: Proposal) -> Answered:
        """Make the answer from a proposal."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content=proposal.text)
        if self._job.stream:
            chunk = ChatResponse(message=message, delta=proposal.text)
            self._state.emit(AnswerDelta(proposal.text, chunk, self._state.now()))
        return Answered(message, proposal.agent)

    async def _asked(self, aggregator: Aggregator, references: References) -> Answered | None:
        """The aggregator's answer, or None if it gave none."""
        if self._form and not self._form.suits(aggregator.llm):
            self._state.degrade(f"{aggregator.name} was not asked: it takes no tools")
            return None
        request = await self._request(aggregator, references)
        if self._spending:
            tokens = await in_thread(partial(tokens_of, request.messages))
            if not self._spending.covers([Plan(aggregator, tokens)]):
                self._unaffordable.append(aggregator.name)
                return None
        transport = self._job.caller.transport(aggregator)
        window = transport.window
        finished, response = await self._job.caller.call(request, self._state)
        if response is None and transport.window != window:  # the server has named a smaller one
            shorter = await self._request(aggregator, references)
            if shorter.messages != request.messages:
                finished, response = await self._job.caller.call(shorter, self._state)
        if response is None:
            self._failures += [finished.failure] if finished.failure else []
            return None
        if any(one.finish_reason == INCOMPLETE for one in finished.proposals):
            self._state.degrade(
                "the answer may be incomplete: its stream ended without a finish reason"
            )
        elif is_cut_off(finished.proposals):
            self._state.degrade("the answer was cut off at its token limit; raise max_tokens")
        message = answer_message(response, finished.proposals, streamed=self._job.stream)
        return Answered(message, aggregator.name, response)

    async def _request(self, aggregator: Aggregator, references: References) -> Request:
        job, recipe = self._job, self._recipe
        fallback, portable = aggregator is not recipe.aggregator, bool(recipe.fallbacks)
        conversation = for_aggregator(job.messages, fallback=fallback, portable=portable)
        rendering = Rendering(references.put(conversation), recipe)
        transport = job.caller.transport(aggregator)
        messages = await rendering.for_agent(aggregator, transport, job.kwargs)
        if rendering.cut:
            self._state.degrade(cut_words(rendering.cut))
        messages, kwargs = prepared_chat(aggregator.llm, messages, job.kwargs)
        return Request(
            aggregator, "aggregator", len(recipe.layers) + 1, messages, kwargs,
            on_chunk=partial(self._pass_on, aggregator.llm) if job.stream else None,
            reads=partial(self._read, aggregator.llm),
            tools=bool(kwargs.get("tools")),
        )  # fmt: skip

    def _read(self, llm: LLM, response: ChatResponse) -> ChatResponse:
        """The response with its tool calls as blocks. Raises here, within the call, if it is no chat message."""
        response = with_tool_calls(llm, response) if self._form else response
        message = response.message  # an LLM's class may return anything
        if not (is_a(ChatMessage, message) and all(is_a(BaseModel, x) for x in message.blocks)):
            answer_message(response, (), streamed=False)
        return response

    async def _pass_on(self, llm: LLM, text: str, chunk: ChatResponse) -> None:
        text = self._stripped(text)
        self._pieces.append(text)
        chunk = self._read(llm, chunk)
        self._passed_on = self._passed_on or bool(text) or calls_tools(chunk.message)
        self._state.emit(AnswerDelta(text, chunk, self._state.now()))
        if self._state.room:
            await self._state.room()

    def _stripped(self, text: str) -> str:
        """The piece without whitespace at the answer's start; whitespace at its end waits for more text."""
        text = self._held + text
        if not any(self._pieces):
            text = text.lstrip()
        kept = text.rstrip()
        self._held = text[len(kept) :]
        return kept

    def _no_answer(self) -> RunError:
        left = self._state.remaining()
        if left is not None and left <= 0:
            deadline = f"{self._recipe.deadline:g} s"
            problem = f"no answer before the run's deadline of {deadline}"
            return DeadlineExceeded(problem, self._failures)
        if self._passed_on:
            return AggregatorFailed("the answer broke off", self._failures)
        if self._unaffordable:
            names = ", ".join(self._unaffordable)
            return BudgetExceeded(
                f"what is left of the budget does not reach for {names}", self._failures
            )
        error = AggregatorFailed("no aggregator gave an answer", self._failures)
        error.retry_after = self._job.caller.retry_after(self._aggregators)
        return error
