"""What this process may send to one endpoint: its share of the minute, and the requests in flight."""

import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from llama_index.packs.mixture_of_agents._concurrency.slots import Slots
from llama_index.packs.mixture_of_agents.errors import ConfigError
from llama_index.packs.mixture_of_agents.policies import EndpointLimits, Limits

from ._adaptive import FIRST, Adaptive
from ._gate import Gate
from ._leases import Leases
from ._limiter import Limiter
from ._memory import MemoryLimiter
from ._ray import RayLimiter
from ._redis import RedisLimiter
from ._sqlite import SqliteLimiter
from ._window import MINUTE

_HAS_TOO_MANY = (429, 503, 529)
"""Statuses of an endpoint that cannot take more requests now. Anthropic sends 529 when it is overloaded."""
Endpoints = Mapping[str, EndpointLimits]
STORES: dict[str, Callable[[str, Endpoints], Limiter]] = {
    "sqlite": lambda place, endpoints: SqliteLimiter(place.partition(":")[2], endpoints),
    "ray": lambda place, endpoints: RayLimiter(endpoints, place.partition(":")[2] or "limits"),
    "redis": RedisLimiter,
    "rediss": RedisLimiter,
    "unix": RedisLimiter,
}
"""What makes the shared limiter of a store, by the beginning of its address."""


def connect(store: str, endpoints: Endpoints) -> Limiter:
    """Make the limiter of a store.

    Args:
        store: "memory", "sqlite:PATH", "ray", "redis://HOST:PORT/NUMBER", or "$NAME": the environment variable that says it.
        endpoints: the limits of each key.

    Returns:
        The limiter.

    Raises:
        ConfigError: there is no such store or variable, or what it needs is not installed.
    """
    if store.startswith("$"):
        name = store[1:]
        if not (store := os.environ.get(name, "")):
            raise ConfigError(f"limits.store: the environment variable {name} is not set")
    kind = store.partition(":")[0]
    if kind == "memory":
        return MemoryLimiter(endpoints)
    if kind not in STORES:
        known = ", ".join(("memory", *STORES))
        raise ConfigError(f"limits.store: {kind!r} is not a store of limits; known are {known}")
    return STORES[kind](store, endpoints)


class Quota:
    """What all calls of this process to one endpoint share, as ``EndpointLimits`` says it.

    Args:
        key: the endpoint's name.
        limits: its limits.
        gate: the gate of its store.

    Attributes:
        slots: the slots for requests in flight; None if they are not limited.
    """

    def __init__(self, key: str, limits: EndpointLimits, gate: Gate) -> None:
        self._key, self._gate = key, gate
        self._adaptive = Adaptive() if limits.in_flight == "auto" else None
        at_once = FIRST if limits.in_flight == "auto" else limits.in_flight
        self.slots = None if at_once is None else Slots(at_once)
        self._lock = threading.Lock()

    async def enter(self, tokens: int) -> "Ticket":
        """Wait until a request may be sent.

        Args:
            tokens: the tokens that it may use.

        Returns:
            What to report the request's outcome to.

        Raises:
            LimiterUnavailable: the store cannot be reached.
        """
        await self._gate.enter(self._key, tokens)
        return Ticket(self, tokens, self._adaptive.sent() if self._adaptive else 0)

    @asynccontextmanager
    async def turn(self, tokens: int) -> "AsyncGenerator[Ticket, None]":
        """Wait for a slot and until a request may be sent. The slot is free again when the context is closed.

        Args:
            tokens: the tokens that it may use.

        Returns:
            A context of the request's ticket.

        Raises:
            LimiterUnavailable: the store cannot be reached.
        """
        if self.slots:
            await self.slots.acquire(self._key)
        try:
            yield await self.enter(tokens)
        finally:
            if self.slots:
                self.slots.release(self._key)

    def settle(self, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._gate.settle(self._key, tokens)

    def cool_down(self, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        self._gate.cool_down(self._key, seconds)

    def adapt(self, learn: Callable[[Adaptive, int], None]) -> None:
        """Let the number in flight, if it is found out, learn from an outcome and the number now in flight.

        Args:
            learn: is given what finds the number, and the number of requests now in flight.
        """
        if self._adaptive and self.slots:
            with self._lock:
                learn(self._adaptive, self.slots.in_use)
                self.slots.resize(self._adaptive.limit)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request that may be sent. Its outcome is to be reported by one of the methods.

    Attributes:
        quota: the quota of its endpoint.
        tokens: the tokens that were reserved for it.
        number: its number among those sent.
    """

    quota: Quota
    tokens: int
    number: int

    def answered(self, seconds: float, tokens: int) -> None:
        """Record an answer.

        Args:
            seconds: how long it took.
            tokens: the tokens that it used.
        """
        beyond = tokens - self.tokens
        if beyond > 0 or seconds < MINUTE:  # what was reserved earlier no longer counts
            self.quota.settle(beyond)
        self.quota.adapt(lambda adaptive, busy: adaptive.answered(self.number, seconds, busy))

    def failed(self, status: int | None, retry_after: float | None) -> None:
        """Record a failure. If the endpoint has too many requests, fewer are sent.

        Args:
            status: the HTTP status; None without one.
            retry_after: seconds until it takes requests again, if it said so.
        """
        if status not in _HAS_TOO_MANY:
            return
        self.quota.settle(-self.tokens)
        if retry_after:
            self.quota.cool_down(retry_after)
        self.quota.adapt(lambda adaptive, _: adaptive.refused())


_quotas: dict[tuple[int, str, str, EndpointLimits], Quota] = {}
_lock = threading.Lock()


def quota_of(limits: Limits, provider: str, model: str) -> Quota | None:
    """What this process may send to an endpoint. All mixtures that set the same limits for it, in the same store, share it.

    Args:
        limits: the limits of a recipe.
        provider: the endpoint's provider, as LlamaIndex names the integration.
        model: the model's name.

    Returns:
        The quota; None if the limits say nothing of this endpoint.

    Raises:
        ConfigError: there is no such store, or what it needs is not installed.
    """
    name = limits.name_of(provider, model)
    if name is None:
        return None
    own = limits.endpoints[name]
    key = (os.getpid(), limits.store, name, own)  # threads end at a fork
    with _lock:
        if key not in _quotas:
            limiter = connect(limits.store, {name: own})
            in_process = isinstance(limiter, MemoryLimiter)
            gate = Gate(limiter if in_process else Leases(limiter, {name: own}))
            _quotas[key] = Quota(name, own, gate)
        return _quotas[key]
