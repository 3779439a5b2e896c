"""What a configuration file would say of a recipe: plain data, without what is so anyway, and without keys."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index.packs.mixture_of_agents._providers.descriptions import (
    describe_embedding,
    describe_llm,
)
from llama_index.packs.mixture_of_agents.recipe import Agent, Recipe
from llama_index.packs.mixture_of_agents.recipe._step import SELECTIONS
from llama_index.packs.mixture_of_agents.selection import as_data

EVERY_LAYER = ("quorum", "grace", "select")
"""Fields of a layer that ``moa`` gives to every layer."""


def to_data(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON data that ``from_data`` reads; see ``dumps``."""
    said = _said(recipe)
    layers: list[dict[str, Any]] = said.pop("layers")
    if all(layer == layers[0] for layer in layers) and set(layers[0]) <= {
        "proposers",
        *EVERY_LAYER,
    }:
        return {"layers": len(layers), **layers[0], **said}
    return {**said, "layers": layers}


def _said(value: Any) -> Any:
    """What of a value must be said in a file."""
    if isinstance(value, Agent):
        named = {} if value.name == value.model else {"name": value.name}
        mixture = getattr(value.llm, "recipe", None)
        llm = (
            {"mixture": to_data(mixture)}
            if isinstance(mixture, Recipe)
            else describe_llm(value.llm)
        )
        said = {**llm, **named, **_changed(value, ("llm", "name"))}
        return said["model"] if set(said) == {"model"} else said
    if type(value) in SELECTIONS.values():
        name, settings = as_data(value)
        return {"use": name, **_said(settings)} if settings else name
    if isinstance(value, BaseEmbedding):
        return describe_embedding(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _changed(value)
    if isinstance(value, Mapping):
        return {str(name): _said(one) for name, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_said(one) for one in value]  # type: ignore[reportUnknownVariableType]
    return value


def _changed(value: Any, but: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass that are not what they would be anyway."""
    named = [(one, getattr(value, one.name)) for one in fields(value) if one.name not in but]
    return {
        one.name: _said(held) for one, held in named if _is_required(one) or held != _default(one)
    }


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default
