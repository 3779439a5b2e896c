"""``moa mcp``: the mixtures as tools of an assistant. Needs the extra ``mcp``."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .command import Flags, Trace, UsageError, command, say, tracing
from .serve import Name, mixtures_of

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

MaxCost = Annotated[
    float | None,
    Option(
        "--max-cost",
        help="US dollars that a question may cost at most. Without it, 0.50 where all prices are known.",
    ),
]


@command
def mcp(models: Flags, name: Name = None, max_cost: MaxCost = None, trace: Trace = None) -> None:
    """Offer the mixtures to an assistant as MCP tools, over stdio.

    The assistant starts this command itself. Its tools are ask, estimate and
    list_mixtures.
    """
    if not find_spec("mcp"):
        raise UsageError(
            'moa mcp needs more: pip install "llama-index-packs-mixture-of-agents[mcp]"'
        )
    import asyncio
    import signal
    from contextlib import ExitStack

    from llama_index.packs.mixture_of_agents import mcp_server

    from ._template import version
    from .sources import find_all

    found, _, origin = mixtures_of(find_all(models), name)
    mixtures = {called: _bounded(called, one, max_cost) for called, one in found.items()}
    plans = "\n".join(str(mixture.recipe) for mixture in mixtures.values())
    say(f"{plans}\nModels from {origin}. Waiting for an MCP client on standard input.")
    # A thread that reads standard input cannot be stopped: Ctrl-C ends the process as it is.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with ExitStack() as stack:
        for mixture in mixtures.values():
            stack.enter_context(tracing(mixture, trace))
        asyncio.run(mcp_server.serve_stdio(mcp_server.create_server(mixtures, version=version())))


def _bounded(name: str, mixture: "MixtureOfAgents", usd: float | None) -> "MixtureOfAgents":
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
