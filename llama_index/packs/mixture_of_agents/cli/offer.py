"""What a server offers: mixtures by their names, as models and as MCP tools."""

from collections.abc import Mapping
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from .command import UsageError, say, tracing

if TYPE_CHECKING:
    from llama_index.core.llms.llm import LLM

    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .sources import Source

Name = Annotated[
    str | None, Option("--name", help="What clients call the model; by default the recipe's name.")
]


def mixtures_of(
    sources: "Mapping[str, Source]", name: str | None
) -> "tuple[dict[str, MixtureOfAgents], dict[str, LLM], str]":
    """The mixtures by the names that clients use, their single models, and where they come from.

    Raises:
        ConfigError: A recipe is not valid, or there is no such store of limits.
        UsageError: Two mixtures would have one name, or --name is given where names are there.
    """
    from llama_index.packs.mixture_of_agents.limits import connect
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    if name and "" not in sources:
        raise UsageError("--name: the mixtures of the file have names")
    mixtures: dict[str, MixtureOfAgents] = {}
    models: dict[str, LLM] = {}
    for label, source in sources.items():
        recipe, found = source.with_models()
        if recipe.limits.endpoints:
            connect(recipe.limits.store, {})  # a wrong store is an error now, not of each question
        called = label or name or recipe.name
        if called in mixtures:
            raise UsageError(f"two mixtures are called {called}; name the first one with --name")
        mixtures[called] = MixtureOfAgents(recipe)
        for each, llm in found.items():
            models.setdefault(each, llm)
    return mixtures, models, next(iter(sources.values())).origin


class Tools:
    """Makes an MCP server of mixtures. The SDK is imported when it is called.

    Args:
        mixtures: The mixtures by their names. They are not changed.
        usd: The US dollars that a question may cost. None: the default, if all prices are known.
        trace: The file that runs are appended to; None for none.
        stack: Closes the trace file.

    Raises:
        UsageError: The US dollars are no positive number.
    """

    def __init__(
        self,
        mixtures: "Mapping[str, MixtureOfAgents]",
        usd: float | None,
        trace: Path | None,
        stack: ExitStack,
    ) -> None:
        if usd is not None and not 0 < usd < inf:
            raise UsageError(f"--max-cost {usd:g}: say a positive number of US dollars")
        self._mixtures, self._usd = mixtures, usd
        self._trace, self._stack = trace, stack

    def check(self) -> None:
        """Check the user's bound.

        Raises:
            RecipeError: A price is not known.
        """
        if self._usd is not None:
            self._bounded()

    def __call__(self, admit: Any = None) -> Any:
        """Make the server.

        Args:
            admit: Surrounds each run; see ``mcp_server.create_server``.

        Raises:
            RecipeError: The user gave a bound, and the price of a model is not known.
        """
        from llama_index.packs.mixture_of_agents.mcp_server import create_server

        from ._template import version

        mixtures = self._bounded()
        for mixture in mixtures.values():
            self._stack.enter_context(tracing(mixture, self._trace))
        more = {"admit": admit} if admit else {}
        return create_server(mixtures, version=version(), **more)

    def _bounded(self) -> "dict[str, MixtureOfAgents]":
        return {name: bounded_mixture(name, one, self._usd) for name, one in self._mixtures.items()}


def bounded_mixture(name: str, mixture: "MixtureOfAgents", usd: float | None) -> "MixtureOfAgents":
    """The mixture with a budget for each question.

    Args:
        name: Its name.
        mixture: The mixture.
        usd: US dollars. None: the default, if all prices are known.

    Raises:
        RecipeError: The user gave a bound, and the price of a model is not known.
    """
    from llama_index.packs.mixture_of_agents.errors import RecipeError
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
    from llama_index.packs.mixture_of_agents.mcp_server import DEFAULT_USD, bounded

    try:
        return MixtureOfAgents(bounded(mixture.recipe, DEFAULT_USD if usd is None else usd))
    except RecipeError:
        if usd is not None:
            raise
        say(f"{name}: the price of a model is not known, so a question may cost any amount.")
        return mixture
