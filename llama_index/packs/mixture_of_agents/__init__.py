"""Mixture-of-Agents for LlamaIndex (arXiv 2406.04692).

A name is imported when it is first asked for: llama_index.core takes seconds to import, and a command's entry point
runs this file too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = ("errors", "recipe", "result", "llm", "base")
"""The files that these names come from, those that import least first."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        # Absolute: LlamaIndex also runs this file under another name, as a downloaded pack.
        for home in _HOMES:
            module = import_module(f"llama_index.packs.mixture_of_agents.{home}")
            if hasattr(module, name):
                value = globals()[name] = getattr(module, name)
                return value
    if name == "__version__":
        from importlib.metadata import version

        return version("llama-index-packs-mixture-of-agents")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
