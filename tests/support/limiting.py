"""A rate limiter that tests can read."""

from typing import Any

from hypothesis import strategies as st
from llama_index.core.rate_limiter import BaseRateLimiter

STEPS = st.lists(
    st.tuples(
        st.floats(-1, 30),
        st.one_of(
            st.tuples(st.just("reserve"), st.integers(0, 5), st.integers(0, 120)),
            st.tuples(st.just("settle"), st.integers(-60, 60)),
            st.tuples(st.just("cool_down"), st.integers(0, 40)),
        ),
    ),
    max_size=40,
)
"""Pauses in seconds, and what is called with which numbers after each."""


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
