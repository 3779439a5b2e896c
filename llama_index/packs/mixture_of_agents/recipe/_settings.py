"""The settings that ``moa`` and the presets take besides their own parameters, and the spellings of each."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from llama_index.packs.mixture_of_agents._checks import require, shown
from llama_index.packs.mixture_of_agents._messages.prompts import Placement
from llama_index.packs.mixture_of_agents.policies import Budget, CallPolicy, Limits

if TYPE_CHECKING:
    from llama_index.core.llms.llm import LLM

    from ._agents import Aggregator


class RecipeSettings(TypedDict, total=False):
    """The fields of ``Recipe`` that have a default, as keyword arguments; see ``Recipe``."""

    fallbacks: "Aggregator | LLM | Sequence[Aggregator | LLM]"
    or_best_proposal: bool
    name: str
    temperature: float | None
    max_tokens: int | None
    prompt: str
    placement: Placement
    fence: bool
    shuffle: bool
    fan_out: Literal["every_call", "user_turns"]
    call: CallPolicy
    deadline: float | None
    reserve: float
    budget: Budget | None
    limits: Limits
    prices: Mapping[str, tuple[float, float]]
    seed: int | None


class Policies(RecipeSettings, total=False):
    """The further settings of ``moa`` and the presets: fields of ``Recipe``, and of ``Layer`` for every layer."""

    quorum: int
    grace: float | None


SPELLINGS = {
    "num_layers": "layers",
    "timeout": "deadline",
    "reference_llms": "proposers",
    "reference_llm": "proposers",
    "llm": "aggregator",
}
"""The old pack's names of settings, and what each is called in a recipe."""


def respelled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names that a recipe has for them.

    Raises:
        RecipeError: one is given twice, under two names.
    """
    read: dict[str, Any] = {}
    for name, value in given.items():
        own = SPELLINGS.get(name, name)
        require(own not in read, name, shown(value), f"is the same as {own}: give one of them")
        read[own] = value
    return read


def check_names(owner: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise a RecipeError for a setting that does not exist; it names the nearest one that does."""
    for name in given:
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        require(name in known, name, "...", f"is no setting of {owner}: {meant}")
