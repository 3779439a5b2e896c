"""``moa serve``: the mixture as an OpenAI-compatible API. Needs the extra ``server``."""

import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .command import Flags, Trace, UsageError, command, say, tracing
from .offer import Name, Tools, mixtures_of

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.cache import SqliteKVStore
    from llama_index.packs.mixture_of_agents.config import Document
    from llama_index.packs.mixture_of_agents.server import ApiKey

KEYS = "MOA_SERVER_KEYS"
_NEEDS = ("fastapi", "prometheus_client", "sse_starlette", "uvicorn")


Host = Annotated[str, Option("--host", help="The address to listen at.")]
Port = Annotated[int, Option("--port", min=0, max=65535, help="0 for a free one.")]
Members = Annotated[bool, Option("--members", help="Serve the single models of the file too.")]
InFlight = Annotated[
    int | None, Option("--in-flight", min=1, help="The most runs at once; more are refused.")
]
Grace = Annotated[
    int, Option("--grace", min=0, help="Seconds that runs have to finish at the end.")
]
Origins = Annotated[
    list[str] | None,
    Option("--cors", metavar="ORIGIN", help="Let this web page's scripts ask; once for each."),
]
MaxCost = Annotated[
    float | None,
    Option(
        "--max-cost",
        help="US dollars that a question over MCP may cost. Without it, 0.50 where prices are known.",
    ),
]
Open = Annotated[bool, Option("--open", help="Open the page in a browser.")]
NoKeys = Annotated[bool, Option("--no-keys", help="Let everybody who can reach the address ask.")]
Store = Annotated[
    Path | None,
    Option(
        "--store",
        metavar="FILE",
        help="Keep conversations and limits in this SQLite file, so that they survive a restart.",
    ),
]
Workers = Annotated[int, Option("--workers", min=1, help="The number of processes.")]


@command
def serve(
    models: Flags, host: Host = "127.0.0.1", port: Port = 8000, name: Name = None, members: Members = False,
    in_flight: InFlight = None, grace: Grace = 10, origins: Origins = None, no_keys: NoKeys = False,
    store: Store = None, workers: Workers = 1, max_cost: MaxCost = None, open_page: Open = False, trace: Trace = None,
) -> None:  # fmt: skip
    """Serve the mixture as an OpenAI-compatible API, or all mixtures of a file.

    The keys in MOA_SERVER_KEYS, comma separated, say who may ask. Without
    them, everybody on this machine may.
    """
    bare = _environment_keys()
    with ExitStack() as stack:
        file = _shared_file(store, workers, in_flight, stack)
        import gc

        from llama_index.packs.mixture_of_agents import server
        from llama_index.packs.mixture_of_agents.server.lifecycle import is_loopback

        from .sources import find_all

        sources = find_all(models)
        keys = _keys(bare, next(iter(sources.values())).document, host, no_keys=no_keys)
        mixtures, singles, origin = mixtures_of(sources, name)
        served = {**mixtures, **singles, **mixtures} if members else mixtures
        plans = "\n".join(str(mixture.recipe) for mixture in mixtures.values())
        tools = _tools(Tools(mixtures, max_cost, trace, stack), max_cost)
        app = server.create_app(
            served, members=singles, keys=keys, in_flight=in_flight, origins=origins or (), mcp=tools,
            store=_opened(file, stack) if file else "memory", usage=file,
            recipes=not keys and is_loopback(host),  # who asks can then read the recipe's file as well
        )  # fmt: skip
        for mixture in mixtures.values():
            stack.enter_context(tracing(mixture, trace))
        text = f"{plans}\nModels from {origin}."
        ready = partial(_announce, text, list(served), bool(keys), bool(tools), open_page)
        gc.collect()
        gc.freeze()  # what is imported stays until the process ends
        server.serve(app, host=host, port=port, grace=grace, workers=workers, ready=ready)


def _shared_file(
    store: Path | None, workers: int, in_flight: int | None, stack: ExitStack
) -> Path | None:
    """The file of conversations and limits. Several workers share one, and a folder for their metrics.

    Raises:
        UsageError: There cannot be this number of workers.
    """
    if workers == 1:
        return store
    if not hasattr(os, "fork"):
        raise UsageError("--workers: this system cannot fork processes")
    if in_flight is not None and in_flight < workers:
        raise UsageError("--in-flight: give at least one for each of the --workers")
    folder = stack.enter_context(TemporaryDirectory(prefix="moa-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read when prometheus_client is imported
    return store or Path(folder, "store.sqlite3")


def _tools(tools: Tools, max_cost: float | None) -> Tools | None:
    """The tools if their extra is installed.

    Raises:
        RecipeError: The price of a model is not known, or the bound is not positive.
        UsageError: There is a bound and no extra.
    """
    if find_spec("mcp"):
        tools.check()
        return tools
    if max_cost is None:
        return None
    problem = 'MCP needs pip install "llama-index-packs-mixture-of-agents[mcp]"'
    raise UsageError(f"--max-cost: {problem}")


def _opened(path: Path, stack: ExitStack) -> "SqliteKVStore":
    """The file as a store, until the stack is closed.

    Raises:
        UsageError: It is no SQLite file, or cannot be opened.
    """
    from llama_index.packs.mixture_of_agents.cache import SqliteKVStore

    try:
        store = SqliteKVStore(path)
    except sqlite3.Error as error:
        raise UsageError(f"--store {path}: {error}") from error
    stack.callback(store.close)
    return store


def _environment_keys() -> list[str]:
    """Read the keys that have no name from the environment.

    Raises:
        UsageError: The extra is not installed, or the variable holds no usable keys.
    """
    if not all(map(find_spec, _NEEDS)):
        raise UsageError(
            'moa serve needs more: pip install "llama-index-packs-mixture-of-agents[server]"'
        )
    given = os.environ.get(KEYS)
    keys = [key for one in (given or "").split(",") if (key := one.strip())]
    if given is not None and not keys:
        raise UsageError(f"{KEYS} is set and holds no key: set KEY,ANOTHER or unset it.")
    if not all(key.isascii() and key.isprintable() for key in keys):
        raise UsageError(f"{KEYS}: keys are of printable ASCII, which HTTP headers carry.")
    return keys


def _keys(
    bare: list[str], document: "Document", host: str, *, no_keys: bool
) -> "list[str | ApiKey]":
    """All keys: those of the environment, and those that the file names.

    Raises:
        ConfigError: The file's table of keys is not valid.
        UsageError: Other machines could ask without a key.
    """
    from llama_index.packs.mixture_of_agents.config import server_keys
    from llama_index.packs.mixture_of_agents.server import ApiKey
    from llama_index.packs.mixture_of_agents.server.lifecycle import is_loopback

    named = [
        ApiKey(name, secret, table.requests_per_minute, table.usd_per_day)
        for name, (secret, table) in server_keys(document).items()
    ]
    secrets = {key.secret for key in named}
    keys = [*named, *(key for key in dict.fromkeys(bare) if key not in secrets)]
    if keys or no_keys or is_loopback(host):
        return keys
    raise UsageError(
        f"{host} may be reached from other machines, and everybody there could ask at your expense. "
        f"Set keys in the environment (export {KEYS}=KEY,ANOTHER), or say --no-keys."
    )


def _announce(
    recipe: str, models: Sequence[str], keys: bool, mcp: bool, open_page: bool, address: str
) -> None:
    """Say what is served, where, and how to ask; open the page if that is wanted."""
    import json
    import shlex

    served = f"model {models[0]}" if len(models) == 1 else f"models {', '.join(models)}"
    tools = f" MCP tools are at {address}/mcp." * mcp
    say(f"{recipe}\nListening at {address}/v1, {served}.{tools} Ctrl-C ends it.")
    say(f"Ask it at {address}/ or with:")
    key = " -H 'Authorization: Bearer KEY'" if keys else ""
    body = json.dumps({"model": models[0], "messages": [{"role": "user", "content": "Why?"}]})
    kind = "-H 'Content-Type: application/json'"
    # Not wrapped to the terminal's width, so that it can be copied.
    print(f"curl {address}/v1/chat/completions {kind}{key} -d {shlex.quote(body)}", file=sys.stderr)
    if open_page:
        _open(f"{address}/")


def _open(page: str) -> None:
    """Open the page in a browser, in a thread: a browser of the terminal would hold up the server."""
    import threading
    import webbrowser

    here = page.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    threading.Thread(target=webbrowser.open, args=(here,), daemon=True).start()
