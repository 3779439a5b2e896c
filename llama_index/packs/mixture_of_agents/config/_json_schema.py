"""The JSON Schema of a configuration file, for editors. It is made from what the reader reads, so both say the same."""

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import getdoc, signature
from types import NoneType
from typing import Any, get_args, get_origin

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import TypeAdapter

from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe import SELECTIONS, Layer, Recipe, spellings_of
from llama_index.packs.mixture_of_agents.selection import Selection

from ._documents import NONE
from ._parameters import is_agent, is_object, kinds_of, mapped_object, parameters_of, required_by
from ._reader import SPEC
from ._server_table import server_schema

_Schema = dict[str, Any]
_DEFAULT = "moa"
_FIELD = re.compile(r"^    (\w+): (.+?)(?=^    \w+: |^\S|\Z)", re.MULTILINE | re.DOTALL)


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema (draft 7) of a configuration file.

    Returns:
        The schema as plain data. It checks names and types. ``load`` checks values and keys, too.
    """
    shared = _Definitions()
    models = {"type": "object", "additionalProperties": _object(_model(), ())}
    tables = {"models": models, "mixtures": shared.mixtures(), "server": server_schema()}
    whole = shared.recipe(tables)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A mixture of agents",
        "type": "object",
        "properties": {**whole.pop("properties"), **tables},
        # A file of named mixtures needs no recipe of its own.
        "if": {"required": ["mixtures"]},
        "else": whole,
        "definitions": dict(sorted(shared.made.items())),
    }


class _Definitions:
    """Schemas that are used more than once, by name."""

    def __init__(self) -> None:
        self.made: dict[str, _Schema] = {}

    def mixtures(self) -> _Schema:
        return {"type": "object", "additionalProperties": self.named("recipe", self.recipe)}

    def named(self, name: str, make: Callable[[], _Schema]) -> _Schema:
        if name not in self.made:
            self.made[name] = {}  # a recipe may be a part of itself
            self.made[name] = make()
        return {"$ref": f"#/definitions/{name}"}

    def recipe(self, further: Mapping[str, _Schema] | None = None) -> _Schema:
        """A table with a recipe: one of the presets, or layers that differ."""
        layered = {"required": ["layers"], "properties": {"layers": {"type": "array"}}}
        policies = self.named("policies", lambda: self.fields(Recipe, _POLICIES))
        branches = [policies, self.branch(layered, Recipe, further or {})]
        for name, make in PRESETS.items():
            named: _Schema = {"properties": {"recipe": {"const": name}}}
            chosen = named if name == _DEFAULT else {**named, "required": ["recipe"]}
            when = {"allOf": [chosen, {"not": layered}]}
            branches.append(self.branch(when, make, further or {}))
        recipe = {"enum": list(PRESETS), "description": "the name of a preset."}
        return {"type": "object", "properties": {"recipe": recipe}, "allOf": branches}

    def branch(self, when: _Schema, make: Any, further: Mapping[str, _Schema]) -> _Schema:
        """What holds for the recipe of one preset."""
        name = "layers" if make is Recipe else f"recipe.{make.__name__}"
        fields = self.named(name, lambda: self.fields(make))
        own = () if make is Recipe else ("recipe",)
        names = [*parameters_of(make), *spellings_of(make), *own, *further]
        return {"if": when, "then": {"allOf": [fields, {"propertyNames": {"enum": names}}]}}

    def fields(self, make: Any, hints: Mapping[str, Any] | None = None) -> _Schema:
        """The fields of an object, except for the policies of a recipe, and which of them it needs."""
        hints = hints or {
            name: hint
            for name, hint in parameters_of(make).items()
            if _POLICIES.get(name) != hint or not _is_recipe(make)
        }
        shared = (Layer, Recipe) if _is_recipe(make) else ()
        described = {
            name: text for one in (*shared, make) for name, text in _descriptions(one).items()
        }
        properties = {
            name: _with_description(self.value(hint), described.get(name, ""))
            for name, hint in hints.items()
        }
        others = {
            one: properties[name] for one, name in spellings_of(make).items() if name in hints
        }
        needed = [
            {"anyOf": [{"required": [one]} for one in (name, *_spelled(name, make))]}
            for name in required_by(make)
            if name in hints
        ]
        return {"properties": {**properties, **others}, **({"allOf": needed} if needed else {})}

    def value(self, hint: Any) -> _Schema:
        """What a field of this type may have in a file; the same cases as the reader's."""
        kinds = kinds_of(hint)
        several = next((one for one in kinds if get_origin(one) in (tuple, Sequence)), None)
        if several and is_object(element := get_args(several)[0]):
            one = self.value(element)
            return {"anyOf": [one, {"type": "array", "items": one}]}
        if mapped := mapped_object(kinds):
            return {"type": "object", "additionalProperties": self.value(mapped)}
        wanted = next((one for one in kinds if is_object(one)), None)
        schema = self.of_object(wanted) if wanted else _plain(hint)
        if NoneType not in get_args(hint):
            return schema
        return {"anyOf": [schema, {"type": "null"}, {"const": NONE}]}

    def of_object(self, cls: Any) -> _Schema:
        if is_agent(cls) or not isinstance(cls, type):
            cls = next(one for one in kinds_of(cls) if is_agent(one))
            return self.named(cls.__name__, lambda: self.agent(cls))
        if cls is Recipe:
            return self.named("recipe", self.recipe)
        if cls is Selection:
            return self.named("selection", self.selection)
        if cls is BaseEmbedding:
            settings = {"class": {"type": "string"}, "settings": {"type": "object"}}
            return _object(settings, ["class"])
        return self.named(cls.__name__, lambda: {**_object({}, ()), **self.fields(cls)})

    def agent(self, cls: Any) -> _Schema:
        """An agent: the name of a model, or a table."""
        fields = self.fields(cls)["properties"]
        own = {name: schema for name, schema in fields.items() if name != "llm"}
        mixture = {"mixture": self.named("recipe", self.recipe)}
        table = _object({**_model(), **own, **mixture}, ())
        table["anyOf"] = [{"required": ["model"]}, {"required": ["mixture"]}]
        return {"anyOf": [{"type": "string"}, table]}

    def selection(self) -> _Schema:
        """A selection: its name, or a table with ``use`` and its fields."""
        branches: list[_Schema] = []
        for name, cls in SELECTIONS.items():
            fields = self.fields(cls)
            names = {"propertyNames": {"enum": ["use", *fields["properties"]]}}
            when = {"properties": {"use": {"const": name}}}
            branches.append({"if": when, "then": {"allOf": [fields, names]}})
        use = {"enum": list(SELECTIONS)}
        table = {"type": "object", "required": ["use"], "properties": {"use": use}}
        return {"anyOf": [use, {**table, "allOf": branches}]}


def _object(properties: Mapping[str, _Schema], required: Sequence[str]) -> _Schema:
    needed = {"required": list(required)} if required else {}
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **needed,
    }


def _model() -> dict[str, _Schema]:
    return {name: _plain(hint) for name, hint in SPEC.items()}


def _plain(hint: Any) -> _Schema:
    return TypeAdapter(hint).json_schema()


def _spelled(name: str, make: Any) -> list[str]:
    return [other for other, meant in spellings_of(make).items() if meant == name]


def _with_description(schema: _Schema, text: str) -> _Schema:
    if not text:
        return schema
    # Beside a reference, draft 7 ignores everything.
    return {**({"allOf": [schema]} if "$ref" in schema else schema), "description": text}


def _is_recipe(make: Any) -> bool:
    return make is Recipe or make in PRESETS.values()


def _descriptions(make: Any) -> dict[str, str]:
    """The descriptions of an object's fields, from its docstring."""
    found = _FIELD.findall(getdoc(make) or "")
    return {name: " ".join(text.split()) for name, text in found}


_POLICIES: Mapping[str, Any] = {
    name: hint
    for name, hint in parameters_of(PRESETS[_DEFAULT]).items()
    if name not in signature(PRESETS[_DEFAULT]).parameters
}
"""The settings of every preset that takes ``**policies``, with their types."""
