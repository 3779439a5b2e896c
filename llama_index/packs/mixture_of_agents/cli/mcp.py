"""``moa mcp``: the mixtures as tools of an assistant. Needs the extra ``mcp``."""

from importlib.util import find_spec
from typing import Annotated

from typer import Option

from .command import Flags, Trace, UsageError, command, say
from .offer import Name, Tools, mixtures_of

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

    from llama_index.packs.mixture_of_agents.mcp_server import serve_stdio

    from .sources import find_all

    mixtures, _, origin = mixtures_of(find_all(models), name)
    with ExitStack() as stack:
        server = Tools(mixtures, max_cost, trace, stack)()
        plans = "\n".join(str(mixture.recipe) for mixture in mixtures.values())
        say(f"{plans}\nModels from {origin}. Waiting for an MCP client on standard input.")
        # A thread that reads standard input cannot be stopped: Ctrl-C ends the process as it is.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        asyncio.run(serve_stdio(server))
