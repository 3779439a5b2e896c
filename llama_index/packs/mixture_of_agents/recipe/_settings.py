"""The settings that ``moa``, the presets, the pack and the mixture share, and other spellings of their names."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from typing_extensions import TypedDict

from llama_index.packs.mixture_of_agents._checks import require, shown
from llama_index.packs.mixture_of_agents._messages.prompts import Placement
from llama_index.packs.mixture_of_agents.errors import RecipeError
from llama_index.packs.mixture_of_agents.policies import Budget, CallPolicy, Limits

from ._agents import check_models

if TYPE_CHECKING:
    from llama_index.core.callbacks.base import CallbackManager
    from llama_index.core.llms.llm import LLM

    from ._agents import Aggregator, Proposer
    from ._recipe import Recipe
    from ._step import Selection

P = ParamSpec("P")


class _RunSettings(TypedDict, total=False):
    fallbacks: "Aggregator | LLM | Sequence[Aggregator | LLM]"
    or_best_proposal: bool
    name: str
    prompt: str
    placement: Placement
    fence: bool
    shuffle: bool
    fan_out: Literal["every_call", "user_turns", "never"]
    call: CallPolicy
    deadline: float | None
    reserve: float
    budget: Budget | None
    limits: Limits
    prices: Mapping[str, tuple[float, float]]
    seed: int | None


class _LayerSettings(TypedDict, total=False):
    quorum: int
    grace: float | None


class RecipeSettings(_RunSettings, total=False):
    """The fields of ``Recipe`` that have a default, as keyword arguments; see ``Recipe``."""

    temperature: float | None
    max_tokens: int | None


class Policies(RecipeSettings, _LayerSettings, total=False):
    """The further settings of ``moa`` and the presets: fields of ``Recipe``, and of ``Layer`` for every layer."""


class PackSettings(_RunSettings, _LayerSettings, total=False):
    """The further settings of ``MixtureOfAgentsPack``: its own parameters by their new names, and ``Policies``."""

    proposers: "Proposer | LLM | Iterable[Proposer | LLM]"
    layers: int
    select: "Selection | Sequence[Selection]"


class MixtureSettings(Policies, total=False):
    """The further settings of ``MixtureOfAgents``: what ``moa`` takes under all its names, and fields of ``LLM``."""

    aggregator: "Aggregator | LLM | None"
    reference_llms: "Proposer | LLM | Iterable[Proposer | LLM]"
    reference_llm: "Proposer | LLM | Iterable[Proposer | LLM]"
    layers: int
    num_layers: int
    timeout: float | None
    select: "Selection | Sequence[Selection]"
    system_prompt: str | None
    callback_manager: "CallbackManager"
    messages_to_prompt: Callable[..., str] | None
    completion_to_prompt: Callable[[str], str] | None
    output_parser: Any
    pydantic_program_mode: Any
    query_wrapper_prompt: Any
    rate_limiter: Any


SPELLINGS: Mapping[str, str] = {
    "num_layers": "layers",
    "timeout": "deadline",
    "reference_llms": "proposers",
    "reference_llm": "proposers",
    "llm": "aggregator",
}
"""The old pack's names of settings, and the name of each in a recipe."""


def respelled(given: Mapping[str, Any], spellings: Mapping[str, str] = SPELLINGS) -> dict[str, Any]:
    """Return settings under the names that a recipe has for them.

    Args:
        given: the settings by any of their names.
        spellings: other name -> name in the recipe.

    Raises:
        RecipeError: a setting is given twice, under two names.
    """
    read: dict[str, Any] = {}
    for name, value in given.items():
        own = spellings.get(name, name)
        require(own not in read, name, shown(value), f"is the same as {own}: give one of them")
        read[own] = value
    return read


def spelled(
    **own: str,
) -> Callable[[Callable[P, "Recipe"]], Callable[P, "Recipe"]]:
    """Decorate a preset: it takes other names of its parameters too, and refuses names that do not exist.

    Models that their classes do not know are refused together, in one error. A recipe is named after its preset unless
    ``name`` is given.

    Args:
        own: further names, beside ``SPELLINGS``: other name -> the parameter's name.

    Returns:
        The decorator.
    """

    def decorate(preset: Callable[P, "Recipe"]) -> Callable[P, "Recipe"]:
        parameters = signature(preset).parameters.values()
        named = {one.name for one in parameters if one.kind is not Parameter.VAR_KEYWORD}
        further = Policies.__annotations__ if len(named) < len(parameters) else {}
        spellings = {**SPELLINGS, **own}

        @wraps(preset)
        def checked(*args: P.args, **kwargs: P.kwargs) -> "Recipe":
            given: Any = respelled(kwargs, spellings)
            check_names(preset.__name__, given, [*named, *further])
            check_models((*args, *given.values()))
            name = {"name": preset.__name__} if further else {}
            make: Any = preset
            return make(*args, **{**name, **given})

        checked.__dict__["spellings"] = spellings
        return checked

    return decorate


def spellings_of(make: Callable[..., Any]) -> Mapping[str, str]:
    """Return the other names that a preset takes; none for a function without ``spelled``.

    Args:
        make: the preset.
    """
    return getattr(make, "spellings", {})


def check_names(owner: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse settings that do not exist.

    Args:
        owner: whose settings they are.
        given: their names.
        known: the names of the settings that exist.

    Raises:
        RecipeError: one does not exist; the error has the nearest name.
    """
    for name in given:
        if name not in known:
            from difflib import get_close_matches  # seldom needed

            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise RecipeError(name, "...", f"is not a setting of {owner}: {meant}")
