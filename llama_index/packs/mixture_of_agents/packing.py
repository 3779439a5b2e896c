"""LLM objects as what a pickle can hold: how to make them again, without a key or a header."""

from collections.abc import Mapping
from typing import Any

from llama_index.core.llms.llm import LLM

from .described import describe_llm
from .errors import ConfigError
from .models import SECRET, ModelSpec, make_llm


def packed(llm: LLM) -> LLM | dict[str, Any]:
    """What stands for an LLM in a pickle.

    An LLM of one of LlamaIndex's integrations is described, since its clients cannot be pickled; one of a class of
    your own is pickled by its class, with its secret fields empty.
    """
    try:
        return describe_llm(llm)
    except ConfigError:
        secret = [
            name
            for name in type(llm).model_fields
            if SECRET.search(name) and getattr(llm, name, None)
        ]
        return llm.model_copy(update=dict.fromkeys(secret)) if secret else llm


def unpacked(llm: LLM | Mapping[str, Any]) -> LLM:
    """The LLM again; its key is the environment's.

    Raises:
        ConfigError: the environment has no key, and the LLM asks its provider's own server, which wants one.
    """
    if isinstance(llm, LLM):
        return llm
    given = dict(llm)
    spec = ModelSpec(path=given.pop("class", ""), **given)
    return make_llm(spec, need_key=not spec.api_base)


def without_secrets(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments without keys and headers."""
    return {name: value for name, value in kwargs.items() if not SECRET.search(name)}
