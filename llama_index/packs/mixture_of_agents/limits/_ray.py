"""The limits of the workers of a Ray cluster, in a named actor."""

import time
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any

from llama_index.packs.mixture_of_agents.errors import ConfigError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._window import MINUTE, SLACK, Window

_NAMESPACE = "mixture-of-agents"
_TIMEOUT = 10.0
"""Seconds to wait for the actor."""


class RayLimiter:
    """A ``Limiter`` and a ``Ledger`` for all processes of a Ray cluster. Needs the extra ``ray``.

    The counts are in an actor that the first process starts, and that lives as long as the cluster. If its node is lost,
    it starts elsewhere, and lets nothing through for a minute. Its clock counts, so the nodes' clocks may differ. The
    process must be connected to the cluster when it first uses this object. It can be pickled.

    Args:
        endpoints: the limits of each key.
        name: the name of the actor. Limiters of one name share their counts.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, endpoints: Mapping[str, EndpointLimits], name: str = "limits") -> None:
        self._endpoints, self._name = dict(endpoints), name
        self._actor: Any = None
        try:
            self._ray = import_module("ray")
        except ImportError as error:
            extra = "pip install 'llama-index-packs-mixture-of-agents[ray]'"
            raise ConfigError(f"limits on a Ray cluster need the package ray: {extra}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return RayLimiter, (self._endpoints, self._name)

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``."""
        limits = self._endpoints.get(key) or EndpointLimits()
        return self._do("reserve", key, limits, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._do("settle", key, tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        self._do("cool_down", key, seconds)

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """See ``Ledger.spend``."""
        return self._do("spend", account, usd)

    def _do(self, method: str, *args: Any) -> Any:
        try:
            if self._actor is None:
                options = {
                    "name": self._name,
                    "namespace": _NAMESPACE,
                    "get_if_exists": True,
                    "lifetime": "detached",
                    "max_restarts": -1,
                    "num_cpus": 0,
                }
                self._actor = self._ray.remote(Counts).options(**options).remote()
            return self._ray.get(getattr(self._actor, method).remote(*args), timeout=_TIMEOUT)
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            self._actor = None
            problem = f"the limits on the Ray cluster cannot be reached: {type(error).__name__}"
            raise LimiterUnavailable(problem) from None


class Counts:
    """The actor. It does one thing at a time, so check and count are one step."""

    def __init__(self) -> None:
        is_new = not import_module("ray").get_runtime_context().was_current_actor_reconstructed
        closed = 0.0 if is_new else time.monotonic() + MINUTE + SLACK  # what was counted is lost
        self._windows: defaultdict[str, Window] = defaultdict(lambda: Window(closed=closed))
        self._spent: defaultdict[str, Decimal] = defaultdict(Decimal)

    def reserve(self, key: str, limits: EndpointLimits, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``."""
        return self._windows[key].reserve(time.monotonic(), limits, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._windows[key].settle(time.monotonic(), tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        self._windows[key].cool_down(time.monotonic(), seconds)

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """See ``Ledger.spend``."""
        self._spent[account] += usd
        return self._spent[account]
