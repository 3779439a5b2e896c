"""``moa serve``: the mixture as an OpenAI-compatible API. Needs the extra ``server``."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .command import Flags, Trace, UsageError, command, say, tracing

if TYPE_CHECKING:
    from llama_index.core.llms.llm import LLM

    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .sources import Source

KEYS = "MOA_SERVER_KEYS"
_NEEDS = ("fastapi", "prometheus_client", "sse_starlette", "uvicorn")


Host = Annotated[str, Option("--host", help="The address to listen at.")]
Port = Annotated[int, Option("--port", min=0, max=65535, help="0 for a free one.")]
Name = Annotated[
    str | None, Option("--name", help="What clients call the model; else the recipe's name.")
]
Members = Annotated[bool, Option("--members", help="Serve the single models of the file too.")]
InFlight = Annotated[
    int | None, Option("--in-flight", min=1, help="Refuse more runs at once than this.")
]
Grace = Annotated[
    int, Option("--grace", min=0, help="Seconds that runs have to finish at the end.")
]
Origins = Annotated[
    list[str] | None,
    Option("--cors", metavar="ORIGIN", help="Let this web page's scripts ask; once for each."),
]
NoKeys = Annotated[bool, Option("--no-keys", help="Let everybody ask who can reach the address.")]


@command
def serve(
    models: Flags,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    name: Name = None,
    members: Members = False,
    in_flight: InFlight = None,
    grace: Grace = 10,
    origins: Origins = None,
    no_keys: NoKeys = False,
    trace: Trace = None,
) -> None:
    """Serve the mixture as an OpenAI-compatible API, or all mixtures of a file.

    The keys in MOA_SERVER_KEYS, comma separated, say who may ask. Without
    them, everybody on this machine may.
    """
    keys = _keys(host, no_keys=no_keys)
    import gc

    from llama_index.packs.mixture_of_agents import server

    from .sources import find_all

    mixtures, singles, origin = mixtures_of(find_all(models), name)
    served = {**mixtures, **singles, **mixtures} if members else mixtures
    app = server.create_app(
        served, members=singles, keys=keys, in_flight=in_flight, origins=origins or ()
    )
    plans = "\n".join(str(mixture.recipe) for mixture in mixtures.values())
    ready = partial(_announce, f"{plans}\nModels from {origin}.", list(served), bool(keys))
    with ExitStack() as stack:
        for mixture in mixtures.values():
            stack.enter_context(tracing(mixture, trace))
        gc.collect()
        gc.freeze()  # what is imported stays until the process ends
        server.serve(app, host=host, port=port, grace=grace, ready=ready)


def mixtures_of(
    sources: "Mapping[str, Source]", name: str | None
) -> "tuple[dict[str, MixtureOfAgents], dict[str, LLM], str]":
    """The mixtures by the names that clients use, their single models, and where they come from.

    Raises:
        ConfigError: A recipe makes no sense.
        UsageError: Two mixtures would have one name, or --name is given where names are there.
    """
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    if name and "" not in sources:
        raise UsageError("--name: the mixtures of the file have names")
    mixtures: dict[str, MixtureOfAgents] = {}
    models: dict[str, LLM] = {}
    for label, source in sources.items():
        recipe, found = source.with_models()
        called = label or name or recipe.name
        if called in mixtures:
            raise UsageError(f"two mixtures are called {called}; name the first one with --name")
        mixtures[called] = MixtureOfAgents(recipe)
        for each, llm in found.items():
            models.setdefault(each, llm)
    return mixtures, models, next(iter(sources.values())).origin


def _keys(host: str, *, no_keys: bool) -> list[str]:
    """Read the keys of those who may ask from the environment.

    Raises:
        UsageError: The extra is not installed, the variable holds no usable keys, or other machines could ask
            without a key.
    """
    if not all(map(find_spec, _NEEDS)):
        raise UsageError(
            'moa serve needs more: pip install "llama-index-packs-mixture-of-agents[server]"'
        )
    from llama_index.packs.mixture_of_agents.server.lifecycle import is_loopback

    given = os.environ.get(KEYS)
    keys = [key for one in (given or "").split(",") if (key := one.strip())]
    if given is not None and not keys:
        raise UsageError(f"{KEYS} is set and holds no key: set KEY,ANOTHER or unset it.")
    if not all(key.isascii() and key.isprintable() for key in keys):
        raise UsageError(f"{KEYS}: keys are of printable ASCII, which HTTP headers carry.")
    if keys or no_keys or is_loopback(host):
        return keys
    raise UsageError(
        f"{host} may be reached from other machines, and everybody there could ask at your expense. "
        f"Set keys in the environment (export {KEYS}=KEY,ANOTHER), or say --no-keys."
    )


def _announce(recipe: str, models: Sequence[str], keys: bool, address: str) -> None:
    """Say what is served, where, and how to ask."""
    import json
    import shlex

    served = f"model {models[0]}" if len(models) == 1 else f"models {', '.join(models)}"
    say(f"{recipe}\nListening at {address}/v1, {served}. Ctrl-C ends it. Ask it:")
    key = " -H 'Authorization: Bearer KEY'" if keys else ""
    body = json.dumps({"model": models[0], "messages": [{"role": "user", "content": "Why?"}]})
    kind = "-H 'Content-Type: application/json'"
    # Not wrapped to the terminal's width, so that it can be copied.
    print(f"curl {address}/v1/chat/completions {kind}{key} -d {shlex.quote(body)}", file=sys.stderr)
