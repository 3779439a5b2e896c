"""``moa serve``: the mixture as an OpenAI-compatible API. Needs the extra ``server``."""

import os
import sys
from functools import partial
from importlib.util import find_spec
from typing import Annotated

from typer import Option

from .command import Flags, Trace, UsageError, command, say, tracing

KEYS = "MOA_SERVER_KEYS"
_NEEDS = ("fastapi", "prometheus_client", "sse_starlette", "uvicorn")


Host = Annotated[str, Option("--host", help="The address to listen at.")]
Port = Annotated[int, Option("--port", min=0, max=65535, help="0 for a free one.")]
Name = Annotated[
    str | None, Option("--name", help="What clients call the model; else the recipe's name.")
]
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
    in_flight: InFlight = None,
    grace: Grace = 10,
    origins: Origins = None,
    no_keys: NoKeys = False,
    trace: Trace = None,
) -> None:
    """Serve the mixture as an OpenAI-compatible API.

    The keys in MOA_SERVER_KEYS, comma separated, say who may ask. Without
    them, everybody on this machine may.
    """
    keys = _keys(host, no_keys=no_keys)
    import gc

    from llama_index.packs.mixture_of_agents import server
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .sources import find

    source = find(models)
    mixture = MixtureOfAgents(source.recipe())
    model = name or mixture.recipe.name
    app = server.create_app({model: mixture}, keys=keys, in_flight=in_flight, origins=origins or ())
    models_line = f"{mixture.recipe}\nModels from {source.origin}."
    ready = partial(_announce, models_line, model, bool(keys))
    with tracing(mixture, trace):
        gc.collect()
        gc.freeze()  # what is imported stays until the process ends
        server.serve(app, host=host, port=port, grace=grace, ready=ready)


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


def _announce(recipe: str, model: str, keys: bool, address: str) -> None:
    """Say what is served, where, and how to ask."""
    import json
    import shlex

    say(f"{recipe}\nListening at {address}/v1, model {model}. Ctrl-C ends it. Ask it:")
    key = " -H 'Authorization: Bearer KEY'" if keys else ""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Why?"}]})
    kind = "-H 'Content-Type: application/json'"
    # Not wrapped to the terminal's width, so that it can be copied.
    print(f"curl {address}/v1/chat/completions {kind}{key} -d {shlex.quote(body)}", file=sys.stderr)
