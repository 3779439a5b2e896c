"""The limits of one process."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._window import Window


class MemoryLimiter:
    """A ``Limiter`` and a ``Ledger`` for the threads of one process. It never waits.

    Args:
        endpoints: the limits of each key.
        clock: returns the time in seconds.
    """

    def __init__(
        self, endpoints: Mapping[str, EndpointLimits], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoints, self._clock = endpoints, clock
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._accounts: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._lock = threading.Lock()

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``."""
        limits = self._endpoints.get(key) or EndpointLimits()
        with self._lock:
            return self._windows[key].reserve(self._clock(), limits, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        with self._lock:
            self._windows[key].settle(self._clock(), tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        with self._lock:
            self._windows[key].cool_down(self._clock(), seconds)

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """See ``Ledger.spend``."""
        with self._lock:
            self._accounts[account] += usd
            return self._accounts[account]
