"""Reads a ``Recipe`` from plain data, such as that of a TOML, YAML or JSON file."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args, get_origin

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.mock import MockLLM
from pydantic import TypeAdapter, ValidationError

from llama_index.packs.mixture_of_agents._providers.models import (
    ModelSpec,
    make_embedding,
    make_llm,
)
from llama_index.packs.mixture_of_agents._providers.redaction import SECRET
from llama_index.packs.mixture_of_agents.errors import ConfigError, RecipeError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe import SELECTIONS, Recipe, respelled, spellings_of
from llama_index.packs.mixture_of_agents.selection import Selection

from ._documents import NONE, Document, Format, Place, read_file, read_text, write
from ._parameters import is_agent, is_object, kinds_of, mapped_object, parameters_of, required_by
from ._writer import to_data

_MODEL_FIELDS = ("model", "class", "api_base", "api_key", "settings")


def load(path: str | Path, *, need_keys: bool = True) -> Recipe:
    """Read the recipe in a ``.toml``, ``.yaml`` or ``.json`` file.

    Args:
        path: the file.
        need_keys: whether a model's missing key is an error. If not, the recipe can be inspected, but its calls fail.

    Returns:
        The recipe.

    Raises:
        ConfigError: the file is not valid. The message has the line and the remedy.
    """
    return from_document(read_file(path), need_keys=need_keys)


def loads(text: str, format: Format = "toml", *, need_keys: bool = True) -> Recipe:  # noqa: A002
    """Read the recipe in a text; the rest is as ``load`` says.

    Args:
        text: the text.
        format: "toml", "yaml" or "json".
        need_keys: as ``load`` takes it.
    """
    return from_document(read_text(text, format), need_keys=need_keys)


def from_data(data: Mapping[str, Any], *, need_keys: bool = True) -> Recipe:
    """Read the recipe in plain data, as ``to_data`` returns it; the rest is as ``load`` says.

    Args:
        data: the data.
        need_keys: as ``load`` takes it.
    """
    return from_document(Document(data), need_keys=need_keys)


def dumps(recipe: Recipe, format: Format = "toml") -> str:  # noqa: A002
    """Return a recipe as text that ``loads`` reads, without defaults and without keys.

    Args:
        recipe: the recipe.
        format: "toml", "yaml" or "json".

    Raises:
        ConfigError: a file cannot name a part of the recipe, such as an LLM of your own class.
    """
    return write(to_data(recipe), format)


def model_of(name: str) -> LLM:
    """Make the LLM of a model string, such as ``"openai:gpt-4.1-mini"``.

    Args:
        name: the provider and the model.

    Returns:
        The LLM.

    Raises:
        ConfigError: the LLM cannot be made.
    """
    return make_llm(ModelSpec(name))


def from_document(document: Document, *, need_keys: bool = True) -> Recipe:
    """Read the recipe in a document; the rest is as ``load`` says.

    Args:
        document: the file's content.
        need_keys: as ``load`` takes it.
    """
    return _Reader(document, need_keys).whole()


def read_with_models(
    document: Document, *, need_keys: bool = True
) -> tuple[Recipe, dict[str, LLM]]:
    """Read the recipe in a document, and the document's models by name.

    The models include those that the recipe does not use, except for those that cannot be made (without a key, say).

    Args:
        document: the file's content.
        need_keys: as ``load`` takes it.

    Returns:
        The recipe, and the models by name.

    Raises:
        ConfigError: The recipe is not valid.
    """
    reader = _Reader(document, need_keys)
    recipe = reader.whole()
    for name in document.data.get("models", {}):
        with suppress(ConfigError):
            reader.llm({"model": name}, ("models", name))
    models = {name: llm for name, llm in reader.named.items() if not isinstance(llm, MockLLM)}
    return recipe, models


class _Reader:
    def __init__(self, document: Document, need_keys: bool) -> None:
        # This imports httpx, which core itself does not need.
        from llama_index.packs.mixture_of_agents._providers.connections import SharedClients

        self.document, self.need_keys = document, need_keys
        self.llms: dict[str, LLM] = {}
        self.named: dict[str, LLM] = {}
        self.clients = SharedClients()
        self.refused: list[ConfigError] = []

    def error(self, place: Place, problem: object) -> ConfigError:
        where = self.document.where(place)
        is_model = place[:1] in (("proposers",), ("aggregator",))
        is_option = is_model and place[0] in self.document.origins  # its name says the place
        return ConfigError(f"{where}: {'' if is_option else _path(place)}{problem}")

    def refusal(self) -> ConfigError | None:
        """One error for all models that cannot be made; None if all can."""
        return ConfigError("\n".join(map(str, self.refused))) if self.refused else None

    def whole(self) -> Recipe:
        """The document's recipe. That of a table [mixtures.NAME] takes the table's name, unless it has its own."""
        document = self.document
        try:
            recipe = self.recipe(document.data)
        except ConfigError as error:
            # the stand-in for a refused model may be the cause
            raise self.refusal() or error from error.__cause__
        if refusal := self.refusal():
            raise refusal
        unnamed = document.root and "name" not in document.data
        return replace(recipe, name=str(document.root[-1])) if unnamed else recipe

    def recipe(self, data: Mapping[str, Any], place: Place = ()) -> Recipe:
        layered = isinstance(data.get("layers"), list)
        if layered and "recipe" in data:
            raise self.error((*place, "recipe"), "[[layers]] say it all: leave one of them out")
        make = Recipe if layered else self.preset(data, place)
        try:
            data = respelled(data, spellings_of(make))
        except RecipeError as error:
            raise self.error((*place, error.field), str(error)) from error
        hints = parameters_of(make)
        self.check_names(
            place, data, [*hints, "recipe", *(() if place else ("models", "mixtures", "server"))]
        )
        return self.made(place, make, self.fields(hints, data, place, required_by(make)))

    def fields(
        self,
        hints: Mapping[str, Any],
        data: Mapping[str, Any],
        place: Place,
        required: Sequence[str],
    ) -> dict[str, Any]:
        """Read the values of an object's fields."""
        for name in required:
            if name not in data:
                raise self.error(place, f"{name} is missing{_example(name, hints[name])}")
        known = {name: hint for name, hint in hints.items() if name in data}
        return {name: self.value(hint, data[name], (*place, name)) for name, hint in known.items()}

    def preset(self, data: Mapping[str, Any], place: Place) -> Callable[..., Recipe]:
        """The preset that the data name."""
        name: str = self.value(str, data.get("recipe", "moa"), (*place, "recipe"))
        if name not in PRESETS:
            raise self.error(
                (*place, "recipe"), f'there is no recipe "{name}"; {_meant(name, PRESETS)}'
            )
        return PRESETS[name]

    def made(self, place: Place, make: Any, given: Mapping[str, Any]) -> Any:
        try:
            return make(**given)
        except RecipeError as error:
            *owner, field = error.field.split(".", 1)  # "Layer.quorum", or a preset's "layers"
            problem = str(error).removeprefix("".join(f"{one}." for one in owner))
            where = self.document.where((*place, *field.split(".")))
            raise ConfigError(f"{where}: {_path(place)}{problem}") from error

    def check_names(self, place: Place, data: Mapping[str, Any], known: Collection[str]) -> None:
        for name in data:
            if name not in known:
                raise self.error(
                    (*place, name), f"there is no such field; {_meant(str(name), known)}"
                )

    def value(self, hint: Any, value: Any, place: Place) -> Any:
        """Convert a value of the file to the type of its field."""
        kinds = kinds_of(hint)
        several = next((one for one in kinds if get_origin(one) in (tuple, Sequence)), None)
        if (
            several
            and is_object(element := get_args(several)[0])
            and (isinstance(value, list) or len(kinds) == 1)
        ):
            many = cast("list[Any]", value if isinstance(value, list) else [value])
            return tuple(self.value(element, one, (*place, i)) for i, one in enumerate(many))
        if mapped := mapped_object(kinds):
            table = self.table(value, place)
            return {name: self.value(mapped, one, (*place, name)) for name, one in table.items()}
        wanted = next((one for one in kinds if is_object(one)), None)
        if value in (None, NONE) and (NoneType in get_args(hint)):
            return None
        if wanted is Selection:
            return self.selection(value, place)
        if wanted is Recipe:
            return self.recipe(self.table(value, place), place)
        if wanted is BaseEmbedding:
            return self.embedding(self.table(value, place), place)
        if is_agent(wanted):
            return self.agent(
                wanted,
                {"model": value} if isinstance(value, str) else value,
                place,
                plain=LLM in kinds,
            )
        if wanted:
            return self.object(wanted, self.table(value, place), place)
        try:
            # in JSON mode a list may become a tuple, and 1 a float
            return TypeAdapter(hint).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            problem = f"{json.dumps(value, default=str)} is wrong: {error.errors()[0]['msg']}"
            raise self.error(place, problem) from error

    def table(self, value: Any, place: Place) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            shown = json.dumps(value, default=str)
            raise self.error(place, f"{shown}: names with values are expected")
        return cast("Mapping[str, Any]", value)

    def object(self, cls: Any, data: Mapping[str, Any], place: Place) -> Any:
        hints = parameters_of(cls)
        self.check_names(place, data, hints)
        return self.made(place, cls, self.fields(hints, data, place, required_by(cls)))

    def agent(self, cls: Any, value: Any, place: Place, *, plain: bool) -> Any:
        """Read an agent; or only its LLM, if the field takes an LLM and there are no other settings."""
        data = self.table(value, place)
        hints = {name: hint for name, hint in parameters_of(cls).items() if name != "llm"}
        self.check_names(place, data, [*hints, *_MODEL_FIELDS, "mixture"])
        given = self.fields(hints, data, place, ())
        llm = self.mixture(data, place) if "mixture" in data else self.llm(data, place)
        return llm if plain and not given else self.made(place, cls, {"llm": llm, **given})

    def selection(self, value: Any, place: Place) -> Any:
        data = self.table({"use": value} if isinstance(value, str) else value, place)
        name: str = self.value(str, data.get("use", ""), (*place, "use"))
        if name not in SELECTIONS:
            raise self.error(
                (*place, "use"), f'there is no selection "{name}"; {_meant(name, SELECTIONS)}'
            )
        return self.object(
            SELECTIONS[name], {key: one for key, one in data.items() if key != "use"}, place
        )

    def embedding(self, data: Mapping[str, Any], place: Place) -> BaseEmbedding:
        self.check_names(place, data, ("class", "settings"))
        path, settings = data.get("class", ""), data.get("settings", {})
        self.check_keys(settings, place)
        try:
            return make_embedding(path, settings, need_key=self.need_keys)
        except ConfigError as error:
            raise self.error((*place, "class"), error) from error

    def mixture(self, data: Mapping[str, Any], place: Place) -> LLM:
        """A mixture as the LLM of an agent."""
        for name in _MODEL_FIELDS:
            if name in data:
                raise self.error((*place, name), "a mixture has models of its own: leave this out")
        place = (*place, "mixture")
        return MixtureOfAgents(self.recipe(self.table(data["mixture"], place), place))

    def llm(self, data: Mapping[str, Any], place: Place) -> LLM:
        """The LLM of an agent. Agents with the same description share one LLM, and all LLMs share connections.

        For a model that cannot be made, the error is kept and a stand-in is returned. One error can then name all of
        them.
        """
        spec = self.spec(data, place)
        key = json.dumps(asdict(spec), default=str, sort_keys=True)
        if key not in self.llms:
            try:
                llm = make_llm(spec, need_key=self.need_keys)
            except ConfigError as error:
                self.refused += [self.error((*place, "model"), f"{spec.model}: {error}")]
                llm = MockLLM()
            self.llms[key] = self.clients.share_with(llm) if self.need_keys else llm
        if isinstance(data.get("model"), str):
            self.named.setdefault(data["model"], self.llms[key])
        return self.llms[key]

    def spec(self, data: Mapping[str, Any], place: Place) -> ModelSpec:
        models, name = (
            self.table(self.document.data.get("models", {}), ("models",)),
            data.get("model"),
        )
        near = get_close_matches(str(name), models, 1, 0.5)
        if near and name not in models and ":" not in str(name) and "class" not in data:
            problem = f'there is no [models.{name}]; did you mean "{near[0]}"?'
            raise self.error((*place, "model"), problem)
        if isinstance(name, str) and name in models:
            place = ("models", name)
            self.check_names(place, self.table(models[name], place), _MODEL_FIELDS)
            data = {
                **models[name],
                **{name: data[name] for name in _MODEL_FIELDS[1:] if name in data},
            }
        given = {
            name: self.value(hint, data[name], (*place, name))
            for name, hint in SPEC.items()
            if name in data
        }
        if "model" not in given:
            raise self.error(place, 'it names no model: say model = "openai:gpt-4.1-mini"')
        self.check_keys({"api_key": given.get("api_key"), **given.get("settings", {})}, place)
        path = given.pop("class", "")
        return ModelSpec(path=path, **given)

    def check_keys(self, settings: Mapping[str, Any], place: Place) -> None:
        for name, value in settings.items():
            if SECRET.search(name) and isinstance(value, str) and "$" not in value:
                raise self.error(
                    (*place, name),
                    'a file must not hold a key: name the variable that holds it, "$NAME"',
                )


SPEC: Mapping[str, Any] = {
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


def _meant(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1, 0.5)
    return f'did you mean "{near[0]}"?' if near else f"known are {', '.join(sorted(known))}"


def _example(name: str, hint: Any) -> str:
    kinds = kinds_of(hint)
    if Recipe in kinds:
        return f": it is a recipe of its own, [{name}]"
    model = '"openai:gpt-4.1-mini"' if LLM in kinds or any(map(is_agent, kinds)) else ""
    several = any(get_origin(one) in (tuple, Sequence) for one in kinds)
    return (
        f': say {name} = ["openai:gpt-4.1-mini", ...]'
        if several
        else f": say {name} = {model}"
        if model
        else ""
    )
