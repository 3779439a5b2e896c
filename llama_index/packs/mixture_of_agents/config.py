"""A TOML, YAML or JSON file to a ``Recipe`` and back: models by name and settings, never by their keys."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from difflib import get_close_matches
from inspect import Parameter, isfunction, signature
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

from llama_index.core.llms.llm import LLM
from pydantic import TypeAdapter, ValidationError

from . import presets
from .documents import NONE, Document, Format, Place, read_file, read_text, write
from .errors import ConfigError, RecipeError
from .models import SECRET, ModelSpec, describe_llm, make_llm
from .recipe import Agent, Layer, Recipe

_MODEL_FIELDS = ("model", "class", "api_base", "api_key", "settings")
_EVERY_LAYER = ("quorum", "grace", "select")
"""Fields of a layer that ``moa`` gives to every layer."""


def load(path: str | Path, *, need_keys: bool = True) -> Recipe:
    """The recipe in a ``.toml``, ``.yaml`` or ``.json`` file.

    Args:
        path: the file.
        need_keys: whether a model's missing key is an error; without it the recipe can be looked at but not asked.

    Raises:
        ConfigError: the file makes no sense; the message has its line and the remedy.
    """
    return from_document(read_file(path), need_keys=need_keys)


def loads(text: str, format: Format = "toml", *, need_keys: bool = True) -> Recipe:  # noqa: A002
    """The recipe in a text; like ``load``."""
    return from_document(read_text(text, format), need_keys=need_keys)


def from_data(data: Mapping[str, Any], *, need_keys: bool = True) -> Recipe:
    """The recipe in plain data, as ``to_data`` gives it; like ``load``."""
    return from_document(Document(data), need_keys=need_keys)


def dumps(recipe: Recipe, format: Format = "toml") -> str:  # noqa: A002
    """A recipe as text that ``loads`` reads. What is as it would be anyway is not said; keys never are.

    Raises:
        ConfigError: a part of it cannot be named in a file, such as an LLM of a class of your own.
    """
    return write(to_data(recipe), format)


def from_document(document: Document, *, need_keys: bool = True) -> Recipe:
    """The recipe in a document; like ``load``."""
    return _Reader(document, need_keys).recipe()


class _Reader:
    def __init__(self, document: Document, need_keys: bool) -> None:
        self.document, self.need_keys = document, need_keys
        self.llms: dict[str, LLM] = {}

    def error(self, place: Place, problem: object) -> ConfigError:
        return ConfigError(f"{self.document.where(place)}: {_path(place)}{problem}")

    def recipe(self) -> Recipe:
        data = self.document.data
        layered = isinstance(data.get("layers"), list)
        make = Recipe if layered else self.preset()
        hints = {**dict(hints_of(Recipe)), **({} if layered else _parameters(make))}
        self.check_names((), data, [*hints, "models", "recipe"])
        for name in ("proposers", "aggregator"):
            if name not in data and _is_wanted(make, name):
                example = '["openai:gpt-4.1-mini"]' if name == "proposers" else '"openai:gpt-4.1"'
                raise self.error((), f"{name} is missing: say {name} = {example}")
        given = {
            name: self.value(hints[name], data[name], (name,)) for name in hints if name in data
        }
        return self.made((), make, **given)

    def preset(self) -> Callable[..., Recipe]:
        """What makes the recipe out of the file's values: the preset that it names."""
        known: list[str] = [
            name
            for name, one in vars(presets).items()
            if isfunction(one) and one.__module__ == presets.__name__ and not name.startswith("_")
        ]
        name: str = self.value(str, self.document.data.get("recipe", "moa"), ("recipe",))
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
            raise self.error(("recipe",), f'there is no recipe "{name}"; {meant}')
        return getattr(presets, name)

    def made(self, place: Place, make: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return make(*args, **kwargs)
        except RecipeError as error:
            owner, _, field = error.field.rpartition(".")
            problem = str(error).removeprefix(f"{owner}.")
            where = self.document.where((*place, field))
            raise ConfigError(f"{where}: {_path(place)}{problem}") from error

    def check_names(self, place: Place, data: Mapping[str, Any], known: Sequence[str]) -> None:
        for name in data:
            if name not in known:
                near = get_close_matches(str(name), known, 1, 0.5)
                meant = (
                    f'did you mean "{near[0]}"?'
                    if near
                    else f"known are {', '.join(sorted(known))}"
                )
                raise self.error((*place, name), f"there is no such field; {meant}")

    def value(self, hint: Any, value: Any, place: Place) -> Any:
        """A value of the file as the type that is wanted there."""
        options = [one for one in (get_args(hint) or (hint,)) if one is not NoneType]
        if get_origin(hint) in (tuple, Sequence) and _is_object(options[0]):
            many = cast("list[Any]", value if isinstance(value, list) else [value])
            return tuple(self.value(options[0], one, (*place, i)) for i, one in enumerate(many))
        agent = next((one for one in options if _is_agent(one)), None)
        if value in (None, NONE) and (agent or NoneType in get_args(hint)):
            return None
        if agent or is_dataclass(options[0]):
            return self.object(agent or options[0], value, place)
        try:
            # as JSON, in which a list may be a tuple and 1 a float
            return TypeAdapter(hint).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            raise self.error(
                place, f"{json.dumps(value, default=str)} is wrong: {error.errors()[0]['msg']}"
            ) from error

    def object(self, cls: Any, value: Any, place: Place) -> Any:
        is_agent = _is_agent(cls)
        if is_agent and isinstance(value, str):
            value = {"model": value}
        if not isinstance(value, Mapping):
            raise self.error(
                place, f"{json.dumps(value, default=str)}: names with values are expected"
            )
        hints = {name: hint for name, hint in hints_of(cls) if name != "llm"}
        self.check_names(place, value, [*hints, *(_MODEL_FIELDS if is_agent else ())])  # type: ignore[reportUnknownArgumentType]
        given = {
            name: self.value(hint, value[name], (*place, name))
            for name, hint in hints.items()
            if name in value
        }
        missing = [
            f.name
            for f in fields(cls)
            if f.name in hints and f.name not in value and _is_required(f)
        ]
        if missing:
            raise self.error(place, f"{missing[0]} is missing")
        llm = {"llm": self.llm(value, place)} if is_agent else {}  # type: ignore[reportUnknownArgumentType]
        return self.made(place, cls, **llm, **given)

    def llm(self, data: Mapping[str, Any], place: Place) -> LLM:
        """The LLM of an agent; two agents that say the same share one."""
        spec = self.spec(data, place)
        key = json.dumps(asdict(spec), default=str, sort_keys=True)
        if key not in self.llms:
            try:
                self.llms[key] = make_llm(spec, need_key=self.need_keys)
            except ConfigError as error:
                raise self.error((*place, "model"), f"{spec.model}: {error}") from error
        return self.llms[key]

    def spec(self, data: Mapping[str, Any], place: Place) -> ModelSpec:
        models = self.document.data.get("models", {})
        if data.get("model") in models:
            place = ("models", data["model"])
            data = {
                **models[data["model"]],
                **{name: data[name] for name in _MODEL_FIELDS[1:] if name in data},
            }
        given = {
            name: self.value(hint, data[name], (*place, name))
            for name, hint in _SPEC.items()
            if name in data
        }
        if "model" not in given:
            raise self.error(place, 'it names no model: say model = "openai:gpt-4.1-mini"')
        for name, value in {"api_key": given.get("api_key"), **given.get("settings", {})}.items():
            if SECRET.search(name) and isinstance(value, str) and "$" not in value:
                raise self.error(
                    (*place, name),
                    'a key does not belong into a file: give the variable that has it, "$NAME"',
                )
        path = given.pop("class", "")
        return ModelSpec(path=path, **given)


_SPEC: Mapping[str, Any] = {
    "model": str,
    "class": str,
    "api_base": str | None,
    "api_key": str | None,
    "settings": dict[str, Any],
}


def _path(place: Place) -> str:
    """``layers[0].quorum: `` for a place, "" for the whole."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return f"{''.join(steps).lstrip('.')}: " if place else ""


def _is_wanted(make: Callable[..., Any], name: str) -> bool:
    """Whether a function must be given a parameter."""
    known = signature(make).parameters
    return name in known and known[name].default is Parameter.empty


def _parameters(preset: Callable[..., Recipe]) -> dict[str, Any]:
    """What a preset can be given by name, with the types; its ``**policies`` are known otherwise."""
    hints = get_type_hints(preset)
    named = {
        one.name: hints[one.name]
        for one in signature(preset).parameters.values()
        if one.kind is not one.VAR_KEYWORD
    }
    each = {name: hint for name, hint in hints_of(Layer) if name in _EVERY_LAYER}
    return {**each, **named}


def _is_agent(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Agent)


def _is_object(hint: Any) -> bool:
    """Whether values of a type are read field by field."""
    return any(is_dataclass(one) for one in (hint, *get_args(hint)))


def hints_of(cls: Any) -> list[tuple[str, Any]]:
    """The fields of a dataclass with their types."""
    hints = get_type_hints(cls)
    return [(one.name, hints[one.name]) for one in fields(cls)]


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def to_data(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON data that ``from_data`` reads; see ``dumps``."""
    said = _said(recipe)
    layers: list[dict[str, Any]] = said.pop("layers")
    if all(layer == layers[0] for layer in layers) and set(layers[0]) <= {
        "proposers",
        *_EVERY_LAYER,
    }:
        return {"layers": len(layers), **layers[0], **said}
    return {**said, "layers": layers}


def _said(value: Any) -> Any:
    """What of a value must be said in a file."""
    if isinstance(value, Agent):
        named = {} if value.name == value.model else {"name": value.name}
        said = {**describe_llm(value.llm), **named, **_changed(value, ("llm", "name"))}
        return said["model"] if set(said) == {"model"} else said
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


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default
