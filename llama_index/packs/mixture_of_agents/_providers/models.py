"""Model strings to LlamaIndex LLMs and back: ``"openai:gpt-4.1-mini"``, ``"mistral:mistral-small-latest"``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.errors import ConfigError

from .environment import no_key, ollama_address, problem_of_environment
from .faults import causes
from .readiness import check_model_name
from .redaction import SECRET, redact


@dataclass(frozen=True, slots=True)
class Provider:
    """How to find and build a provider's LLM class.

    Attributes:
        path: the class, as a dotted path.
        base: the name of its parameter for the server's address.
        key: the environment variable with its key; "" if it needs none.
        settings: defaults for its constructor, which a file can override.
    """

    path: str
    base: str
    key: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("llama_index.llms.openai.OpenAI", "api_base", "OPENAI_API_KEY"),
    "mistral": Provider("llama_index.llms.mistralai.MistralAI", "endpoint", "MISTRAL_API_KEY"),
    "anthropic": Provider("llama_index.llms.anthropic.Anthropic", "base_url", "ANTHROPIC_API_KEY"),
    # Ollama's class gives up after 30 seconds. Loading the model alone may take longer.
    "ollama": Provider(
        "llama_index.llms.ollama.Ollama", "base_url", settings={"request_timeout": 600.0}
    ),
    # A server without keys accepts any key. By default this class sends completions, not chats.
    "openai-like": Provider(
        "llama_index.llms.openai_like.OpenAILike",
        "api_base",
        settings={"is_chat_model": True, "api_key": "none"},
    ),
}
LLMS, EMBEDDINGS = "llama_index.llms.", "llama_index.embeddings."
_VARIABLE = re.compile(r"\$(\w+)$")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An LLM as a configuration file names it.

    Attributes:
        model: "provider:name"; with ``path``, only the name.
        path: the LLM class as a dotted path, for providers that have no short name here.
        api_base: the server's address.
        api_key: the name of the environment variable with the key, with a "$" before it.
        settings: further parameters of the LLM class's constructor. "$NAME" at the end of a string is replaced by
            that environment variable's value.
    """

    model: str
    path: str = ""
    api_base: str | None = None
    api_key: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def provider(self) -> Provider:
        """How to build the LLM.

        Raises:
            ConfigError: the provider's name is unknown, or the class is not one of LlamaIndex's.
        """
        if self.path:
            if not self.path.startswith(LLMS) or self.path.count(".") < LLMS.count(".") + 1:
                raise ConfigError(
                    f"{self.path!r} is not a class of {LLMS}*, such as llama_index.llms.groq.Groq"
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
            name = "gpt-4.1-mini" if self.model in ("", *PROVIDERS) else self.model
            return f'a model is written "provider:name", such as "{likely}:{name}"'
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
        """The environment variable that holds the key; "" if none is needed."""
        return self.api_key.removeprefix("$") if self.api_key else self.provider.key


def make_llm(spec: ModelSpec, *, need_key: bool = True) -> LLM:
    """Make the LLM of a spec. The library makes LLM objects only here.

    Args:
        spec: the spec.
        need_key: whether a missing key is an error. If not, the variable's name stands in for the key; the LLM can be
            inspected, but its requests will fail.

    Raises:
        ConfigError: the integration is not installed, the key is missing, or the class refuses the model or a setting.
    """
    provider = spec.provider
    arguments = {**provider.settings, **_resolved(spec.settings, need_key=need_key)}
    if provider is PROVIDERS["ollama"] and os.environ.get("OLLAMA_HOST"):
        arguments.setdefault(provider.base, ollama_address())
    if spec.api_base:
        arguments[provider.base] = spec.api_base
    elif provider is PROVIDERS["openai-like"] and not os.environ.get("OPENAI_API_BASE"):
        raise ConfigError(
            'it needs its server\'s address: api_base = "http://..." in a file, or the variable OPENAI_API_BASE'
        )
    if spec.key_variable:
        arguments["api_key"] = _environment(spec.key_variable, need_key=need_key)
    llm = _made(_load_class(provider.path, LLM), {"model": spec.name, **arguments})
    check_model_name(llm, spec.name)
    return llm


def is_installed(spec: ModelSpec) -> bool:
    """Whether the integration that a spec needs is installed."""
    return find_spec(spec.provider.path.rpartition(".")[0]) is not None


def make_embedding(
    path: str, settings: Mapping[str, Any], *, need_key: bool = True
) -> BaseEmbedding:
    """Make an embedding model.

    Args:
        path: its class, as a dotted path.
        settings: the parameters of its constructor.
        need_key: as for ``make_llm``.

    Returns:
        The embedding model.

    Raises:
        ConfigError: as for ``make_llm``.
    """
    if not path.startswith(EMBEDDINGS) or path.count(".") < 3:
        example = f"{EMBEDDINGS}openai.OpenAIEmbedding"
        raise ConfigError(f"{path!r} is not a class of {EMBEDDINGS}*, such as {example}")
    return _made(_load_class(path, BaseEmbedding), _resolved(settings, need_key=need_key))


def _made(cls: Any, arguments: dict[str, Any]) -> Any:
    known = {*cls.model_fields, *signature(cls).parameters}
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'{cls.__name__} has no setting "{name}"{meant}')
    try:
        return cls(**arguments)
    except Exception as error:
        raise ConfigError(f"{cls.__name__} refuses this: {_brief(error, arguments)}") from error


def _load_class(path: str, base: type[Any]) -> Any:
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name, None)
    except ImportError as error:
        _, kind, integration, *_ = path.split(".")
        package = f"llama-index-{kind}-{integration.replace('_', '-')}"
        raise ConfigError(
            f"{path} is not installed ({error}); run: pip install {package}"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(f"{module} has no {base.__name__} class {name!r}")
    return cls


def _resolved(value: Any, *, need_key: bool) -> Any:
    """A setting in which "$NAME" at the end of a string is replaced by that environment variable."""
    if isinstance(value, Mapping):
        return {name: _resolved(one, need_key=need_key) for name, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, str) and (found := _VARIABLE.search(value)):
        return value[: found.start()] + _environment(found[1], need_key=need_key)
    return value


def _environment(name: str, *, need_key: bool) -> str:
    value = os.environ.get(name)
    if not value and need_key:
        raise ConfigError(no_key(name))
    return value or f"${name}"


def _brief(error: Exception, secrets: Mapping[str, Any]) -> str:
    """An error of an LLM class in one line."""
    if problem := problem_of_environment(tuple(causes(error)), ()):
        return problem
    details = getattr(error, "errors", None)
    if callable(details):  # pydantic's, field by field
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details())  # type: ignore[reportUnknownVariableType]
    return redact(
        " ".join(str(error).split()),
        [str(value) for name, value in secrets.items() if SECRET.search(name)],
    )
