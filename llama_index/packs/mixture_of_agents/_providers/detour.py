"""Another way to ask LLMs than directly. Without one, nothing of it is imported or made."""

from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Protocol

from llama_index.core.llms.llm import LLM


class Detour(Protocol):
    """Another way to ask LLMs than directly: by way of their providers' batch APIs."""

    def asking(self, llm: LLM) -> AbstractAsyncContextManager[LLM | None]:
        """While an LLM is asked: the one to ask in its place, or None to ask it directly."""
        ...


DETOUR: ContextVar[Detour | None] = ContextVar("detour", default=None)
"""How LLMs are asked for whole answers in this context; None is directly."""
