"""The names and types of the parameters of presets and of the parts of a recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import signature
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index.packs.mixture_of_agents.recipe import Agent, Layer, Recipe
from llama_index.packs.mixture_of_agents.selection import Selection


def required_by(make: Callable[..., Any]) -> list[str]:
    """Return the names of the required parameters of a function or a dataclass.

    Args:
        make: The function or class.
    """
    parameters = signature(make).parameters.values()
    return [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]


def parameters_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a preset or a dataclass, with their types. A preset's ``**policies`` are included.

    Args:
        make: The preset or class.
    """
    hints = get_type_hints(make.__init__ if isinstance(make, type) else make)
    parameters = signature(make).parameters.values()
    named = {one.name: hints[one.name] for one in parameters if one.kind is not one.VAR_KEYWORD}
    if len(named) == len(parameters):
        return named
    further = {**parameters_of(Recipe), **parameters_of(Layer)}
    # a preset decides these itself, unless it has such a parameter
    own = ("layers", "proposers", "aggregator", "select")
    policies = {name: hint for name, hint in further.items() if name not in own}
    return {**policies, "deadline": parameters_of(Recipe)["deadline"], **named}


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows, except for None."""
    several = get_origin(hint) in (Union, UnionType)
    return tuple(one for one in (get_args(hint) if several else (hint,)) if one is not NoneType)


def is_agent(hint: Any) -> bool:
    """Whether a type is a class of agents."""
    return isinstance(hint, type) and issubclass(hint, Agent)


def is_object(hint: Any) -> bool:
    """Whether values of a type are read field by field."""
    return any(is_dataclass(one) or one in (Selection, BaseEmbedding) for one in kinds_of(hint))


def mapped_object(kinds: Sequence[Any]) -> Any | None:
    """The type of a table's values, if one of these types is a table of names to values that are read field by field."""
    tables = (get_args(one) for one in kinds if get_origin(one) is Mapping)
    return next((value for _, value in tables if is_object(value)), None)
