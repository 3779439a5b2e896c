"""An LLM as the server asks it, and what it answered."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.facts import (
    is_openai,
    model_name,
    provider_name,
)
from llama_index.packs.mixture_of_agents._providers.faults import diagnose
from llama_index.packs.mixture_of_agents._providers.function_calling import FormingLLM
from llama_index.packs.mixture_of_agents._providers.responses import finish_reason, get, read
from llama_index.packs.mixture_of_agents._providers.streams import Streamed
from llama_index.packs.mixture_of_agents._providers.structured import form_of, told, with_tool_calls
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents._providers.usage import read_usage
from llama_index.packs.mixture_of_agents.errors import RunError
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.llm import RESULT_KEY, MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .chat_request import OfferedTools, WantedSchema, forms_of, messages_of, parameters_of
from .chat_schema import ChatRequest
from .error_bodies import LLMFailed, Refused, invalid


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

    @property
    def fills_in(self) -> bool:
        """Whether the answer fills in a schema and calls no tool of the client's."""
        return isinstance(self.kwargs.get("response_format"), WantedSchema)

    def allowed(self, calls: tuple[ToolCallBlock, ...]) -> tuple[ToolCallBlock, ...]:
        """The calls of tools that one answer may hold: not every LLM can be told to call no more than one."""
        tools = self.kwargs.get("tools")
        return calls[:1] if isinstance(tools, OfferedTools) and not tools.several else calls


@dataclass(frozen=True, slots=True)
class Answer:
    """What an LLM answered.

    Attributes:
        text: the text, of a streamed answer what its client has not heard; a schema that was filled in by a call of a
            tool is JSON here.
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
        self._transport = Transport(llm, alone=True)

    def check(self, question: Question) -> None:
        """Whether the LLM can be asked this.

        Raises:
            Refused: it takes no tools, or none together with a schema.
        """
        form = form_of(question.kwargs)
        if form and not form.suits(self.llm):
            raise Refused(invalid(f"the model {self.name} takes no tools", "tools"))
        if isinstance(form, OfferedTools) and form.with_schema and not _takes_both(self.llm):
            problem = f"the model {self.name} takes tools or a schema, and not both in one request"
            raise Refused(invalid(problem, "response_format"))

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
        transport = self._transport.within(kwargs.get("max_tokens"))
        sent = transport.parameters(kwargs, stream=hear is not None)
        voice = Voice(hear, holds=question.fills_in) if hear else None
        try:
            said = await _ask(transport, messages, sent, voice)
        except RunError:
            raise
        except Exception as error:
            if isinstance(self.llm, FormingLLM):
                raise
            raise LLMFailed(diagnose(error, sent, transport.secrets)) from error
        answer = self._answer(question, said)
        if voice:
            voice.end(answer.text)
        return answer

    def _answer(self, question: Question, said: Streamed) -> Answer:
        text, reason, response = said.text, said.finish_reason, said.last
        if response is None:
            return Answer(text, (), reason, said.usage, Cost(), None)
        response = with_tool_calls(self.llm, response)
        blocks = response.message.blocks
        calls = question.allowed(tuple(b for b in blocks if isinstance(b, ToolCallBlock)))
        if calls and question.fills_in:
            text, calls = arguments_of(calls[0]), ()
        result: MixtureResult | None = get(response, "additional_kwargs", RESULT_KEY)
        if result:
            reason = result.finish_reason
            return Answer(text, calls, reason, result.usage, result.cost, result)
        usage = said.usage or read_usage(response)
        asked = provider_name(self.llm), model_name(self.llm)
        cost = cost_of(*asked, usage, {}, time.time()) if usage else Cost()
        return Answer(text, calls, reason or finish_reason(response.raw), usage, cost, None)


class Voice:
    """What a client hears of a streamed answer.

    Args:
        hear: called with each piece of its text.
        holds: hold back what is no JSON, until the end: a tool may yet be called to fill in a schema, and what that is
            called with is the answer then.

    Attributes:
        held: what is held back.
    """

    def __init__(self, hear: Callable[[str], None], *, holds: bool) -> None:
        self._hear, self._holds = hear, holds
        self.held, self._heard = "", False

    def say(self, text: str, _: object = None) -> None:
        """A further piece."""
        self.held += text
        self._holds = self._holds and not self.held.lstrip().startswith(("{", "["))
        if self.held and not self._holds:
            self.held, said, self._heard = "", self.held, True
            self._hear(said)

    def end(self, text: str) -> None:
        """The whole text, for a client that has heard nothing of it."""
        if text and not self._heard:
            self._hear(text)


async def _ask(
    transport: Transport, messages: Sequence[ChatMessage], sent: dict[str, Any], voice: Voice | None
) -> Streamed:
    """What an LLM says, whole or streamed; of a streamed text, what its client has not heard."""
    if voice:
        streamed = await transport.stream(messages, sent, voice.say, threaded=False)
        return replace(streamed, text=voice.held)
    response = await transport.chat(messages, sent, threaded=False)
    found = read(response)[0]
    return Streamed(found.text, response, found.finish_reason, None)


def arguments_of(call: ToolCallBlock) -> str:
    """A tool call's arguments as JSON."""
    told = call.tool_kwargs
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _takes_both(llm: LLM) -> bool:
    """Whether whoever may write the answer is told of tools and a schema as they were written (wanted.py)."""
    if not isinstance(llm, MixtureOfAgents):
        return is_openai(llm)
    writers = (llm.recipe.aggregator, *llm.recipe.fallbacks)
    return all(writer is not None and is_openai(writer.llm) for writer in writers)
