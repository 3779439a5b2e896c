"""Writes recipes as plain data for a configuration file, without defaults and without keys."""

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._checks import changed
from llama_index.packs.mixture_of_agents._providers.descriptions import (
    describe_embedding,
    describe_llm,
    settings_of,
)
from llama_index.packs.mixture_of_agents._providers.redaction import SECRET
from llama_index.packs.mixture_of_agents.errors import ConfigError
from llama_index.packs.mixture_of_agents.recipe import SELECTIONS, Agent, Recipe
from llama_index.packs.mixture_of_agents.selection import as_data

EVERY_LAYER = ("quorum", "grace", "select")
"""Fields that ``moa`` sets in every layer."""


_Describe = Callable[[LLM], dict[str, Any]]


def to_data(recipe: Recipe, describe: _Describe = describe_llm) -> dict[str, Any]:
    """Write a recipe as plain JSON data, which ``from_data`` reads; see ``dumps``.

    Args:
        recipe: The recipe.
        describe: Describes an LLM, without its keys.

    Raises:
        ConfigError: A file cannot name a part of the recipe.
    """
    data = _plain(recipe, describe)
    layers: list[dict[str, Any]] = data.pop("layers")
    if all(layer == layers[0] for layer in layers) and set(layers[0]) <= {
        "proposers",
        *EVERY_LAYER,
    }:
        return {"layers": len(layers), **layers[0], **data}
    return {**data, "layers": layers}


def identity(recipe: Recipe) -> dict[str, Any]:
    """Write any recipe as plain JSON data, to compare recipes.

    The data are those of ``to_data``, and the class and settings of LLMs that ``to_data`` cannot describe. Equal recipes
    give equal data in every process. ``from_data`` refuses data with such LLMs.

    Args:
        recipe: The recipe.

    Returns:
        The data.
    """
    try:
        data = to_data(recipe, _describe_any)
    except ConfigError:  # an embedding model of another class
        data = {"words": repr(recipe)}
    return json.loads(json.dumps(data, default=_path_of))


def _describe_any(llm: LLM) -> dict[str, Any]:
    try:
        return describe_llm(llm)
    except ConfigError:
        name, settings = str(getattr(llm, "model", "")), settings_of(llm)
        return {"class": _path_of(llm), "model": name, "settings": settings}


def _path_of(value: object) -> str:
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: Any, describe: _Describe) -> Any:
    """Convert a value to plain data, without defaults."""
    if isinstance(value, Agent):
        named = {} if value.name == value.model else {"name": value.name}
        mixture = getattr(value.llm, "recipe", None)
        llm = (
            {"mixture": to_data(mixture, describe)}
            if isinstance(mixture, Recipe)
            else describe(value.llm)
        )
        data = {**llm, **named, **_changed(value, describe, ("llm", "name"))}
        return data["model"] if set(data) == {"model"} else data
    if type(value) in SELECTIONS.values():
        name, settings = as_data(value)
        return {"use": name, **_plain(settings, describe)} if settings else name
    if isinstance(value, BaseEmbedding):
        return describe_embedding(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _changed(value, describe)
    if isinstance(value, Mapping):
        kept = {str(name): one for name, one in value.items() if not SECRET.search(str(name))}  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return {name: _plain(one, describe) for name, one in kept.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, AbstractSet):
        return sorted(value)  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_plain(one, describe) for one in value]  # type: ignore[reportUnknownVariableType]
    return value


def _changed(value: Any, describe: _Describe, but: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, as plain data."""
    return {name: _plain(held, describe) for name, held in changed(value, but).items()}
