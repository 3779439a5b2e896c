"""What can be known about an LLM object without calling it. Nothing here raises for an unknown model name."""

from typing import Any

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms.llm import LLM


def metadata(llm: LLM) -> LLMMetadata | None:
    """The LLM's metadata, or None where its class does not know its model's name (then ``metadata`` raises)."""
    try:
        return llm.metadata
    except Exception:  # an integration may raise anything here; "unknown" is the honest answer to all of it
        return None


def model_name(llm: LLM) -> str:
    """The model's name, as the provider calls it."""
    known = metadata(llm)
    name = known.model_name if known and known.model_name not in ("", "unknown") else getattr(llm, "model", None)
    return str(name) if name else llm.class_name()


def provider_name(llm: LLM) -> str:
    """The integration's short name: "openai" for ``llama_index.llms.openai.OpenAI``."""
    module = type(llm).__module__.split(".")
    return module[2] if module[:2] == ["llama_index", "llms"] and len(module) > 2 else llm.class_name().lower()


def endpoint_key(llm: LLM) -> tuple[str, str, str]:
    """What two LLM objects share when they ask the same model at the same place: provider, model, address."""
    base = getattr(llm, "api_base", None) or getattr(llm, "base_url", None) or getattr(llm, "endpoint", None) or ""
    return provider_name(llm), model_name(llm), str(base)


def context_window(llm: LLM) -> int | None:
    """The model's context window in tokens, or None where it is not known."""
    known = metadata(llm)
    return known.context_window if known and known.context_window > 0 else None


def output_room(llm: LLM) -> int:
    """Tokens the LLM object reserves for an answer; 0 where it does not say."""
    known = metadata(llm)
    return max(0, known.num_output or 0) if known else 0


def calls_functions(llm: LLM) -> bool:
    """Whether the model can be given tools."""
    known = metadata(llm)
    return bool(known and known.is_function_calling_model)


def secrets(llm: LLM) -> tuple[str, ...]:
    """The keys that the LLM object holds, to be kept out of every text."""
    found: list[Any] = [getattr(llm, name, None) for name in ("api_key", "azure_api_key", "token")]
    found += [getattr(getattr(llm, name, None), "api_key", None) for name in ("_client", "_aclient")]
    headers: Any = getattr(llm, "default_headers", None)
    found += list(headers.values()) if isinstance(headers, dict) else []  # type: ignore[reportUnknownArgumentType]
    return tuple(secret for secret in found if isinstance(secret, str) and secret)
