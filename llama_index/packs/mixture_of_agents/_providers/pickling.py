"""Pickles settings that hold LLMs or embedding models, without a key, a header or a client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.errors import ConfigError

from .function_calling import FormingLLM
from .redaction import SECRET

if TYPE_CHECKING:
    from typing_extensions import Self


class Packable:
    """A frozen dataclass whose LLMs, embedding models and keyword arguments are pickled without secrets.

    The clients in a model of LlamaIndex's integrations cannot be pickled. So the pickle holds a description, from
    which the model is made again; it takes its key from the environment. A model of a class of your own is pickled as
    usual, with its secret fields empty. ``copy`` returns the object itself, since it never changes.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        values = {one.name: _packed(getattr(self, one.name)) for one in fields(self)}  # type: ignore[arg-type]
        return _again, (type(self), values)

    def __copy__(self) -> "Self":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Self":
        return self


@dataclass(frozen=True, slots=True)
class _Description:
    """Stands for a model in a pickle: its description as in a configuration file."""

    data: Mapping[str, Any]
    is_embedding: bool = False

    def model(self) -> LLM | BaseEmbedding:
        """Make the model again.

        Raises:
            ConfigError: the environment has no key for an LLM of the provider's own server.
        """
        from .models import ModelSpec, make_embedding, make_llm

        data = dict(self.data)
        path = data.pop("class", "")
        if self.is_embedding:
            return make_embedding(path, data.get("settings", {}), need_key=False)
        spec = ModelSpec(path=path, **data)
        return make_llm(spec, need_key=not spec.api_base)


def packed(llm: LLM) -> Any:
    """An LLM as it can be pickled: a description, or a copy without keys if its class is the user's own."""
    return llm if isinstance(llm, FormingLLM) else _packed(llm)


def unpacked(content: Any) -> LLM:
    """The LLM of what ``packed`` made.

    Raises:
        ConfigError: The environment has no key for an LLM of the provider's own server.
    """
    made = content.model() if isinstance(content, _Description) else content
    assert isinstance(made, LLM)
    return made


def _again(cls: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    return cls(
        **{
            name: value.model() if isinstance(value, _Description) else value
            for name, value in values.items()
        }
    )


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: one for name, one in value.items() if not SECRET.search(str(name))}  # type: ignore[reportUnknownVariableType,reportUnknownArgumentType]
    if not isinstance(value, (LLM, BaseEmbedding)):
        return value
    from .descriptions import describe_embedding, describe_llm

    try:
        if isinstance(value, LLM):
            return _Description(describe_llm(value))
        return _Description(describe_embedding(value), is_embedding=True)
    except ConfigError:  # a class of the user's own
        secret = [
            name
            for name in type(value).model_fields
            if SECRET.search(name) and getattr(value, name, None)
        ]
        return value.model_copy(update=dict.fromkeys(secret)) if secret else value
