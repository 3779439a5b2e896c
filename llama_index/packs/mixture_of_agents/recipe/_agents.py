"""LLMs with their settings: what a recipe asks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._checks import (
    bound,
    is_a,
    not_negative,
    of_kind,
    shown,
    whole,
)
from llama_index.packs.mixture_of_agents._providers.facts import derives_from, model_name, takes
from llama_index.packs.mixture_of_agents._providers.models import check_model_name
from llama_index.packs.mixture_of_agents._providers.pickling import Packable
from llama_index.packs.mixture_of_agents.errors import ConfigError, RecipeError
from llama_index.packs.mixture_of_agents.policies import CallPolicy


@dataclass(frozen=True, slots=True)
class Agent(Packable):
    """An LLM with its settings. What is None is the recipe's, or, where that is None too, is not sent.

    Attributes:
        llm: any LlamaIndex LLM.
        name: what the agent is called in results and messages; by default its model's name.
        system_prompt: follows the user's own system prompt and precedes the references; a persona, for example.
        temperature: sent with every call.
        max_tokens: sent with every call. (LlamaIndex's OpenAI class prefers one given to its own constructor.)
        kwargs: further parameters for the LLM's ``chat``.
        call: how its calls are made, instead of the recipe's policy.
        takes: the kinds of content besides text that a proposer is sent ("image", "audio", "video", "document"); a
            short word in brackets stands for the others. None: what its model is known to take. An aggregator gets all.
    """

    llm: LLM = field(repr=False)
    name: str = ""
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    call: CallPolicy | None = None
    takes: Collection[str] | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        if not is_a(LLM, self.llm):
            raise RecipeError(f"{owner}.llm", shown(self.llm), _no_llm(self.llm))
        bound(owner, max_tokens=self.max_tokens)
        not_negative(owner, temperature=self.temperature)
        if self.call is not None:
            of_kind(f"{owner}.call", self.call, CallPolicy, "CallPolicy(timeout=30.0)")
        self._check_model()

    def _check_model(self) -> None:
        # These classes look up their model in every call (since core 0.14.23 all of LlamaIndex's do), and refuse it then.
        ours = type(self.llm).__module__.startswith("llama_index.llms.")
        if derives_from(self.llm, "openai") or (ours and hasattr(LLM, "to_payload")):
            try:
                check_model_name(self.llm, self.model)
            except ConfigError as error:
                field_name = f"{type(self).__name__}.llm"
                raise RecipeError(field_name, self.model, str(error)) from None

    @property
    def model(self) -> str:
        """The model's name."""
        return model_name(self.llm)


def _no_llm(given: object) -> str:
    """Why something is not an LLM, and what to give."""
    if isinstance(given, str):
        return f"is a text, not an LLM: give an object, such as OpenAI(model={given!r})"
    if isinstance(given, type):
        return f"is a class, not an LLM: give an object, such as {given.__name__}(model=...)"
    if given is None:
        return "is not a LlamaIndex LLM: is the variable set?"
    return "is not a LlamaIndex LLM"


@dataclass(frozen=True, slots=True)
class Proposer(Agent):
    """An agent of a layer.

    Attributes:
        samples: how many answers it gives; one request with ``n=`` where the LLM's API offers that.
    """

    samples: int = 1

    def __post_init__(self) -> None:
        # dataclass(slots=True) makes a new class, so the zero-argument super() would look in the wrong one
        Agent.__post_init__(self)
        whole("Proposer", 1, samples=self.samples)


def kinds_taken(proposer: Proposer) -> Collection[str]:
    """The kinds of content besides text that a proposer is sent."""
    return takes(proposer.llm) if proposer.takes is None else proposer.takes


@dataclass(frozen=True, slots=True)
class Aggregator(Agent):
    """The agent that writes the final answer."""
