"""What a mixture is: agents, layers, an aggregator, and the policies they run under."""

from typing import TYPE_CHECKING, Any

from llama_index.packs.mixture_of_agents.policies import Breaker, Budget, CallPolicy, Limits

from ._agents import Agent, Aggregator, Proposer, kinds_taken, many
from ._patience import patient
from ._recipe import Layer, OneAggregator, OneProposer, Proposers, Recipe, moa, recipe_metadata
from ._recipe_prompts import prompts_of, with_prompts
from ._settings import (
    MixtureSettings,
    PackSettings,
    Policies,
    check_names,
    respelled,
    spelled,
    spellings_of,
)
from ._step import SELECTIONS, Arriving, Ask, Briefing, Outlook, Selected, Selection, Step

if TYPE_CHECKING:
    from ._estimate import Estimate

__all__ = [
    "SELECTIONS",
    "Agent",
    "Aggregator",
    "Arriving",
    "Ask",
    "Breaker",
    "Briefing",
    "Budget",
    "CallPolicy",
    "Estimate",
    "Layer",
    "Limits",
    "MixtureSettings",
    "OneAggregator",
    "OneProposer",
    "Outlook",
    "PackSettings",
    "Policies",
    "Proposer",
    "Proposers",
    "Recipe",
    "Selected",
    "Selection",
    "Step",
    "check_names",
    "kinds_taken",
    "many",
    "moa",
    "patient",
    "prompts_of",
    "recipe_metadata",
    "respelled",
    "spelled",
    "spellings_of",
    "with_prompts",
]


def __getattr__(name: str) -> Any:
    if name == "Estimate":  # many runs are never estimated
        from ._estimate import Estimate

        return Estimate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
