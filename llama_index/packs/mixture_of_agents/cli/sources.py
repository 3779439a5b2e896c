"""Where a command's models come from: options, environment variables, a file, or the keys that are set."""

import json
import os
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, cast

from llama_index.core.llms.llm import LLM
from platformdirs import user_config_path
from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llama_index.packs.mixture_of_agents._providers.environment import ollama_address
from llama_index.packs.mixture_of_agents._providers.models import ModelSpec, is_installed
from llama_index.packs.mixture_of_agents.config import (
    Document,
    from_document,
    mixture_in,
    mixture_names,
    parameters_of,
    read_file,
    read_text,
    read_with_models,
    required_by,
)
from llama_index.packs.mixture_of_agents.errors import ConfigError
from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe import Recipe

from .command import Flags

FILE_NAMES = ("moa.toml", "moa.yaml", "moa.json")
NOTHING = """There are no models to ask. Say which in one of four ways:
  - an option: moa ask -p openai:gpt-4.1-mini -a openai:gpt-4.1 ...
  - a file ./moa.toml, which moa init writes (or --config FILE)
  - the same file for all folders: {user_file}
  - keys in the environment: OPENAI_API_KEY, MISTRAL_API_KEY, ANTHROPIC_API_KEY, or a running Ollama
Or try it without any: moa demo"""


class NoModelsError(ConfigError):
    """Nothing names a model: no option, no variable, no file, no key, no Ollama."""


class Settings(BaseSettings):
    """The settings of options and environment variables (MOA_AGGREGATOR, ...); the file has the rest."""

    model_config = SettingsConfigDict(env_prefix="MOA_")

    config: Path | None = None
    mixture: str | None = None
    recipe: str | None = None
    proposers: Annotated[list[str] | None, NoDecode] = None
    aggregator: str | None = None
    layers: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    deadline: float | None = None

    @field_validator("proposers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [one.strip() for one in value.split(",")] if isinstance(value, str) else value


@dataclass(frozen=True)
class Source:
    """A recipe's data and where it comes from.

    Attributes:
        document: The data.
        origin: Where most of it comes from, in words.
    """

    document: Document
    origin: str

    def recipe(self, *, need_keys: bool = True) -> Recipe:
        """Make the recipe; see ``config.load``.

        Args:
            need_keys: Whether a missing key is an error.

        Raises:
            ConfigError: The data is not valid.
        """
        return from_document(self.document, need_keys=need_keys)

    def with_models(self) -> tuple[Recipe, dict[str, LLM]]:
        """The recipe, and the models of its file by their names there; see ``config.read_with_models``."""
        return read_with_models(self.document)


def find(flags: Flags, recorded: Source | None = None) -> Source:
    """Find the recipe's data. Options override environment variables, and these override the file.

    Args:
        flags: The options.
        recorded: The data that counts as the file if no option names one.

    Raises:
        ConfigError: The recipe cannot be read, there is none, or there are several and none is named.
    """
    sources = find_all(flags, recorded)
    if "" not in sources and len(sources) > 1:
        origin = next(iter(sources.values())).document.name
        names = ", ".join(sources)
        raise ConfigError(f"{origin} has several mixtures: name one with --mixture ({names})")
    return next(iter(sources.values()))


def find_all(flags: Flags, recorded: Source | None = None) -> dict[str, Source]:
    """Find every mixture that the options leave to choose from, as ``find`` finds one.

    Returns:
        The file's mixtures by their names, after the recipe at its top, which is named "".
    """
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    values = _values(given.pop("values", []))
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigError(f"{_name_of(str(wrong['loc'][0]), given)}: {wrong['msg']}") from error
    changes = settings.model_dump(exclude={"config", "mixture"}, exclude_none=True)
    origins = {name: _name_of(name, given) for name in changes} | dict.fromkeys(values, "--set")
    named = {"proposers", "aggregator"} & set(changes)
    alone = _needs_proposers_alone(changes.get("recipe"))
    enough = len(named) == 2 or ("proposers" in named and alone)
    try:
        file = recorded if recorded and not settings.config else _base(settings.config, enough)
    except NoModelsError as error:
        raise ConfigError(_missing(*named) if len(named) == 1 else str(error)) from None
    return {
        name: Source(_with(part, changes | values, origins), file.origin)
        for name, part in _parts(file.document, settings.mixture).items()
    }


def _parts(document: Document, wanted: str | None) -> dict[str, Document]:
    """The recipe at the top of a document, named "", and its mixtures; or the wanted one alone."""
    names = mixture_names(document)
    if wanted is not None:
        if wanted not in names:
            near = get_close_matches(wanted, names, 1, 0.5)
            meant = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(names)}"
            advice = meant if names else f"write a table [mixtures.{wanted}]"
            raise ConfigError(f'{document.name} has no mixture "{wanted}"; {advice}')
        names = [wanted]
    has_own = wanted is None and (
        not names or bool(document.data.keys() - {"models", "mixtures", "server"})
    )
    top = {"": document} if has_own else {}
    return {**top, **{name: mixture_in(document, name) for name in names}}


def _values(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``--set NAME=VALUE``. A value that is not TOML is a text."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: say NAME=VALUE, as in quorum=2")
        try:
            values |= read_text(f"{name} = {value}").data
        except ConfigError:
            values |= read_text(f"{name} = {json.dumps(value)}", name=f"--set {assignment}").data
    return values


def user_file() -> Path:
    """The path of the recipe file for all folders."""
    return user_config_path("moa", appauthor=False) / "moa.toml"


def _name_of(name: str, given: Mapping[str, Any]) -> str:
    """The option that set a value, or the variable that did."""
    option = "--proposer" if name == "proposers" else f"--{name.replace('_', '-')}"
    return option if name in given else f"MOA_{name.upper()}"


def _needs_proposers_alone(recipe: str | None) -> bool:
    """Whether a preset needs no model but its proposers."""
    return recipe in PRESETS and len(required_by(PRESETS[recipe])) == 1


def _missing(named: str) -> str:
    """The error for an aggregator without proposers, or for proposers without an aggregator."""
    if named == "aggregator":
        return (
            "There is an aggregator but no proposer. Name one or more: -p openai:gpt-4.1-mini "
            "(--proposer, or MOA_PROPOSERS)."
        )
    return (
        "There are proposers but no aggregator, which writes the answer. Name it: -a openai:gpt-4.1 "
        "(--aggregator, or MOA_AGGREGATOR)."
    )


def _base(config: Path | None, enough: bool) -> Source:
    """The data before options and environment variables are applied."""
    if config is not None:
        return Source(read_file(config), str(config))
    for path in (*map(Path, FILE_NAMES), user_file()):
        if path.exists():
            return Source(read_file(path), str(path))
    if enough:
        return Source(Document({}, "the options"), "the options")
    return from_environment()


def _with(document: Document, changes: Mapping[str, Any], origins: Mapping[str, str]) -> Document:
    """Replace values of a document by those of options and environment variables."""
    data = {**document.data, **changes}
    layers = document.data.get("layers")
    if isinstance(layers, list) and {"proposers", "recipe"} & set(changes):
        data["layers"] = changes.get("layers", len(layers))  # type: ignore[reportUnknownArgumentType]
    if "recipe" in changes:
        data = _fitted(data, str(changes["recipe"]), explicit=set(changes))
    if {"proposers", "aggregator"} & set(changes):
        data = _with_limits_in_use(data)
    return replace(document, data=data, origins=origins)


def _with_limits_in_use(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without limits of endpoints whose models have been replaced: a recipe refuses names that it lacks."""
    limits: Any = data.get("limits")
    endpoints: Any = limits.get("endpoints") if isinstance(limits, dict) else None  # type: ignore[reportUnknownMemberType]
    if not isinstance(endpoints, dict):
        return dict(data)
    names = {
        part
        for text in _texts({name: one for name, one in data.items() if name != "limits"})
        for part in (text, *text.split(":", 1))
    }
    used = {name: one for name, one in cast("dict[str, Any]", endpoints).items() if name in names}
    return {**data, "limits": {**limits, "endpoints": used}}


def _texts(data: Any) -> Iterator[str]:
    """All texts in plain data."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        yield from _texts(list(cast("dict[str, Any]", data).values()))
    elif isinstance(data, list):
        for one in cast("list[Any]", data):
            yield from _texts(one)


def _fitted(data: Mapping[str, Any], recipe: str, explicit: Collection[str]) -> dict[str, Any]:
    """The data for another preset: an aggregator as its judge if it has one; without layers if it has none.

    Args:
        data: Proposers, aggregator and the rest.
        recipe: The preset's name.
        explicit: Names of values that were given together with the preset, and so must not be left out.
    """
    if recipe not in PRESETS:
        return dict(data)  # the error comes when the recipe is made
    rest = {name: value for name, value in data.items() if name not in ("proposers", "aggregator")}
    proposers, aggregator = data.get("proposers", []), data.get("aggregator")
    wanted, known = required_by(PRESETS[recipe]), parameters_of(PRESETS[recipe])
    if "mixture" in wanted:
        mixture = {name: value for name, value in data.items() if name not in ("recipe", "server")}
        return {"recipe": recipe, "proposers": proposers[0], "mixture": mixture}
    if "layers" not in known and "layers" not in explicit:
        rest.pop("layers", None)
    if recipe in _ONE_MODEL:  # the one that was named, or else the aggregator
        one = proposers if "proposers" in explicit else [aggregator or proposers[0]]
        writer = {"aggregator": aggregator} if "aggregator" in explicit else {}
        return {**rest, "proposers": one, **writer}
    names = [name for name in ("judge", "aggregator") if name in known]
    needed = [name for name in names if name in wanted] or names[:1]
    return {**rest, "proposers": proposers, **dict.fromkeys(needed, aggregator)}


_ONE_MODEL = ("self_moa", "self_moa_seq", "best_of_n")
"""The presets that ask one model several times."""


def from_environment() -> Source:
    """Make a mixture of the models that the keys in the environment pay for, or else of those of a running Ollama.

    Raises:
        NoModelsError: There is no key and no Ollama.
    """
    keys = [key for key in _OFFERS if os.environ.get(key)]
    keys = [key for key in keys if is_installed(ModelSpec(_OFFERS[key][1]))] or keys[:1]
    if keys:
        proposers: list[Any] = [model for key in keys for model in _OFFERS[key][0]]
        if len(proposers) == 1:
            proposers = [{"model": proposers[0], "samples": 3}]
        data = {"proposers": proposers, "aggregator": _OFFERS[keys[0]][1]}
        return Source(Document(data, "the environment"), f"the environment ({', '.join(keys)})")
    if models := _ollama_models():
        own = [f"ollama:{name}" for name in models[:3]]
        data = {"proposers": own, "aggregator": own[0]}
        limits = {"limits": {"one_model_at_a_time": True}}
        return Source(Document(data | limits, "Ollama"), f"the Ollama at {ollama_address()}")
    raise NoModelsError(NOTHING.format(user_file=user_file()))


_OFFERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "OPENAI_API_KEY": (("openai:gpt-4.1-mini", "openai:gpt-4o-mini"), "openai:gpt-4.1"),
    "ANTHROPIC_API_KEY": (("anthropic:claude-haiku-4-5",), "anthropic:claude-sonnet-4-5"),
    "MISTRAL_API_KEY": (("mistral:mistral-small-latest",), "mistral:mistral-large-latest"),
}
"""For each key its proposers, and the aggregator if it is the first key that is set."""


def _ollama_models() -> list[str]:
    """The models of a running Ollama that can chat; none without Ollama."""
    try:
        names = [one["name"] for one in _ollama("tags")["models"]]
        return [name for name in names if _can_chat(name)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _can_chat(name: str) -> bool:
    """Whether an Ollama model is not an embedding model. If Ollama does not say (an older one, or a busy one), it can."""
    try:
        capabilities: list[str] | None = _ollama("show", model=name).get("capabilities")
    except (OSError, ValueError):
        return True
    return not capabilities or "completion" in capabilities


def _ollama(method: str, **asked: str) -> Any:
    request = urllib.request.Request(  # noqa: S310 - it is an http address
        f"{ollama_address()}/api/{method}", json.dumps(asked).encode() if asked else None
    )
    with urllib.request.urlopen(request, timeout=0.5) as answer:  # noqa: S310
        return json.load(answer)
