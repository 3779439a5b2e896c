"""A rate limiter that tests can read."""

from typing import Any

from llama_index.core.rate_limiter import BaseRateLimiter


class Recording(BaseRateLimiter):
    """A rate limiter that lets everything through and says what it was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("chat", num_tokens))

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("achat", num_tokens))


def with_limiter(llm: Any, limiter: Any) -> Any:
    llm.rate_limiter = limiter
    return llm
