"""How any LLM is asked from outside of a mixture: by a batch, by the server. A mixture is one such LLM."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._messages.tokens import tokens_of
from llama_index.packs.mixture_of_agents._providers.facts import endpoint_key, output_limit
from llama_index.packs.mixture_of_agents._providers.faults import Fault, diagnose
from llama_index.packs.mixture_of_agents._providers.function_calling import FormingLLM
from llama_index.packs.mixture_of_agents._providers.responses import (
    Answer,
    assembled,
    finish_reason,
    get,
    read,
)
from llama_index.packs.mixture_of_agents._providers.streams import OnChunk
from llama_index.packs.mixture_of_agents._providers.structured import prepared_chat, with_tool_calls
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents._providers.usage import read_usage

from .errors import RETRYABLE, LimiterUnavailable
from .events import Usage
from .policies import CallPolicy, Limits
from .pricing import Cost, Prices, cost_of
from .result import RESULT_KEY, MixtureResult

if TYPE_CHECKING:
    from .limits import Quota

_RETRIES = CallPolicy()
"""How long to wait before a retry of an LLM that is not a mixture."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an LLM answered.

    Attributes:
        answer: Its text, thinking and finish reason.
        calls: The tools that it calls.
        finish_reason: The provider's word for why it stopped; "" if it gave none. Of a mixture, the aggregator's.
        usage: The tokens that the provider reported; of a mixture, those of the whole run. None if none were reported.
        cost: What these tokens cost.
        result: The run, if a mixture answered; else None.
    """

    answer: Answer
    calls: tuple[ToolCallBlock, ...]
    finish_reason: str
    usage: Usage | None
    cost: Cost
    result: MixtureResult | None


_Once: TypeAlias = Callable[[OnChunk | None], Coroutine[Any, Any, Reply]]
"""Makes one request."""


class _Passing:
    """Passes on the pieces of a streamed answer. What has been passed on cannot be taken back."""

    def __init__(self, on_piece: OnChunk) -> None:
        self._on_piece, self.has_passed = on_piece, False

    async def __call__(self, text: str, chunk: ChatResponse) -> None:
        self.has_passed = True
        await self._on_piece(text, chunk)


class Respondent:
    """An LLM as it is asked from outside of a mixture. It is not changed, and its retries and rate limits are its own.

    Args:
        llm: The LLM.
        prices: The user's own prices, for an LLM that is not a mixture: that has its own.
        limits: Limits of endpoints, for an LLM that is not a mixture: the first that name its endpoint hold for it. It is
            then retried here as often as it would retry by itself, so that each request counts.
    """

    def __init__(
        self, llm: LLM, prices: Prices | None = None, limits: Iterable[Limits] = ()
    ) -> None:
        self._llm, self._prices = llm, prices
        model = endpoint_key(llm)[:2]
        alone = not isinstance(llm, FormingLLM)
        self._limits = next((one for one in limits if alone and one.name_of(*model)), None)
        self._transport = Transport(llm, alone=self._limits is None)

    @property
    def model(self) -> str:
        """The model's name."""
        return self._transport.key[1]

    def ask(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        on_piece: OnChunk | None = None,
        *,
        threaded: bool = False,
    ) -> Coroutine[Any, Any, Reply]:
        """Ask the LLM. Cancelling ends every request in flight.

        Args:
            messages: The conversation.
            kwargs: Keyword arguments of the chat.
            on_piece: Receives each piece of a streamed answer; None asks for a whole answer.
            threaded: Ask in a thread, whichever event loop this is.

        Raises:
            RunError: A mixture has no answer.
            Exception: Whatever another LLM raises; see ``fault``.
        """
        sent = dict(kwargs)
        if not isinstance(self._llm, FormingLLM):
            messages, sent = prepared_chat(self._llm, messages, sent)
        transport = self._transport.within(sent.get("max_tokens"))
        sent = transport.parameters(sent, stream=on_piece is not None)
        once = partial(self._ask, transport, messages, sent, threaded=threaded)
        quota = self._quota()
        if quota is None:
            return once(on_piece)
        return self._in_turn(quota, once, messages, sent, on_piece)

    async def _ask(
        self,
        transport: Transport,
        messages: Sequence[ChatMessage],
        sent: dict[str, Any],
        on_piece: OnChunk | None,
        *,
        threaded: bool,
    ) -> Reply:
        if on_piece is None:
            response = await transport.chat(messages, sent, threaded=threaded)
            return self._reply(read(response)[0], response, None)
        streamed = await transport.stream(messages, sent, on_piece, threaded=threaded)
        answer = assembled(streamed.text, streamed.last, streamed.finish_reason)
        return self._reply(answer, streamed.last, streamed.usage)

    def _quota(self) -> "Quota | None":
        if self._limits is None:
            return None
        from .limits import quota_of

        return quota_of(self._limits, *self._transport.key[:2])

    async def _in_turn(
        self,
        quota: "Quota",
        once: _Once,
        messages: Sequence[ChatMessage],
        sent: Mapping[str, Any],
        on_piece: OnChunk | None,
    ) -> Reply:
        """Ask as the endpoint's quota allows, again after a failure that another attempt may cure."""
        tokens = await in_thread(partial(tokens_of, messages))
        tokens += output_limit(self._llm, sent.get("max_tokens")) or 0
        piece = on_piece and _Passing(on_piece)
        left, wait = getattr(self._llm, "max_retries", 0), _RETRIES.backoff
        while True:
            try:
                return await self._turn(quota, tokens, partial(once, piece))
            except LimiterUnavailable:
                raise
            except Exception as error:
                fault = self.fault(error, sent)
                pause = wait if fault.retry_after is None else fault.retry_after
                hopeless = fault.kind not in RETRYABLE or pause > _RETRIES.max_wait
                if hopeless or not left or (piece and piece.has_passed):
                    raise
            await asyncio.sleep(pause)
            left, wait = left - 1, min(2 * wait, _RETRIES.max_wait)

    async def _turn(
        self, quota: "Quota", tokens: int, once: Callable[[], Coroutine[Any, Any, Reply]]
    ) -> Reply:
        if self._transport.limiter is not None:
            await self._transport.pace(tokens, threaded=False)
        async with quota.turn(tokens) as ticket:
            begun = time.monotonic()
            try:
                reply = await once()
            except Exception as error:
                fault = self.fault(error)
                ticket.failed(fault.status, fault.retry_after)
                raise
            used = reply.usage.total_tokens if reply.usage else tokens
            ticket.answered(time.monotonic() - begun, used)
            return reply

    def fault(self, error: BaseException, kwargs: Mapping[str, Any] | None = None) -> Fault:
        """What an error of ``ask`` means, without secrets.

        Args:
            error: The error.
            kwargs: What was sent beside the messages.
        """
        return diagnose(error, kwargs or (), self._transport.secrets)

    def cost(self, usage: Usage) -> Cost:
        """What tokens cost, by the LLM's price of today."""
        provider, model, _ = self._transport.key
        return cost_of(provider, model, usage, self._prices)

    def _reply(self, answer: Answer, response: ChatResponse | None, usage: Usage | None) -> Reply:
        if response is None:
            return Reply(answer, (), answer.finish_reason, usage, Cost(), None)
        blocks = with_tool_calls(self._llm, response).message.blocks
        calls = tuple(block for block in blocks if isinstance(block, ToolCallBlock))
        result = get(response, "additional_kwargs", RESULT_KEY)
        if isinstance(result, MixtureResult):
            return Reply(answer, calls, result.finish_reason, result.usage, result.cost, result)
        usage = usage or read_usage(response)
        cost = self.cost(usage) if usage else Cost()
        reason = answer.finish_reason or finish_reason(response.raw)
        return Reply(answer, calls, reason, usage, cost, None)
