"""An LLM as the server asks it: the question, the model and the answer, in no API's format."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.function_calling import FormingLLM
from llama_index.packs.mixture_of_agents._providers.structured import form_of
from llama_index.packs.mixture_of_agents._reply import Reply, Respondent
from llama_index.packs.mixture_of_agents.errors import LimiterUnavailable, RunError
from llama_index.packs.mixture_of_agents.events import CallFinished, Event, RunStarted, Usage
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.policies import Limits
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of_call
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .answer_forms import OfferedTools, WantedSchema, arguments_of
from .api_keys import Charge
from .call_pieces import CallPiece, CallPieces
from .error_bodies import LLMFailed, Problem, Refused, invalid

SHOWN = ":shown"
"""Ends the name of a model whose layers a client wants to see at work."""
OnPiece: TypeAlias = Callable[[str | CallPiece], Awaitable[None]]
"""Takes a piece of an answer, of its text or of a tool call, and returns when there is room for more."""
Show: TypeAlias = Callable[[RunStarted, Event], str]
"""Writes an event of a mixture's run for the client; "" for an event that it need not see."""
_ENDLESS = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """A question to an LLM. It knows neither HTTP nor the API that the client speaks.

    Attributes:
        messages: the conversation.
        kwargs: the keyword arguments of the chat that the client has set.
        show: writes what the layers of a mixture do, if the client wants to see it.
    """

    messages: Sequence[ChatMessage]
    kwargs: dict[str, Any]
    show: Show | None = None

    @property
    def fills_in(self) -> bool:
        """Whether the answer fills in a schema and calls no tool of the client's."""
        return isinstance(self.kwargs.get("response_format"), WantedSchema)

    @property
    def may_fill_in(self) -> bool:
        """Whether a call of a tool may turn out to be the answer, in place of its text."""
        tools = self.kwargs.get("tools")
        return self.fills_in or (isinstance(tools, OfferedTools) and tools.with_schema)

    @property
    def streamed_calls(self) -> int:
        """The number of tool calls that can be streamed in pieces: none if a call may turn out to be the answer."""
        tools = self.kwargs.get("tools")
        if self.may_fill_in or not isinstance(tools, OfferedTools):
            return 0
        return _ENDLESS if tools.several else 1

    def read(
        self, text: str, calls: tuple[ToolCallBlock, ...]
    ) -> tuple[str, tuple[ToolCallBlock, ...]]:
        """The text and the calls that the client gets of those of an answer.

        Not every LLM class can limit an answer to one call, and some fill in a schema by calling a tool.
        """
        tools = self.kwargs.get("tools")
        if isinstance(tools, OfferedTools):
            return tools.answered(text, calls)
        return (arguments_of(calls[0]), ()) if calls and self.fills_in else (text, calls)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an LLM.

    Attributes:
        text: the text; of a streamed answer, the part that has not been sent. A schema that was filled in by calling
            a tool is JSON here.
        calls: the tools that it calls.
        finish_reason: the provider's word for why it stopped; "" if it gave none.
        usage: the tokens of the whole run; None if the provider reported none.
        cost: what they cost, as far as that is known.
        result: the run, if a mixture answered.
        reasoning: what the layers did, as the question's ``show`` writes it.
    """

    text: str
    calls: tuple[ToolCallBlock, ...]
    finish_reason: str
    usage: Usage | None
    cost: Cost
    result: MixtureResult | None
    reasoning: str = ""


class Model:
    """An LLM under the name that it is served by.

    Args:
        name: the name.
        llm: the LLM. It is not changed, and its retries and rate limits are its own.
        limits: see ``Respondent``.
    """

    def __init__(self, name: str, llm: LLM, limits: Sequence[Limits] = ()) -> None:
        self.name, self.llm, self.created = name, llm, int(time.time())
        self._respondent = Respondent(llm, limits=limits)

    def check(self, question: Question) -> None:
        """Check that the LLM can answer this.

        Raises:
            Refused: The LLM takes no tools.
        """
        form = form_of(question.kwargs)
        if form and not form.suits(self.llm):
            raise Refused(invalid(f"the model {self.name} takes no tools", "tools"))

    async def answer(
        self,
        question: Question,
        on_piece: OnPiece | None = None,
        show: Callable[[str], None] | None = None,
        charge: Charge | None = None,
    ) -> Answer:
        """Ask. Cancelling ends every request in flight.

        Args:
            question: what to ask.
            on_piece: awaited with each piece of a streamed answer; None asks for a whole one.
            show: called with what the layers of a mixture do, as the question's ``show`` writes it.
            charge: takes what each call of a mixture has cost, and what another LLM's answer has.

        Raises:
            RunError: A mixture has no answer.
            LLMFailed: Another LLM has none.
            LimiterUnavailable: The store of the limits cannot be reached.
        """
        calls = CallPieces(question.streamed_calls)
        voice = Voice(on_piece, calls, holds=question.may_fill_in) if on_piece else None
        on_chunk = voice.write if voice else None
        shown: list[str] = []
        try:
            respondent = self._watched(question.show, (shown.append, show), charge)
            reply = await respondent.ask(question.messages, question.kwargs, on_chunk)
        except (RunError, LimiterUnavailable):
            raise
        except Exception as error:
            if isinstance(self.llm, FormingLLM):
                raise
            raise LLMFailed(self._respondent.fault(error, question.kwargs)) from error
        text = voice.held if voice else reply.answer.text
        if charge and reply.result is None:
            charge(reply.cost)
        answer = self._answer(question, reply, text, "".join(shown))
        if voice:
            await voice.end(answer.text)
        return answer

    def _watched(
        self,
        write: Show | None,
        readers: Sequence[Callable[[str], object] | None],
        charge: Charge | None,
    ) -> Respondent:
        """The LLM with readers of what its layers do, if the client wants to see that, and of what its calls cost."""
        if not isinstance(self.llm, MixtureOfAgents) or not (write or charge):
            return self._respondent
        watched = self.llm.model_copy()

        def on_event(run: RunStarted, event: Event) -> None:
            if charge and isinstance(event, CallFinished):
                charge(cost_of_call(event, run))
            if write and (text := write(run, event)):
                for read in filter(None, readers):
                    read(text)

        watched.listen(on_event)
        return Respondent(watched)

    def _answer(self, question: Question, reply: Reply, text: str, reasoning: str) -> Answer:
        text, calls = question.read(text, reply.calls)
        return Answer(
            text, calls, reply.finish_reason, reply.usage, reply.cost, reply.result, reasoning
        )


def find(models: Mapping[str, Model], name: str) -> Model:
    """The model of that name, which may end with ``SHOWN``.

    Raises:
        Refused: There is none.
    """
    name = name if name in models else name.removesuffix(SHOWN)
    if name not in models:
        problem = f"The model {name!r} does not exist; there is {', '.join(models)}."
        raise Refused(Problem(404, problem, "model_not_found", "model"))
    return models[name]


class Voice:
    """Passes the pieces of a streamed answer on to the client.

    Args:
        on_piece: awaited with each piece.
        calls: cuts tool calls into pieces.
        holds: hold back text that is not JSON until the end. A tool may still be called to fill in a schema, and its
            arguments are the answer then.

    Attributes:
        held: the text that is held back.
    """

    def __init__(self, on_piece: OnPiece, calls: CallPieces, *, holds: bool) -> None:
        self._on_piece, self._calls, self._holds = on_piece, calls, holds
        self.held, self._begun = "", False

    async def write(self, text: str, chunk: ChatResponse) -> None:
        """A further piece of the answer's text, and the LLM's chunk that it came in."""
        self.held += text
        self._holds = self._holds and not self.held.lstrip().startswith(("{", "["))
        if self.held and not self._holds:
            ready, self.held, self._begun = self.held, "", True
            await self._on_piece(ready)
        for piece in self._calls.further(chunk.message.blocks):
            await self._on_piece(piece)

    async def end(self, text: str) -> None:
        """Send the whole text to a client that has received nothing of it."""
        if text and not self._begun:
            await self._on_piece(text)
