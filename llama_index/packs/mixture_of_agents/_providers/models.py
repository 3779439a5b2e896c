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
from .redaction import SECRET, redact


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


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider("llama_index.llms.openai.OpenAI", "api_base", "OPENAI_API_KEY"),
    "mistral": Provider("llama_index.llms.mistralai.MistralAI", "endpoint", "MISTRAL_API_KEY"),
    "anthropic": Provider("llama_index.llms.anthropic.Anthropic", "base_url", "ANTHROPIC_API_KEY"),
    # Ollama's class gives up after 30 seconds, in which a machine may not even have loaded the model.
    "ollama": Provider(
        "llama_index.llms.ollama.Ollama", "base_url", settings={"request_timeout": 600.0}
    ),
    # A server that needs no key takes any; and this class would otherwise ask for completions, not chats.
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
        """The environment variable that holds its key; "" where none is needed."""
        return self.api_key.removeprefix("$") if self.api_key else self.provider.key


def make_llm(spec: ModelSpec, *, need_key: bool = True) -> LLM:
    """The LLM that a spec names. The one place where the library itself makes LLM objects.

    Args:
        spec: the spec.
        need_key: whether a missing key is an error; without it the LLM can be looked at but not asked: the name of
            the variable stands for the key.

    Raises:
        ConfigError: the integration is not installed, the key is missing, or its class refuses model or settings.
    """
    provider = spec.provider
    given = {**provider.settings, **_resolved(spec.settings, need_key=need_key)}
    if provider is PROVIDERS["ollama"] and os.environ.get("OLLAMA_HOST"):
        given.setdefault(provider.base, ollama_address())
    if spec.api_base:
        given[provider.base] = spec.api_base
    elif provider is PROVIDERS["openai-like"]:
        raise ConfigError('it needs its server\'s address: api_base = "http://..."')
    if spec.key_variable:
        given["api_key"] = _environment(spec.key_variable, need_key=need_key)
    llm = _made(_load_class(provider.path, LLM), {"model": spec.name, **given})
    check_model_name(llm, spec.name)
    return llm


def is_installed(spec: ModelSpec) -> bool:
    """Whether the integration that a spec needs is there."""
    return find_spec(spec.provider.path.rpartition(".")[0]) is not None


def make_embedding(
    path: str, settings: Mapping[str, Any], *, need_key: bool = True
) -> BaseEmbedding:
    """An embedding model by its class, as a dotted path, and the parameters of its constructor; as ``make_llm``."""
    if not path.startswith(EMBEDDINGS) or path.count(".") < 3:
        example = f"{EMBEDDINGS}openai.OpenAIEmbedding"
        raise ConfigError(f"{path!r} is not a class of {EMBEDDINGS}*, such as {example}")
    return _made(_load_class(path, BaseEmbedding), _resolved(settings, need_key=need_key))


def _made(cls: Any, given: dict[str, Any]) -> Any:
    known = {*cls.model_fields, *signature(cls).parameters}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'{cls.__name__} has no setting "{name}"{meant}')
    try:
        return cls(**given)
    except Exception as error:
        raise ConfigError(f"{cls.__name__} refuses this: {_brief(error, given)}") from error


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
    """A setting with "$NAME" at its end replaced by the environment variable of that name."""
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


def missing_key(llm: LLM) -> str:
    """The environment variable that has to hold an LLM's key and does not; "" where nothing is known to be missing.

    Known of LlamaIndex's OpenAI class, which looks for its key when it is made and needs it when it is first asked.
    Other classes refuse to be made without a key.
    """
    path = f"{type(llm).__module__}.{type(llm).__qualname__}"
    own = ("api_key", "_client", "_aclient")
    if path != "llama_index.llms.openai.base.OpenAI" or any(getattr(llm, x, None) for x in own):
        return ""
    return "" if os.environ.get("OPENAI_ADMIN_KEY") else "OPENAI_API_KEY"


def check_model_name(llm: LLM, name: str) -> None:
    """Refuse a model name that the LLM's class does not know, since it would refuse every call.

    Raises:
        ConfigError: it does not know it; the message has the nearest known name.
    """
    if type(llm).__module__.startswith(f"{LLMS}ollama"):
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
    lower = name.lower()
    today = [one for one in (lower, f"{lower}-latest") if one in known][:1]
    near = today or get_close_matches(lower, known, 3, 0.6)
    newer = 'a model newer than the class can be had with OpenAILike (in a file "openai-like:<name>") and its api_base'
    meant = f"did you mean {' or '.join(near)}?" if near else newer
    return f'{owner} knows no model "{name}"; {meant}'


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
