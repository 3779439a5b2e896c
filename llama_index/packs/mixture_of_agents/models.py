"""Model strings to LlamaIndex LLMs and back: ``"openai:gpt-4.1-mini"``, ``"mistral:mistral-small-latest"``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from inspect import signature
from typing import Any

from llama_index.core.llms.llm import LLM

from .errors import ConfigError
from .failures import redact


@dataclass(frozen=True, slots=True)
class Provider:
    """How the LLM class of a provider is found and built.

    Attributes:
        path: the class, as a dotted path.
        base: the name of its parameter for the server's address.
        key: the environment variable with its key; "" where none is needed.
        settings: what its constructor is given unless the file says otherwise.
    """

    path: str
    base: str
    key: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def package(self) -> str:
        """The distribution that has the class."""
        return package_of(self.path)


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("llama_index.llms.openai.OpenAI", "api_base", "OPENAI_API_KEY"),
    "mistral": Provider("llama_index.llms.mistralai.MistralAI", "endpoint", "MISTRAL_API_KEY"),
    "anthropic": Provider("llama_index.llms.anthropic.Anthropic", "base_url", "ANTHROPIC_API_KEY"),
    "ollama": Provider("llama_index.llms.ollama.Ollama", "base_url"),
    # A server that needs no key takes any; and this class would otherwise ask for completions, not chats.
    "openai-like": Provider(
        "llama_index.llms.openai_like.OpenAILike",
        "api_base",
        settings={"is_chat_model": True, "api_key": "none"},
    ),
}
_NAMESPACE = "llama_index.llms."
SECRET = re.compile(r"api_?key|access_?key|token(?!s|izer)|secret|password|headers", re.IGNORECASE)
"""Names of settings whose value is never written, and never read literally."""
_NAMES_A_KEY = re.compile(r"key|token|secret|password", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(\w+)$")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An LLM as a configuration file names it.

    Attributes:
        model: "provider:name"; with ``path`` the name alone.
        path: the LLM class as a dotted path, for providers that have no short name here.
        api_base: the server's address.
        api_key: the name of the environment variable with the key, with a "$" before it.
        settings: further parameters of the LLM class's constructor. A string that ends in "$NAME" stands for that
            environment variable's value.
    """

    model: str
    path: str = ""
    api_base: str | None = None
    api_key: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def provider(self) -> Provider:
        """How to build it.

        Raises:
            ConfigError: the provider's name is not known, or the class is none of LlamaIndex's.
        """
        if self.path:
            if (
                not self.path.startswith(_NAMESPACE)
                or self.path.count(".") < _NAMESPACE.count(".") + 1
            ):
                raise ConfigError(
                    f"{self.path!r} is not a class of {_NAMESPACE}*, such as llama_index.llms.groq.Groq"
                )
            return next(
                (p for p in PROVIDERS.values() if p.path == self.path),
                Provider(self.path, "api_base"),
            )
        name, colon, _ = self.model.partition(":")
        if colon and name in PROVIDERS:
            return PROVIDERS[name]
        raise ConfigError(self._unknown_provider(name if colon else ""))

    def _unknown_provider(self, name: str) -> str:
        if not name:
            likely = "mistral" if "mistral" in self.model else "openai"
            return f'a model is written "provider:name", such as "{likely}:{self.model or "gpt-4.1-mini"}"'
        near = get_close_matches(name.lower(), PROVIDERS, 1)
        if near:
            return f'there is no provider "{name}"; did you mean "{near[0]}"?'
        others = 'class = "llama_index.llms.<integration>.<Class>"'
        return f'there is no provider "{name}"; known are {", ".join(PROVIDERS)}; for others say {others}'

    @property
    def name(self) -> str:
        """The model's name, as the provider calls it."""
        return self.model if self.path else self.model.partition(":")[2]

    @property
    def key_variable(self) -> str:
        """The environment variable that holds its key; "" where none is needed."""
        return self.api_key.removeprefix("$") if self.api_key else self.provider.key

    @property
    def has_key(self) -> bool:
        """Whether its key is there, or none is needed."""
        return not self.key_variable or bool(os.environ.get(self.key_variable))


def make_llm(spec: ModelSpec, *, need_key: bool = True) -> LLM:
    """The LLM that a spec names. The one place where the library itself makes LLM objects.

    Args:
        spec: the spec.
        need_key: whether a missing key is an error; without it the LLM can be looked at but not asked.

    Raises:
        ConfigError: the integration is not installed, the key is missing, or its class refuses model or settings.
    """
    provider = spec.provider
    cls = _load_class(provider)
    given: dict[str, Any] = {**provider.settings, **_resolved(spec.settings)}
    if spec.api_base:
        given[provider.base] = spec.api_base
    _check_settings(cls, given)
    if spec.key_variable:
        given["api_key"] = _environment(spec.key_variable, "$MISSING" if not need_key else "")
    try:
        llm = cls(model=spec.name, **given)
    except Exception as error:
        raise ConfigError(f"{cls.__name__} refuses this: {_brief(error, given)}") from error
    check_model_name(llm, spec.name)
    return llm


def package_of(path: str) -> str:
    """The distribution that has an LLM class: llama-index-llms-groq for llama_index.llms.groq.Groq."""
    integration = path.removeprefix(_NAMESPACE).split(".")[0]
    return f"llama-index-llms-{integration.replace('_', '-')}"


def _load_class(provider: Provider) -> Any:
    module, _, name = provider.path.rpartition(".")
    try:
        cls = getattr(import_module(module), name, None)
    except ImportError as error:
        remedy = f"pip install {provider.package}"
        raise ConfigError(f"{provider.path} is not installed ({error}); run: {remedy}") from error
    if not (isinstance(cls, type) and issubclass(cls, LLM)):
        raise ConfigError(f"{module} has no LLM class {name!r}")
    return cls


def _check_settings(cls: type[LLM], settings: Mapping[str, Any]) -> None:
    known = {*cls.model_fields, *signature(cls).parameters}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'{cls.__name__} has no setting "{name}"{meant}')


def _resolved(value: Any) -> Any:
    """A setting with "$NAME" at its end replaced by the environment variable of that name."""
    if isinstance(value, Mapping):
        return {name: _resolved(one) for name, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, str) and (found := _VARIABLE.search(value)):
        return value[: found.start()] + _environment(found[1])
    return value


def _environment(name: str, otherwise: str = "") -> str:
    value = os.environ.get(name) or otherwise
    if not value:
        raise ConfigError(
            f"there is no key: the environment has no {name}; set it, as in: export {name}=..."
        )
    return value


def check_model_name(llm: LLM, name: str) -> None:
    """Refuse a model name that the LLM's class does not know, since it would refuse every call.

    Raises:
        ConfigError: it does not know it; the message has the nearest known name.
    """
    if type(llm).__module__.startswith(f"{_NAMESPACE}ollama"):
        return  # its metadata asks the server
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
    near = (
        [name.lower()] if name.lower() in known else get_close_matches(name.lower(), known, 3, 0.6)
    )
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    newer = 'A model newer than the class can be had as "openai-like:<name>" with its api_base'
    return f'{owner} knows no model "{name}"; {meant}{newer}'


def describe_llm(llm: LLM) -> dict[str, Any]:
    """What a configuration file would say of an LLM object: its model and settings, and never a key.

    Raises:
        ConfigError: its class is none of LlamaIndex's.
    """
    cls = type(llm)
    path = f"{'.'.join(cls.__module__.split('.')[:3])}.{cls.__name__}"
    if not path.startswith(_NAMESPACE):
        raise ConfigError(f"{cls.__name__} is not a class of {_NAMESPACE}*: a file cannot name it")
    name = str(getattr(llm, "model", ""))
    short = next((short for short, provider in PROVIDERS.items() if provider.path == path), "")
    said: dict[str, Any] = {"model": f"{short}:{name}"} if short else {"class": path, "model": name}
    provider = PROVIDERS[short] if short else Provider(path, "api_base")
    usual = _usual(said["model"], "" if short else path, tuple(os.environ.items()))
    plain = _settings(usual, provider) if usual else {}
    settings = {
        name: value for name, value in _settings(llm, provider).items() if plain.get(name) != value
    }
    if base := settings.pop(provider.base, None):
        said["api_base"] = base
    key = getattr(llm, "api_key", None)
    if key != getattr(usual, "api_key", None) and (variable := _variable_with(key)):
        said["api_key"] = f"${variable}"
    return said | ({"settings": settings} if settings else {})


@lru_cache(maxsize=32)
def _usual(model: str, path: str, environment: object) -> LLM | None:
    """The LLM that the name alone gives in this environment; what is so anyway need not be said of another one."""
    del environment  # it is what the class reads; here it only tells when to make it anew
    try:
        return make_llm(ModelSpec(model, path), need_key=False)
    except ConfigError:  # a class that cannot be made from a name alone
        return None


def _variable_with(key: Any) -> str:
    """The environment variable that has this key; "" where none has it."""
    names = (
        name for name, value in os.environ.items() if value == key and _NAMES_A_KEY.search(name)
    )
    return next(names, "") if key else ""


def _settings(llm: LLM, provider: Provider) -> dict[str, Any]:
    """The plain settings of an LLM object, its server's address among them, without secrets."""
    names = [name for name in type(llm).model_fields if name not in ("model", provider.base)]
    found = {name: _plain(getattr(llm, name, None)) for name in names if not SECRET.search(name)}
    return {
        name: value
        for name, value in {**found, provider.base: address(llm)}.items()
        if value is not None
    }


def address(llm: LLM) -> str | None:
    """The address of the LLM's server, where the object tells it."""
    said = next(
        (getattr(llm, name, None) for name in ("api_base", "base_url") if getattr(llm, name, None)),
        None,
    )
    # MistralAI hands its endpoint on to its client and keeps nothing itself
    client: Any = getattr(llm, "_client", None) if said is None else None
    return said or getattr(getattr(client, "sdk_configuration", None), "server_url", None)


def _plain(value: Any) -> Any:
    """What of a value is plain data and no secret; None where nothing is."""
    if isinstance(value, Mapping):
        items = {str(k): _plain(v) for k, v in value.items() if not SECRET.search(str(k))}  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        return {name: one for name, one in items.items() if one is not None} or None
    if isinstance(value, (list, tuple)):
        return [one for each in value if (one := _plain(each)) is not None] or None  # type: ignore[reportUnknownVariableType]
    return value if type(value) in (str, int, float, bool) else None


def _brief(error: Exception, secrets: Mapping[str, Any]) -> str:
    """An error of an LLM class in one line."""
    details = getattr(error, "errors", None)
    if callable(details):  # pydantic's, field by field
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details())  # type: ignore[reportUnknownVariableType]
    return redact(
        " ".join(str(error).split()),
        [str(value) for name, value in secrets.items() if SECRET.search(name)],
    )
