"""Another way to send requests to LLMs than directly. Without a detour, nothing of it is imported or made."""

from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Protocol

from llama_index.core.llms.llm import LLM


class Detour(Protocol):
    """Another way to send requests to LLMs: through their providers' batch APIs."""

    def asking(self, llm: LLM) -> AbstractAsyncContextManager[LLM | None]:
        """A context for one request: yields the LLM to use instead, or None to use the LLM itself."""
        ...


DETOUR: ContextVar[Detour | None] = ContextVar("detour", default=None)
"""The detour of this context, for whole answers; None sends requests directly."""
