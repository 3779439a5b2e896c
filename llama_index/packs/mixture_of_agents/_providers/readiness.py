"""Whether an LLM can be asked at all: it has a key, and a model name that its class knows."""

import os
import re

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.errors import ConfigError

from .facts import derives_from


def missing_key(llm: LLM) -> str:
    """Find the environment variable that should hold an LLM's key but does not.

    Only LlamaIndex's OpenAI class is checked: it can be made without a key, and fails at its first request. Other
    classes refuse to be made without a key.

    Returns:
        The variable's name; "" if no key is known to be missing.
    """
    path = f"{type(llm).__module__}.{type(llm).__qualname__}"
    own = ("api_key", "_client", "_aclient")
    if path != "llama_index.llms.openai.base.OpenAI" or any(getattr(llm, x, None) for x in own):
        return ""
    return "" if os.environ.get("OPENAI_ADMIN_KEY") else "OPENAI_API_KEY"


def check_model_name(llm: LLM, name: str) -> None:
    """Refuse a model name that the LLM's class does not know, because every call would fail.

    Args:
        llm: the LLM.
        name: the model's name.

    Raises:
        ConfigError: the class does not know the name. The message suggests the nearest known name.
    """
    if derives_from(llm, "ollama"):
        return  # its metadata sends a request to the server
    try:
        _ = llm.metadata
    except Exception as error:  # noqa: BLE001  # an integration may raise anything here
        if "unknown model" not in str(error).lower():
            return
        known = re.findall(
            r"[\w.:/-]+", str(error).rpartition(" in:" if " in:" in str(error) else "are:")[2]
        )
        raise ConfigError(_unknown_model(name, type(llm).__name__, known)) from None


def _unknown_model(name: str, owner: str, known: list[str]) -> str:
    from difflib import get_close_matches  # seldom needed

    lower = name.lower()
    today = [one for one in (lower, f"{lower}-latest") if one in known][:1]
    near = today or get_close_matches(lower, known, 3, 0.6)
    newer = 'a model newer than the class can be had with OpenAILike (in a file "openai-like:<name>") and its api_base'
    meant = f"did you mean {' or '.join(near)}?" if near else newer
    return f'{owner} knows no model "{name}"; {meant}'
