"""Reserves in chunks, so that few requests wait for the store."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._limiter import Limiter
from ._window import MINUTE, SLACK, exceeds

LEASE = 0.75 * SLACK
"""Seconds for which a chunk may be used. The rest of ``SLACK`` is for the way to the provider."""
_AT_LEAST = 0.1
"""Seconds for which a chunk may be used after a slow store's answer: otherwise it would have expired on its way."""
_LARGEST = 32
"""A chunk is at most one part in so many of a minute's limit, so that other workers get theirs."""


@dataclass(slots=True)
class _Chunk:
    until: float
    requests: int
    tokens: int


@dataclass(slots=True)
class _Held:
    """What a worker holds for one key, and what it has used of each kind lately: [since, requests, tokens]."""

    chunks: deque[_Chunk] = field(default_factory=deque[_Chunk])
    since: float = 0.0
    used: list[int] = field(default_factory=lambda: [0, 0])
    before: list[int] = field(default_factory=lambda: [0, 0])

    def available(self, now: float) -> tuple[int, int]:
        """Requests and tokens that may be sent now."""
        while self.chunks and self.chunks[0].until <= now:
            self.chunks.popleft()
        return sum(one.requests for one in self.chunks), sum(one.tokens for one in self.chunks)

    def take(self, now: float, requests: int, tokens: int) -> None:
        """Use what is available, the oldest first."""
        self.pace(now)
        self.used[0] += requests
        self.used[1] += tokens
        for chunk in self.chunks:
            some, parts = min(chunk.requests, requests), min(chunk.tokens, tokens)
            chunk.requests, chunk.tokens = chunk.requests - some, chunk.tokens - parts
            requests, tokens = requests - some, tokens - parts

    def pace(self, now: float) -> tuple[int, int]:
        """Requests and tokens used in the last whole period of ``LEASE`` seconds."""
        if now - self.since >= LEASE:
            lately = now - self.since < 2 * LEASE
            self.before, self.used = (self.used if lately else [0, 0]), [0, 0]
            self.since = now
        return self.before[0], self.before[1]


class Leases:
    """A ``Limiter`` of one worker, who reserves ahead in a shared one what the last second suggests.

    Args:
        limiter: the shared limiter.
        endpoints: the limits of each key.
        clock: returns the time in seconds. Only differences count, so it need not agree with the store's clock.
    """

    def __init__(
        self,
        limiter: Limiter,
        endpoints: Mapping[str, EndpointLimits],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limiter, self._endpoints, self._clock = limiter, endpoints, clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def take(self, key: str, requests: int, tokens: int) -> bool:
        """Use what is reserved already, if that is enough. It never waits.

        Args:
            key: the name of the endpoint.
            requests: the number of requests.
            tokens: the tokens that they may use together.

        Returns:
            Whether it was enough.
        """
        with self._lock:
            held, now = self._held.setdefault(key, _Held()), self._clock()
            available = held.available(now)
            enough = available[0] >= requests and available[1] >= tokens
            if enough:
                held.take(now, requests, tokens)
            return enough

    def is_low(self, key: str) -> bool:
        """Return whether more should be reserved soon: less than half of what is reserved ahead is left.

        Args:
            key: the name of the endpoint.
        """
        with self._lock:
            held, now = self._held.setdefault(key, _Held()), self._clock()
            requests, tokens = held.available(now)
            ahead = self._ahead(key, held, now)
            return requests < ahead[0] // 2 or tokens < ahead[1] // 2

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``. It reserves more than that in the store, if the limits allow it."""
        # Another thread may take what was filled in between.
        while not self.take(key, requests, tokens):
            seconds = self.fill(key, requests, tokens)
            if seconds:
                return seconds
        return 0.0

    def fill(self, key: str, requests: int = 0, tokens: int = 0) -> float:
        """Reserve in the store so that this much can be taken, and what may be needed soon.

        Args:
            key: the name of the endpoint.
            requests: the number of requests to take next.
            tokens: the tokens that they may use together.

        Returns:
            0.0, or the seconds after which to ask again.
        """
        limits = self._endpoints.get(key) or EndpointLimits()
        if exceeds(limits, requests, tokens):
            return MINUTE
        with self._lock:
            held, now = self._held.setdefault(key, _Held()), self._clock()
            available, ahead = held.available(now), self._ahead(key, held, now)
        if exceeds(limits, 2, tokens + ahead[1]):
            ahead = 0, 0  # one large request takes the whole minute
        short = max(0, requests - available[0]), max(0, tokens - available[1])
        while True:
            wanted = short[0] + ahead[0], short[1] + ahead[1]
            seconds = self._limiter.reserve(key, *wanted) if any(wanted) else 0.0
            if not seconds:
                until = max(now + LEASE, self._clock() + _AT_LEAST)
                with self._lock:
                    held.chunks.append(_Chunk(until, *wanted))
                return 0.0
            if not any(ahead):
                return seconds
            ahead = ahead[0] // 2, ahead[1] // 2

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._limiter.settle(key, tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``. What this worker has reserved already is dropped."""
        self.drop(key)
        self._limiter.cool_down(key, seconds)

    def drop(self, key: str) -> None:
        """Forget what is reserved. The store still counts it.

        Args:
            key: the name of the endpoint.
        """
        with self._lock:
            self._held.pop(key, None)

    def _ahead(self, key: str, held: _Held, now: float) -> tuple[int, int]:
        """Requests and tokens to reserve beyond what is needed now: what half a period used, so that little expires."""
        limits = self._endpoints.get(key) or EndpointLimits()
        bounds = limits.requests_per_minute, limits.tokens_per_minute
        requests, tokens = (
            min(used // 2, used if bound is None else bound // _LARGEST)
            for used, bound in zip(held.pace(now), bounds, strict=True)
        )
        return requests, tokens
