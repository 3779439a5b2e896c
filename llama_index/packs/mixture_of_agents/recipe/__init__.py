"""What a mixture is: agents, layers, an aggregator, and the policies they run under."""

from llama_index.packs.mixture_of_agents.policies import Breaker, Budget, CallPolicy, Limits

from ._agents import Agent, Aggregator, Proposer
from ._recipe import Layer, Recipe, moa, recipe_metadata
from ._step import Arriving, Ask, Outlook, Selected, Selection, Step

__all__ = [
    "Agent",
    "Aggregator",
    "Arriving",
    "Ask",
    "Breaker",
    "Budget",
    "CallPolicy",
    "Layer",
    "Limits",
    "Outlook",
    "Proposer",
    "Recipe",
    "Selected",
    "Selection",
    "Step",
    "moa",
    "recipe_metadata",
]
