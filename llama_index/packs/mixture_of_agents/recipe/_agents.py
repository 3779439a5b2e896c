"""Agents: LLMs with their settings."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, cast

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._checks import (
    MOST_SAMPLES,
    bound,
    changed,
    is_a,
    not_negative,
    of_kind,
    require,
    shown,
    whole,
)
from llama_index.packs.mixture_of_agents._providers.facts import derives_from, model_name, takes
from llama_index.packs.mixture_of_agents._providers.pickling import Packable
from llama_index.packs.mixture_of_agents._providers.readiness import check_model_name
from llama_index.packs.mixture_of_agents.errors import ConfigError, RecipeError
from llama_index.packs.mixture_of_agents.policies import CallPolicy


@dataclass(frozen=True, slots=True, repr=False)
class Agent(Packable):
    """An LLM with its settings.

    ``temperature``, ``max_tokens`` and ``call`` are the recipe's unless they are set here.

    Attributes:
        llm: any LlamaIndex LLM.
        name: its name in results and messages; by default its model's name.
        system_prompt: a persona, for example. It stands after the user's own system prompt and before the references.
        temperature: sent with every call.
        max_tokens: sent with every call. LlamaIndex's OpenAI class prefers the one given to its own constructor.
        kwargs: further parameters for the LLM's ``chat``.
        call: how its calls are made.
        takes: the kinds of content besides text that a proposer is sent: "image", "audio", "video", "document". A short
            word in brackets replaces the others. None: what its model is known to take. An aggregator is sent all kinds.

    Raises:
        RecipeError: ``llm`` is not an LLM, its class does not know its model, or a setting is not valid.
    """

    llm: LLM = field(repr=False)
    name: str = ""
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    call: CallPolicy | None = None
    takes: Sequence[str] | AbstractSet[str] | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        if not is_a(LLM, self.llm):
            raise RecipeError(f"{owner}.llm", shown(self.llm), _no_llm(self.llm))
        bound(owner, max_tokens=self.max_tokens)
        not_negative(owner, temperature=self.temperature)
        if self.call is not None:
            of_kind(f"{owner}.call", self.call, CallPolicy, "CallPolicy(timeout=30.0)")
        if self.takes is not None:
            named = is_a(Collection, self.takes) and not is_a(str, self.takes)
            require(named, f"{owner}.takes", self.takes, 'is not a list of kinds: say ["image"]')
        self._check_model()

    def _check_model(self) -> None:
        problem = _refusal(self.llm)
        require(not problem, f"{type(self).__name__}.llm", self.model, problem)

    @property
    def model(self) -> str:
        """The model's name."""
        return model_name(self.llm)

    def __repr__(self) -> str:
        settings = changed(self, but=("llm", "kwargs"))
        shown = [repr(self.model), *(f"{name}={value!r}" for name, value in settings.items())]
        return f"{type(self).__name__}({', '.join(shown)})"


def _refusal(llm: LLM) -> str:
    """Why an LLM's class would refuse every call: it does not know the model. "" if it would not."""
    # These classes look up their model in every call; since core 0.14.23 all of LlamaIndex's do.
    ours = type(llm).__module__.startswith("llama_index.llms.")
    if derives_from(llm, "openai") or (ours and hasattr(LLM, "to_payload")):
        try:
            check_model_name(llm, model_name(llm))
        except ConfigError as error:
            return str(error)
    return ""


def check_models(given: Iterable[object]) -> None:
    """Refuse all models that their classes do not know in one error. An agent alone refuses its own.

    Args:
        given: LLMs, lists of LLMs, and anything else, which is passed over.

    Raises:
        RecipeError: several models are not known; the error says what each may be called.
    """
    llms: list[LLM] = []
    for one in given:
        llms += (
            [x for x in many(one) if isinstance(x, LLM)]
            if isinstance(one, (list, tuple, LLM))
            else []
        )
    refused = {model_name(llm): problem for llm in llms if (problem := _refusal(llm))}
    if len(refused) > 1:
        lines = "".join(f"\n  - {problem}" for problem in refused.values())
        raise RecipeError("models", list(refused), f"their classes know no such models{lines}")


def many(one_or_more: Any) -> tuple[Any, ...]:
    """Return the items of a list, a tuple or an iterator; anything else as the only item.

    Args:
        one_or_more: the value.
    """
    several = isinstance(one_or_more, (list, tuple, Iterator))
    return tuple(cast("Iterable[Any]", one_or_more)) if several else (one_or_more,)


def _no_llm(given: object) -> str:
    """Why something is not an LLM, and what to give."""
    if isinstance(given, str):
        return f"is a text, not an LLM: give an object, such as OpenAI(model={given!r})"
    if isinstance(given, type):
        return f"is a class, not an LLM: give an object, such as {given.__name__}(model=...)"
    if given is None:
        return "is not a LlamaIndex LLM: is the variable set?"
    return "is not a LlamaIndex LLM"


@dataclass(frozen=True, slots=True, repr=False)
class Proposer(Agent):
    """An agent of a layer.

    Attributes:
        samples: the number of answers it gives. One request with ``n=`` asks for all where the LLM's API offers that.
    """

    samples: int = 1

    def __post_init__(self) -> None:
        # dataclass(slots=True) makes a new class, so the zero-argument super() would look in the wrong one
        Agent.__post_init__(self)
        whole("Proposer", 1, MOST_SAMPLES, samples=self.samples)


def kinds_taken(proposer: Proposer) -> Collection[str]:
    """Return the kinds of content besides text that a proposer is sent.

    Args:
        proposer: the proposer.
    """
    return takes(proposer.llm) if proposer.takes is None else proposer.takes


@dataclass(frozen=True, slots=True, repr=False)
class Aggregator(Agent):
    """The agent that writes the final answer."""
