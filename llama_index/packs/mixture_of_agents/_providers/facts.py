"""Facts about an LLM object that need no request. Nothing here raises for an unknown model name."""

import re
import sys
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.llm import LLM

from .redaction import SECRET, secrets_in_url


def metadata(llm: LLM) -> LLMMetadata | None:
    """The LLM's metadata. None if its class does not know the model's name: ``llm.metadata`` raises then."""
    try:
        return llm.metadata
    except Exception:  # an integration may raise anything: "unknown" is the honest answer
        return None


def model_name(llm: LLM) -> str:
    """The model's name, as the provider calls it."""
    known = metadata(llm)
    name = (
        known.model_name
        if known and known.model_name not in ("", "unknown")
        else getattr(llm, "model", None)
    )
    return str(name) if name else llm.class_name()


def provider_name(llm: LLM) -> str:
    """The integration's short name: "openai" for ``llama_index.llms.openai.OpenAI``."""
    module = type(llm).__module__.split(".")
    return (
        module[2]
        if module[:2] == ["llama_index", "llms"] and len(module) > 2
        else llm.class_name().lower()
    )


def endpoint_key(llm: LLM) -> tuple[str, str, str]:
    """The provider, model and address. Two LLM objects with an equal key use the same model at the same place."""
    place = address(llm, "api_base", "base_url", "endpoint", "azure_endpoint")
    return provider_name(llm), model_name(llm), str(place or "")


def address(model: object, *fields: str) -> Any:
    """The address of a model's server; None if the object does not hold it.

    Args:
        model: an LLM or an embedding model.
        fields: the fields that may hold it; by default those that a configuration file can set.
    """
    places = (getattr(model, name, None) for name in fields or ("api_base", "base_url"))
    # MistralAI passes its endpoint to its client, and does not keep it.
    mistral = getattr(getattr(model, "_client", None), "sdk_configuration", None)
    return next(filter(None, places), None) or getattr(mistral, "server_url", None)


def context_window(llm: LLM) -> int | None:
    """The model's context window in tokens; None if it is unknown."""
    known = metadata(llm)
    if known is None or known.context_window <= 0:
        return None
    # LLMMetadata's own default is not a fact about the model: no model has that window.
    return known.context_window if known.context_window != DEFAULT_CONTEXT_WINDOW else None


def output_room(llm: LLM) -> int:
    """The tokens that the LLM object reserves for an answer; 0 if it reserves none."""
    known = metadata(llm)
    return max(0, known.num_output or 0) if known else 0


def derives_from(llm: LLM, integration: str) -> bool:
    """Whether the LLM's class belongs to this integration of LlamaIndex, or derives from one that does."""
    return _derives(type(llm), integration)


@lru_cache(maxsize=256)  # called several times for every call
def _derives(kind: type[LLM], integration: str) -> bool:
    start = f"llama_index.llms.{integration}."
    return any(cls.__module__.startswith(start) for cls in kind.__mro__)


def method_owner(llm: LLM, method: str) -> type | None:
    """The class that defines an LLM's method.

    The search goes through the classes, since LlamaIndex wraps a method again at each access.
    """
    return next((cls for cls in type(llm).__mro__ if method in vars(cls)), None)


def is_openai(llm: LLM) -> bool:
    """Whether the LLM's class is LlamaIndex's OpenAI class for chats, or derives from it."""
    return derives_from(llm, "openai") and not is_openai_responses(llm)


def gives_samples(llm: LLM) -> bool | None:
    """Whether one request can return several answers; None if that depends on an OpenAI-compatible server."""
    if not is_openai(llm):
        return False
    host = urlsplit(str(getattr(llm, "api_base", None) or "")).hostname or ""
    return True if host == "api.openai.com" else None


def is_openai_responses(llm: LLM) -> bool:
    """Whether the LLM uses OpenAI's Responses API, whose parameters differ from those of chats."""
    return _takes_responses(type(llm))


@lru_cache(maxsize=256)  # called several times for every call
def _takes_responses(kind: type[LLM]) -> bool:
    return _derives(kind, "openai") and "max_output_tokens" in kind.model_fields


def known_refusals(llm: LLM) -> set[str]:
    """LlamaIndex's OpenAI class sends reasoning models no temperature of its own, but does send a call's."""
    if not derives_from(llm, "openai"):
        return set()
    from llama_index.llms.openai.utils import O1_MODELS

    return {"temperature"} if getattr(llm, "model", "") in O1_MODELS else set()


_GIVE_REASONS = ("anthropic", "google_genai", "mistralai", "ollama", "openai")


def gives_finish_reasons(llm: LLM) -> bool:
    """Whether the protocol of the LLM's class promises a finish reason at the end of every answer."""
    return not is_openai_responses(llm) and any(derives_from(llm, one) for one in _GIVE_REASONS)


def output_limit(llm: LLM, wanted: int | None) -> int | None:
    """The largest number of tokens in an answer.

    LlamaIndex's OpenAI class prefers the ``max_tokens`` of its own constructor.

    Args:
        llm: the LLM.
        wanted: the ``max_tokens`` that a call sends, or None.

    Returns:
        The limit; None if there is none.
    """
    own = getattr(llm, "max_tokens", None)
    if is_openai(llm):
        return own or wanted or output_room(llm) or None
    return wanted or own or getattr(llm, "max_output_tokens", None) or output_room(llm) or None


def knows_block(llm: LLM, block: str) -> bool:
    """Whether the LLM's class reads a kind of content block.

    Args:
        llm: the LLM. A class that is not LlamaIndex's counts as reading every kind.
        block: the name of the block's class.
    """
    return _knows_block(type(llm), block)


@lru_cache(maxsize=256)
def _knows_block(kind: type[LLM], block: str) -> bool:
    packages = {
        ".".join(cls.__module__.split(".")[:3])
        for cls in kind.__mro__
        if cls.__module__.startswith("llama_index.llms.")
    }
    modules = [
        module
        for name, module in tuple(sys.modules.items())
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    ]
    return not packages or any(block in vars(module) for module in modules)


def chat_parameters(llm: LLM) -> frozenset[str] | None:
    """The names of the parameters that the LLM's SDK takes for a chat; None if they are unknown."""
    if is_openai(llm):
        from openai.resources.chat.completions import Completions

        return frozenset(signature(Completions.create).parameters) - {"self", "messages", "model"}
    if provider_name(llm) == "mistralai":
        from mistralai.client.chat import Chat

        return frozenset(signature(Chat.complete).parameters) - {"self", "messages", "model"}
    return None


def calls_functions(llm: LLM) -> bool:
    """Whether the model takes tools."""
    known = metadata(llm)
    return bool(known and known.is_function_calling_model)


_IMAGE = frozenset({"image"})
_IMAGE_AND_DOCUMENT = frozenset({"image", "document"})
_TAKES: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("openai", r"gpt-4o.*audio|gpt-audio", frozenset({"audio"})),
    ("openai", r"gpt-4o|gpt-4\.|gpt-5|chatgpt-4o|o1(?!-mini)|o3(?!-mini)|o4", _IMAGE_AND_DOCUMENT),
    ("openai", r"gpt-4-turbo|gpt-4-vision", _IMAGE),
    ("azure_openai", r"gpt-4o|gpt-4\.|gpt-5|o1(?!-mini)|o3(?!-mini)|o4|gpt-4-turbo", _IMAGE),
    (
        "mistralai",
        r"pixtral|mistral-medium|mistral-small-(latest|25|26)|mistral-large-(25|26)",
        _IMAGE,
    ),
    ("anthropic", r"claude-(?!2|instant)", _IMAGE_AND_DOCUMENT),
    ("bedrock_converse", r".*claude-(?!2|instant|v2)", _IMAGE_AND_DOCUMENT),
    ("google_genai", r"(models/)?gemini", frozenset({"image", "audio", "video", "document"})),
)
"""Integration, model names (a regular expression for their beginning), and the kinds of content that they take.

The source is the providers' model pages.
"""


def takes(llm: LLM) -> frozenset[str]:
    """The kinds of content other than text that the model takes; empty if they are unknown."""
    provider, name = provider_name(llm), model_name(llm)
    found = (
        kinds
        for integration, names, kinds in _TAKES
        if integration == provider and re.match(names, name)
    )
    return next(found, frozenset[str]())


_PLACEHOLDERS = frozenset({"none", "fake", "ollama", "empty", "EMPTY", "unused"})
"""Placeholders for the key of a server that needs none."""
_LEADS_TO_SECRETS = re.compile(
    r"client|config|security|options|credential|auth|default", re.IGNORECASE
)
_SENT_BESIDE = re.compile(r"header|query|params", re.IGNORECASE)
_HARMLESS = re.compile(
    r"^(?:accept|connection|content|host|user-agent|x-stainless)|version|^x-goog-api-client",
    re.IGNORECASE,
)
"""Names of headers and query parameters that hold no secret."""


def secrets(llm: LLM) -> tuple[str, ...]:
    """Find the keys that an LLM object and its clients hold, so that they can be taken out of every text.

    The search goes by the names of fields, so it works for unknown classes too.
    """
    found = dict.fromkeys(_secrets_in(llm, 5, set()))
    return tuple(one for one in found if one and one not in _PLACEHOLDERS and one[0] != "$")


def _secrets_in(thing: Any, depth: int, seen: set[int]) -> Iterator[str]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for name, value in _members(thing):
        reveal: Any = getattr(value, "get_secret_value", None)
        text = (
            reveal() if callable(reveal) else str(value) if type(value).__name__ == "URL" else value
        )
        if isinstance(text, str):
            if SECRET.search(name):
                yield text
            elif "://" in text:
                yield from secrets_in_url(text)
        elif _SENT_BESIDE.search(name) and hasattr(value, "items"):
            for header, content in value.items():
                yield from _secrets_of_header(str(header), content)
        elif depth and _LEADS_TO_SECRETS.search(name):
            yield from _secrets_in(value, depth - 1, seen)


def _members(thing: Any) -> list[tuple[str, Any]]:
    """The fields of an object, its private ones included, or the entries of a dict."""
    if isinstance(thing, dict):
        return [(str(name), value) for name, value in thing.items()]  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    private: Any = getattr(thing, "__pydantic_private__", None)
    own: Any = getattr(thing, "__dict__", None)
    return [*(own or {}).items(), *(private or {}).items()]


def _secrets_of_header(name: str, content: Any) -> Iterator[str]:
    if not isinstance(content, str) or _HARMLESS.search(name):
        return
    scheme, _, credentials = content.rpartition(" ")
    yield from (content, credentials)
    if scheme.lower() == "basic":
        try:
            login = b64decode(credentials).decode()
        except ValueError:  # not in base64: taken literally above
            return
        yield from (login, login.partition(":")[2])
