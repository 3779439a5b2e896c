"""A mixture as a LlamaIndex Workflow, for servers of workflows.

One step asks the mixture. The layers are not steps: a fan-out through workflow events costs ten times the CPU.
"""

from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.workflow import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    step,  # pyright: ignore[reportUnknownVariableType]
)
from pydantic import Field, TypeAdapter

from llama_index.packs.mixture_of_agents._engine.run import Finished

from .events import AnswerDelta
from .llm import MixtureOfAgents

_PLAIN: TypeAdapter[Any] = TypeAdapter(Any)


class Ask(StartEvent):
    """The start of a run.

    Attributes:
        question: the question; it follows the messages.
        messages: the conversation so far.
    """

    question: str = ""
    messages: list[ChatMessage] = Field(default_factory=list[ChatMessage])


class Delta(Event):
    """A piece of the answer."""

    text: str


class Happened(Event):
    """Any other event of the run.

    Attributes:
        data: one of the events in ``events.py`` as plain JSON data; ``data["kind"]`` names it.
    """

    data: dict[str, Any]


class Answered(StopEvent):
    """The answer.

    Attributes:
        answer: its text.
        run: the run's ``MixtureResult`` as JSON, for ``MixtureResult.from_json``.
    """

    answer: str
    run: str


class MixtureOfAgentsWorkflow(Workflow):
    """A mixture as a workflow: ``Ask`` in, ``Delta`` and ``Happened`` as they come, ``Answered`` out.

    Args:
        llm: the mixture.
        timeout: seconds for a run; by default the recipe's deadline alone decides.
        settings: further parameters of LlamaIndex's ``Workflow``.
    """

    def __init__(self, llm: MixtureOfAgents, timeout: float | None = None, **settings: Any) -> None:
        super().__init__(timeout=timeout, **settings)
        self._llm = llm

    @step
    async def ask(self, ctx: Context, ev: Ask) -> Answered:
        """Ask the mixture.

        Args:
            ctx: the workflow's context, which the pieces of the answer are written to.
            ev: the question.

        Returns:
            The answer, and the run as JSON.

        Raises:
            RunError: there is no answer.
        """
        messages = [*ev.messages, *([ChatMessage(ev.question)] if ev.question else [])]
        happening = self._llm.happening(messages)
        finished: Finished | None = None
        try:
            async for event in happening:
                if isinstance(event, Finished):
                    finished = event
                elif isinstance(event, AnswerDelta):
                    ctx.write_event_to_stream(Delta(text=event.text))
                else:
                    ctx.write_event_to_stream(Happened(data=_PLAIN.dump_python(event, mode="json")))
        finally:
            await happening.aclose()
        assert finished
        return Answered(answer=finished.result.answer, run=finished.result.to_json())
