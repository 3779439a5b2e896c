"""What is asked of a recipe, and what it gave."""

from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from .calls import Caller
from .recipe import Recipe
from .result import MixtureResult


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
        context: where the question was asked; a stream is read elsewhere, when its span may have ended.
    """

    recipe: Recipe
    caller: Caller
    messages: Sequence[ChatMessage]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stream: bool = False
    threaded: bool = False
    context: Context = field(default_factory=copy_context)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run gave: its result, and the aggregator's own response where one answered."""

    result: MixtureResult
    response: ChatResponse | None
