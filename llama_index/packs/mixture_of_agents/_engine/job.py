"""The input of a run, and its outcome."""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from llama_index.packs.mixture_of_agents._messages.digests import conversation_digest
from llama_index.packs.mixture_of_agents._messages.prompts import question_of
from llama_index.packs.mixture_of_agents.events import Listener, RunStarted
from llama_index.packs.mixture_of_agents.recipe import Recipe
from llama_index.packs.mixture_of_agents.result import RESULT_KEY, MixtureResult

from .calls import Caller


@dataclass(frozen=True, slots=True)
class Job:
    """One question to a recipe.

    Attributes:
        recipe: the recipe.
        caller: makes its calls.
        messages: the conversation; it is not changed.
        kwargs: the parameters of this run; tools among them are for the aggregator alone.
        stream: whether to stream the final answer.
        threaded: whether to ask every LLM that does not work on every loop in a thread, because the caller is sync.
        listeners: called with every event of the run.
        context: the context in which the question was asked. A stream may be read in another one, after its span
            has ended.
    """

    recipe: Recipe
    caller: Caller
    messages: Sequence[ChatMessage]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stream: bool = False
    threaded: bool = False
    listeners: tuple[Listener, ...] = ()
    context: Context = field(default_factory=copy_context)


@dataclass(frozen=True, slots=True)
class Finished:
    """The outcome of a run.

    Attributes:
        result: its result.
        response: the aggregator's own response; None if a proposal stands in for an answer.
    """

    result: MixtureResult
    response: ChatResponse | None

    def chat_response(self, delta: str | None = None) -> ChatResponse:
        """The answer as the mixture's own response, which carries the result.

        Args:
            delta: the last piece of a stream; None for a whole answer.
        """
        message = self.result.message or ChatMessage(role=MessageRole.ASSISTANT, content="")
        more = self.response.message.additional_kwargs if self.response else {}
        return ChatResponse(
            message=ChatMessage(role=message.role, blocks=message.blocks, additional_kwargs=more),
            delta=delta,
            additional_kwargs={RESULT_KEY: self.result},
        )


def started(job: Job) -> RunStarted:
    """The first event of a job's run."""
    recipe = job.recipe
    return RunStarted(
        uuid.uuid4().hex,
        time.time(),
        question_of(job.messages),
        tuple(tuple(p.name for p in layer.proposers) for layer in recipe.layers),
        recipe.aggregator.name if recipe.aggregator else "",
        dict(recipe.prices),
        conversation_digest(job.messages, job.kwargs.get("tools")),
    )
