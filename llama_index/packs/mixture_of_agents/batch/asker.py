"""One question of a batch to an LLM: an answer, whatever happens."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.responses import explained, verdict
from llama_index.packs.mixture_of_agents._providers.usage import (
    estimate_usage,
    is_perhaps_billed,
    unanswered_usage,
)
from llama_index.packs.mixture_of_agents._reply import Reply, Respondent
from llama_index.packs.mixture_of_agents.errors import (
    ConfigError,
    FailureKind,
    LimiterUnavailable,
    RunError,
)
from llama_index.packs.mixture_of_agents.events import CallFinished, RunStarted, Usage
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices, cost_of
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .outcomes import Answer
from .question import Question


class Asker:
    """Asks an LLM, and turns whatever happens into an answer.

    Args:
        llm: The LLM; a mixture, or any other.
        system: A system prompt for questions that have none.
        prices: The user's own prices, for an LLM that is not a mixture: a mixture has its own.
        details: Whether answers carry a mixture's proposals and calls.
        waits: Seconds to wait, time after time, for a mixture's provider that has worked and is down now.
        threaded: Ask an LLM that is not a mixture in threads, by its sync client: the caller is sync, and has no loop that
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
        self._respondent = Respondent(llm, prices)
        self._waits, self._has_worked = waits, False
        self._threaded = threaded and not isinstance(llm, MixtureOfAgents)
        self._system, self._details = system, details

    async def ask(self, question: Question) -> Answer:
        """Ask a question. Raises only if it is cancelled.

        If a mixture leaves a provider alone for a while (an open circuit) that has worked before, this waits for it.
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
            reply = await self._respondent.ask(messages, {}, threaded=self._threaded)
            answer = self._answered(question, messages, reply)
        except Exception as error:  # noqa: BLE001 - an LLM class may raise or return anything: it becomes a record
            answer = self._failed(question, messages, error)
        return replace(answer, seconds=time.perf_counter() - begun)

    def _answered(self, question: Question, messages: list[ChatMessage], reply: Reply) -> Answer:
        kind = verdict(reply.answer, truncated="keep")
        answer = Answer(
            question,
            reply.answer.text,
            self._respondent.model,
            reply.finish_reason,
            kind=kind,
            error=explained(kind, reply.answer) if kind else "",
        )
        if reply.result:
            return replace(answer, model=reply.result.answered_by, **self._of_run(reply.result))
        usage = reply.usage or estimate_usage(messages, answer.text)
        usage += Usage(requests=1)
        return replace(answer, usage=usage, cost=self._respondent.cost(usage))

    def _failed(self, question: Question, messages: list[ChatMessage], error: Exception) -> Answer:
        result = error.result if isinstance(error, RunError) else None
        if isinstance(error, RunError) and isinstance(result, MixtureResult):
            # A run may fail for several reasons: the most frequent one stands for it.
            kinds = Counter(failure.kind for failure in error.failures)
            kind = kinds.most_common(1)[0][0] if kinds else FailureKind.ERROR
            return Answer(question, kind=kind, error=str(error), **self._of_run(result))
        fault = self._respondent.fault(error)
        billed = is_perhaps_billed(fault, error)
        usage = unanswered_usage(messages, []) if billed else Usage()
        cost = self._respondent.cost(usage)
        fatal = isinstance(error, (ConfigError, LimiterUnavailable))
        return Answer(
            question, usage=usage, cost=cost, kind=fault.kind, error=fault.message, fatal=fatal
        )

    def _of_run(self, result: MixtureResult) -> dict[str, Any]:
        """What an answer says of the run that it comes from."""
        proposals = [
            {"layer": call.layer, "agent": proposal.agent, "text": proposal.text}
            for call in (result.calls if self._details else ())
            if call.role == "proposer"
            for proposal in call.proposals
        ]
        spent = {"usage": result.usage, "cost": result.cost}
        calls = [_call(call, result.run) for call in result.calls] if self._details else []
        known = {"degraded": result.degraded, "proposals": proposals, "calls": calls}
        return {**known, **spent}


def _call(call: CallFinished, run: RunStarted) -> dict[str, Any]:
    """A call as plain data, with what it took when it was made."""
    usage = call.usage + call.spared
    cost = cost_of(call.provider, call.model, usage, run.prices, run.time)
    known = cost.usd is not None and (usage.requests or not call.cached)
    return {
        "layer": call.layer,
        "agent": call.agent,
        "role": call.role,
        "model": call.model,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "requests": usage.requests,
        "cost_usd": float(cost.at_least) if known else None,
        "seconds": round(call.spared_seconds if call.cached else call.elapsed, 3),
        "cached": call.cached,
        "failed": call.failure is not None,
    }
