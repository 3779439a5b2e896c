"""Where a command's models come from: options, environment, file, or whatever keys there are."""

import json
import os
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_config_path
from pydantic import ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from llama_index.packs.mixture_of_agents._providers.environment import ollama_address
from llama_index.packs.mixture_of_agents._providers.models import ModelSpec, is_installed
from llama_index.packs.mixture_of_agents.config import (
    Document,
    from_document,
    parameters_of,
    read_file,
    read_text,
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
    """What options and environment variables (MOA_AGGREGATOR, ...) say; the file says the rest."""

    model_config = SettingsConfigDict(env_prefix="MOA_")

    config: Path | None = None
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
        document: the data.
        origin: where most of it comes from, in words.
    """

    document: Document
    origin: str

    def recipe(self, *, need_keys: bool = True) -> Recipe:
        """The recipe; see ``config.load``."""
        return from_document(self.document, need_keys=need_keys)


def find(flags: Flags, recorded: Source | None = None) -> Source:
    """Find the recipe's data. Options override environment variables, and these override the file.

    Args:
        flags: The options.
        recorded: What counts as the file if no option names one.

    Raises:
        ConfigError: The recipe cannot be read, or there is none.
    """
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    values = _values(given.pop("values", []))
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigError(f"{_said_by(str(wrong['loc'][0]), given)}: {wrong['msg']}") from error
    said = settings.model_dump(exclude={"config"}, exclude_none=True)
    origins = {name: _said_by(name, given) for name in said} | dict.fromkeys(values, "--set")
    named = {"proposers", "aggregator"} & set(said)
    enough = len(named) == 2 or ("proposers" in named and _asks_proposers_alone(said.get("recipe")))
    try:
        source = recorded if recorded and not settings.config else _base(settings.config, enough)
    except NoModelsError as error:
        raise ConfigError(_missing(*named) if len(named) == 1 else str(error)) from None
    return Source(_with(source.document, said | values, origins), source.origin)


def _values(assignments: Sequence[str]) -> dict[str, Any]:
    """What ``--set NAME=VALUE`` says; values are written as in TOML, or are texts."""
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
    """The recipe file for all folders."""
    return user_config_path("moa", appauthor=False) / "moa.toml"


def _said_by(name: str, given: Mapping[str, Any]) -> str:
    option = "--proposer" if name == "proposers" else f"--{name.replace('_', '-')}"
    return option if name in given else f"MOA_{name.upper()}"


def _asks_proposers_alone(recipe: str | None) -> bool:
    """Whether a preset needs no model but its proposers."""
    return recipe in PRESETS and len(required_by(PRESETS[recipe])) == 1


def _missing(named: str) -> str:
    """What to name beside the aggregator alone, or the proposers alone."""
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


def _with(document: Document, said: Mapping[str, Any], origins: Mapping[str, str]) -> Document:
    """A document with what options and environment variables say in place of what it says."""
    data = {**document.data, **said}
    layers = document.data.get("layers")
    if isinstance(layers, list) and {"proposers", "recipe"} & set(said):
        data["layers"] = said.get("layers", len(layers))  # type: ignore[reportUnknownArgumentType]
    if "recipe" in said:
        data = _fitted(data, str(said["recipe"]), explicit=set(said))
    return Document(data, document.name, document.text, document.format, origins)


def _fitted(data: Mapping[str, Any], recipe: str, explicit: Collection[str]) -> dict[str, Any]:
    """The data for another preset: an aggregator as its judge if it has one; without layers if it has none.

    Args:
        data: proposers, aggregator and the rest.
        recipe: the preset's name.
        explicit: what was said together with that name, and so must not be left out.
    """
    if recipe not in PRESETS:
        return dict(data)  # which is told when the recipe is read
    rest = {name: value for name, value in data.items() if name not in ("proposers", "aggregator")}
    proposers, aggregator = data.get("proposers", []), data.get("aggregator")
    wanted, known = required_by(PRESETS[recipe]), parameters_of(PRESETS[recipe])
    if "mixture" in wanted:
        mixture = {name: value for name, value in data.items() if name != "recipe"}
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
    """The mixture that the keys in the environment allow, or that a running Ollama allows where there is none.

    Raises:
        ConfigError: there is neither.
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
"""For each key the proposers that it pays for, and the aggregator where it is the first key that there is."""


def _ollama_models() -> list[str]:
    """The models of a running Ollama that can chat; none where there is no Ollama."""
    try:
        names = [one["name"] for one in _ollama("tags")["models"]]
        return [name for name in names if _can_chat(name)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _can_chat(name: str) -> bool:
    """Whether a model of Ollama's is no embedding model. An older Ollama does not say, nor does one that is busy."""
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
