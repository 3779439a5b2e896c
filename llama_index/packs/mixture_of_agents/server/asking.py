"""An LLM as the server asks it, and what it answered."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.answers import finish_reason, read
from llama_index.packs.mixture_of_agents.diagnosis import diagnose
from llama_index.packs.mixture_of_agents.errors import RunError
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.forming import FormingLLM
from llama_index.packs.mixture_of_agents.forms import form_of, told, with_tool_calls
from llama_index.packs.mixture_of_agents.llm import RESULT_KEY
from llama_index.packs.mixture_of_agents.llms import model_name, provider_name
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of
from llama_index.packs.mixture_of_agents.raw import get
from llama_index.packs.mixture_of_agents.result import MixtureResult
from llama_index.packs.mixture_of_agents.transport import Transport
from llama_index.packs.mixture_of_agents.usage import read_usage

from .problems import LLMFailed, Refused, invalid
from .reading import messages_of, parameters_of
from .request import ChatRequest
from .wanted import WantedSchema, forms_of


@dataclass(frozen=True, slots=True)
class Question:
    """What an LLM is asked.

    Attributes:
        messages: the conversation.
        kwargs: keyword arguments of the chat; those that the client has set.
    """

    messages: Sequence[ChatMessage]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, request: ChatRequest) -> "Question":
        """What a request asks.

        Raises:
            Refused: it cannot be read.
        """
        return cls(messages_of(request), {**parameters_of(request), **forms_of(request)})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an LLM answered.

    Attributes:
        text: the text; a schema that was filled in by a call of a tool is JSON here.
        calls: the tools that it calls.
        finish_reason: the provider's word for why it stopped; "" where it gave none.
        usage: tokens of the whole run; None where nobody told.
        cost: what they cost, as far as that is known.
        result: the run, where a mixture answered.
    """

    text: str
    calls: tuple[ToolCallBlock, ...]
    finish_reason: str
    usage: Usage | None
    cost: Cost
    result: MixtureResult | None


class Model:
    """An LLM under the name that it is served by.

    Args:
        name: the name.
        llm: the LLM. It is not changed, and its retries and rate limits are its own.
    """

    def __init__(self, name: str, llm: LLM) -> None:
        self.name, self.llm, self.created = name, llm, int(time.time())
        self._transport = Transport(llm)
        self._transport.llm = llm  # nobody here sees to what the engine takes from its members

    def check(self, question: Question) -> None:
        """Whether the LLM can be asked this.

        Raises:
            Refused: it takes no tools.
        """
        form = form_of(question.kwargs)
        if form and not form.suits(self.llm):
            raise Refused(invalid(f"the model {self.name} takes no tools", "tools"))

    async def answer(self, question: Question, hear: Callable[[str], None] | None = None) -> Answer:
        """Ask. Cancelling ends every request in flight.

        Args:
            question: what to ask.
            hear: called with each piece of a streamed answer's text; None asks for a whole one.

        Raises:
            RunError: a mixture has no answer.
            LLMFailed: another LLM has none.
        """
        messages, kwargs = question.messages, question.kwargs
        if not isinstance(self.llm, FormingLLM):
            messages, kwargs = told(self.llm, messages, kwargs)
        schema = isinstance(question.kwargs.get("response_format"), WantedSchema)
        sent = self._transport.parameters(kwargs, stream=hear is not None)
        try:
            if hear is None:
                response = await self._transport.chat(messages, sent, threaded=False)
                found = read(response)[0]
                return self._answer(response, found.text, found.finish_reason, None, schema)
            streamed = await self._transport.stream(
                messages, sent, lambda text, _: hear(text) if text else None, threaded=False
            )
        except RunError:
            raise
        except Exception as error:
            if isinstance(self.llm, FormingLLM):
                raise
            raise LLMFailed(diagnose(error, sent, self._transport.secrets)) from error
        answer = self._answer(
            streamed.last, streamed.text, streamed.finish_reason, streamed.usage, schema
        )
        if answer.text and not streamed.text:  # a schema that was filled in by a call of a tool
            hear(answer.text)
        return answer

    def _answer(
        self,
        response: ChatResponse | None,
        text: str,
        reason: str,
        usage: Usage | None,
        schema: bool,
    ) -> Answer:
        if response is None:
            return Answer(text, (), reason, usage, Cost(), None)
        response = with_tool_calls(self.llm, response)
        calls = tuple(b for b in response.message.blocks if isinstance(b, ToolCallBlock))
        if schema and calls and not text:
            text, calls = arguments_of(calls[0]), ()
        result: MixtureResult | None = get(response, "additional_kwargs", RESULT_KEY)
        if result:
            return Answer(text, calls, _reason(result), result.usage, result.cost, result)
        usage = usage or read_usage(response)
        asked = provider_name(self.llm), model_name(self.llm)
        cost = cost_of(*asked, usage, {}, time.time()) if usage else Cost()
        return Answer(text, calls, reason or finish_reason(response.raw), usage, cost, None)


def arguments_of(call: ToolCallBlock) -> str:
    """A tool call's arguments as JSON."""
    told = call.tool_kwargs
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _reason(result: MixtureResult) -> str:
    """Why the writer of a mixture's answer stopped."""
    writers = [call for call in result.calls if call.role == "aggregator" and call.proposals]
    return writers[-1].proposals[0].finish_reason if writers else ""
