"""What is asked of a recipe, and what it gave."""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._messages.digests import conversation_digest
from llama_index.packs.mixture_of_agents._messages.prompts import question_of
from llama_index.packs.mixture_of_agents.events import Listener, RunStarted
from llama_index.packs.mixture_of_agents.recipe import Recipe
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .calls import Caller


@dataclass(frozen=True, slots=True)
class Job:
    """One question to a recipe.

    Attributes:
        recipe: the recipe.
        caller: what makes its calls.
        messages: the conversation; it is not changed.
        kwargs: parameters of this run; tools among them are for the aggregator alone.
        stream: whether the final answer is wanted piece by piece.
        threaded: ask every LLM in a thread, since the caller is sync.
        listeners: who hears of the run as it happens.
        context: where the question was asked; a stream is read elsewhere, when its span may have ended.
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
    """What a run gave: its result, and the aggregator's own response where one answered."""

    result: MixtureResult
    response: ChatResponse | None


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
