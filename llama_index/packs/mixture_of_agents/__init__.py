"""Mixture-of-Agents for LlamaIndex (arXiv 2406.04692)."""

from llama_index.packs.mixture_of_agents.base import MixtureOfAgentsPack
from llama_index.packs.mixture_of_agents.errors import (
    AggregatorFailed,
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    MixtureError,
    QuorumNotMet,
    RecipeError,
    RunError,
)
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.recipe import Aggregator, Layer, Proposer, Recipe, moa
from llama_index.packs.mixture_of_agents.result import MixtureResult

__all__ = [
    "Aggregator",
    "AggregatorFailed",
    "BudgetExceeded",
    "ConfigError",
    "DeadlineExceeded",
    "Layer",
    "MixtureError",
    "MixtureOfAgents",
    "MixtureOfAgentsPack",
    "MixtureResult",
    "Proposer",
    "QuorumNotMet",
    "Recipe",
    "RecipeError",
    "RunError",
    "moa",
]
