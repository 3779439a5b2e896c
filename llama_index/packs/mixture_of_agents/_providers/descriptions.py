"""Describes an LLM or an embedding model as a configuration file does: model and settings, never a key."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.errors import ConfigError

from .facts import address
from .models import EMBEDDINGS, LLMS, PROVIDERS, ModelSpec, Provider, make_llm
from .redaction import SECRET, without_secrets

NO_SETTINGS = frozenset(
    {"callback_manager", "rate_limiter", "max_retries", "timeout", "reuse_client", "num_workers"}
)
"""Fields of an LLM object that do not change its answers. Keys and headers do not either."""
_NAMES_A_KEY = re.compile(r"key|token|secret|password", re.IGNORECASE)


def describe_llm(llm: LLM) -> dict[str, Any]:
    """Describe an LLM object as a configuration file does.

    Returns:
        Its model, and the settings that differ from the class's defaults. A key appears only as the name of its
        environment variable.

    Raises:
        ConfigError: its class is not one of LlamaIndex's.
    """
    path = _path_of(llm, LLMS)
    name = str(getattr(llm, "model", ""))
    short = next((short for short, provider in PROVIDERS.items() if provider.path == path), "")
    described: dict[str, Any] = (
        {"model": f"{short}:{name}"} if short else {"class": path, "model": name}
    )
    provider = PROVIDERS[short] if short else Provider(path, "api_base")
    usual = _usual(described["model"], "" if short else path, tuple(os.environ.items()))
    plain = settings_of(usual, provider.base) if usual else {}
    settings = {
        name: value
        for name, value in settings_of(llm, provider.base).items()
        if plain.get(name) != value
    }
    if base := settings.pop(provider.base, None):
        described["api_base"] = base
    if variable := key_variable(llm, usual):
        described["api_key"] = f"${variable}"
    return described | ({"settings": settings} if settings else {})


@lru_cache(maxsize=32)
def _usual(model: str, path: str, environment: object) -> LLM | None:
    """The LLM that is made from the name alone in this environment. A description leaves its settings out."""
    del environment  # the class reads it; it is here as a part of the cache's key
    try:
        return make_llm(ModelSpec(model, path), need_key=False)
    except ConfigError:  # a class that cannot be made from a name alone
        return None


def key_variable(llm: LLM, usual: LLM | None) -> str:
    """Find the environment variable that holds an LLM's key.

    Args:
        llm: the LLM.
        usual: the LLM that is made from the name alone.

    Returns:
        The variable's name; "" if no variable holds the key, or if ``usual`` has the same key.
    """
    key: str = getattr(llm, "api_key", None) or ""
    if key == (getattr(usual, "api_key", None) or ""):
        return ""
    if key.startswith("$"):
        return key[1:]
    names = (name for name, value in os.environ.items() if value == key)
    return next((name for name in names if _NAMES_A_KEY.search(name)), "")


def settings_of(model: LLM | BaseEmbedding, base: str = "") -> dict[str, Any]:
    """The settings of a model that are plain data, without secrets.

    Args:
        model: an LLM or an embedding model.
        base: the name under which to add the server's address; "" leaves it out.

    Returns:
        The settings by name, without those that are None.
    """
    names = [name for name in type(model).model_fields if name not in ("model", base)]
    found = {name: _plain(getattr(model, name, None)) for name in names if not SECRET.search(name)}
    if base:
        found[base] = _plain(address(model))
    return {name: value for name, value in found.items() if value is not None}


def describe_embedding(embedding: BaseEmbedding) -> dict[str, Any]:
    """Describe an embedding model: its class, and the settings that differ from their defaults."""
    model = getattr(embedding, "model", None)
    settings = (
        {"model": model, **settings_of(embedding)}
        if isinstance(model, str)
        else settings_of(embedding)
    )
    defaults = {name: one.get_default() for name, one in type(embedding).model_fields.items()}
    changed = {name: value for name, value in settings.items() if value != defaults.get(name)}
    return {"class": _path_of(embedding, EMBEDDINGS), **({"settings": changed} if changed else {})}


def _path_of(model: LLM | BaseEmbedding, namespace: str) -> str:
    cls = type(model)
    path = f"{'.'.join(cls.__module__.split('.')[:3])}.{cls.__name__}"
    if not path.startswith(namespace):
        raise ConfigError(f"{cls.__name__} is not a class of {namespace}*: a file cannot name it")
    return path


def _plain(value: Any) -> Any:
    """The part of a value that is plain data and no secret; None if there is none."""
    if isinstance(value, Mapping):
        items = {str(k): _plain(v) for k, v in value.items() if not SECRET.search(str(k))}  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return {name: one for name, one in items.items() if one is not None} or None
    if isinstance(value, (list, tuple)):
        return [one for each in value if (one := _plain(each)) is not None] or None  # type: ignore[reportUnknownVariableType]
    if type(value) is str:
        return without_secrets(value)
    return value if type(value) in (int, float, bool) else None
