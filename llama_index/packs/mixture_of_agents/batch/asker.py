"""One question of a batch to an LLM: an answer, whatever happens."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.faults import diagnose
from llama_index.packs.mixture_of_agents._providers.responses import EXPLANATIONS, read, verdict
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents._providers.usage import (
    estimate_usage,
    read_usage,
    unanswered_usage,
    was_sent,
)
from llama_index.packs.mixture_of_agents.errors import FailureKind, RunError
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.llm import RESULT_KEY, MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices, cost_of
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .outcomes import Answer
from .question import Question

_PERHAPS_BILLED = (FailureKind.TIMEOUT, FailureKind.CONNECTION, FailureKind.BAD_RESPONSE)


class Asker:
    """Asks an LLM.

    Args:
        llm: the LLM; a mixture, or any other.
        system: a system prompt for questions that have none.
        prices: the user's own prices, for an LLM that is no mixture: a mixture has its own.
        details: whether answers carry a mixture's proposals.
        waits: seconds to wait for a mixture's provider that has worked and does not now, time after time.
        threaded: ask an LLM that is no mixture in threads, by its sync client: the caller is sync, and has no loop that
            an async client could be bound to.
    """

    def __init__(
        self,
        llm: LLM,
        system: str = "",
        prices: Prices | None = None,
        *,
        details: bool = False,
        threaded: bool = False,
        waits: Sequence[float] = (5, 10, 20, 40, 60),
    ) -> None:
        self._transport = Transport(llm, alone=True)
        self._waits, self._has_worked = waits, False
        self._threaded = threaded and not isinstance(llm, MixtureOfAgents)
        self._system, self._prices, self._details = system, prices, details

    async def ask(self, question: Question) -> Answer:
        """Ask, and tell what became of it. Raises only what cancels it.

        A provider that has worked and that a mixture leaves alone for a while (an open circuit) is waited for.
        """
        answer = await self._once(question)
        for wait in self._waits:
            if answer.kind != FailureKind.CIRCUIT_OPEN or not self._has_worked:
                break
            await asyncio.sleep(wait)
            now = await self._once(question)
            answer = replace(now, usage=answer.usage + now.usage, cost=answer.cost + now.cost)
        self._has_worked = self._has_worked or answer.kind is None
        return answer

    async def _once(self, question: Question) -> Answer:
        begun = time.perf_counter()
        messages: list[ChatMessage] = []
        try:
            messages = question.conversation(self._system)
            response = await self._transport.chat(messages, {}, threaded=self._threaded)
            return self._answered(question, messages, response, time.perf_counter() - begun)
        except Exception as error:  # noqa: BLE001 - an LLM class may raise or return anything: it becomes a record
            return self._failed(question, messages, error, time.perf_counter() - begun)

    def _answered(
        self,
        question: Question,
        messages: list[ChatMessage],
        response: ChatResponse,
        seconds: float,
    ) -> Answer:
        told = read(response)[0]
        result: Any = response.additional_kwargs.get(RESULT_KEY)  # type: ignore[reportUnknownMemberType]
        kind = verdict(told, truncated="keep")
        error = EXPLANATIONS[kind] if kind else ""
        if isinstance(result, MixtureResult):
            return Answer(
                question, told.text, result.answered_by, result.finish_reason, result.degraded,
                result.usage, result.cost, seconds, kind, error, self._proposals(result),
            )  # fmt: skip
        provider, model, _ = self._transport.key
        usage = read_usage(response) or estimate_usage(messages, told.text)
        usage += Usage(requests=1)
        cost = cost_of(provider, model, usage, self._prices)
        return Answer(
            question, told.text, model, told.finish_reason, (), usage, cost, seconds, kind, error
        )  # fmt: skip

    def _failed(
        self, question: Question, messages: list[ChatMessage], error: Exception, seconds: float
    ) -> Answer:
        result = error.result if isinstance(error, RunError) else None
        if not isinstance(error, RunError) or not isinstance(result, MixtureResult):
            provider, model, _ = self._transport.key
            fault = diagnose(error, secrets=self._transport.secrets)
            billed = fault.kind in _PERHAPS_BILLED and fault.status is None and was_sent(error)
            usage = unanswered_usage(messages, []) if billed else Usage()
            cost = cost_of(provider, model, usage, self._prices)
            return Answer(
                question, usage=usage, cost=cost, seconds=seconds, kind=fault.kind, error=fault.message
            )  # fmt: skip
        kinds = Counter(failure.kind for failure in error.failures)
        kind = kinds.most_common(1)[0][0] if kinds else FailureKind.ERROR
        return Answer(
            question, "", "", "", result.degraded, result.usage, result.cost, seconds, kind,
            str(error), self._proposals(result),
        )  # fmt: skip

    def _proposals(self, result: MixtureResult) -> list[dict[str, Any]]:
        if not self._details:
            return []
        return [
            {"layer": call.layer, "agent": proposal.agent, "text": proposal.text}
            for call in result.calls
            if call.role == "proposer"
            for proposal in call.proposals
        ]
