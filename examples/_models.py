"""Where the examples' models are: simulated on this machine, or, with `--real` and your keys, OpenAI's and Mistral's."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

KEYS = ("OPENAI_API_KEY", "MISTRAL_API_KEY")


@contextmanager
def providers(
    script: Mapping[str, Mapping[str, Any]], *, real: bool | None = None
) -> Iterator[None]:
    """The environment in which LlamaIndex's OpenAI and MistralAI classes find their models.

    Args:
        script: what the simulated models say, as fields of `simulation.Behaviour` by model name. Real models say
            what they think.
        real: whether to ask the real ones; by default only where the command line says `--real`.
    """
    if "--real" in sys.argv if real is None else real:
        missing = [key for key in KEYS if not os.environ.get(key)]
        if missing:
            sys.exit(f"For the real models set {' and '.join(missing)}.")
        yield
        return
    print("The models are simulated: what they say is written in this example.\n")
    before = dict(os.environ)
    with SimulatedProviders() as simulated:
        for model, behaviour in script.items():
            simulated.configure(model, **behaviour)
        os.environ.update(simulated.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
