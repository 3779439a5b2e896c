"""How any LLM is asked from outside of a mixture: by a batch, by the server. A mixture is one such LLM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import LLM

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

from .events import Usage
from .pricing import Cost, Prices, cost_of
from .result import RESULT_KEY, MixtureResult


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


class Respondent:
    """An LLM as it is asked from outside of a mixture. It is not changed, and its retries and rate limits are its own.

    Args:
        llm: The LLM.
        prices: The user's own prices, for an LLM that is no mixture: that has its own.
    """

    def __init__(self, llm: LLM, prices: Prices | None = None) -> None:
        self._llm, self._prices = llm, prices
        self._transport = Transport(llm, alone=True)

    @property
    def model(self) -> str:
        """The model's name."""
        return self._transport.key[1]

    async def ask(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        on_piece: OnChunk | None = None,
        *,
        threaded: bool = False,
    ) -> Reply:
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
        if on_piece is None:
            response = await transport.chat(messages, sent, threaded=threaded)
            return self._reply(read(response)[0], response, None)
        streamed = await transport.stream(messages, sent, on_piece, threaded=threaded)
        answer = assembled(streamed.text, streamed.last, streamed.finish_reason)
        return self._reply(answer, streamed.last, streamed.usage)

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
