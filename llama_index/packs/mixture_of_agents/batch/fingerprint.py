"""What a batch's answers are of: a batch goes on only with the same."""

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.described import NO_SETTINGS, address, settings_of
from llama_index.packs.mixture_of_agents.describing import to_data
from llama_index.packs.mixture_of_agents.digests import digest
from llama_index.packs.mixture_of_agents.errors import ConfigError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.llms import model_name

_NO_MATTER = NO_SETTINGS | {"budget", "call", "deadline", "limits", "name", "prices", "reserve"}
"""Settings that decide whether and when there is an answer, and not which: a batch may go on with others."""


def fingerprint(llm: LLM) -> str:
    """An LLM in words, a mixture by its agents; and a hash of the settings that decide how they answer."""
    if isinstance(llm, MixtureOfAgents):
        words = repr(llm.recipe)
        try:
            said = to_data(llm.recipe)
        except (
            ConfigError
        ):  # an LLM class that is none of LlamaIndex's, whose settings nobody knows
            return words
    else:
        words = f"{llm.class_name()} {model_name(llm)}"
        said = {"address": address(llm), **settings_of(llm)}
    matters = {name: value for name, value in said.items() if name not in _NO_MATTER}
    return f"{words} {digest(matters)[:8]}"
