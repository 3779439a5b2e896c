"""The keys of those who may ask, and what each may still ask."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from llama_index.packs.mixture_of_agents.pricing import Cost

from .error_bodies import IN_VAIN, Problem, Refused
from .key_usage import KeyUsage
from .metrics import Metrics

Charge: TypeAlias = Callable[[Cost], None]
"""Takes what a call has cost."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key with a name, and with limits if you like.

    Attributes:
        name: Who asks with it, for refusals and metrics.
        secret: The key.
        requests_per_minute: The requests in any 60 seconds; None for no limit.
        usd_per_day: The US dollars that a day in UTC may cost; None for no limit. It is checked before a run begins, so
            the runs under way then may go beyond it.
    """

    name: str
    secret: str = field(repr=False)
    requests_per_minute: int | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "usd_per_day"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} = {limit!r}: must be more than 0")


def named(keys: Collection[str | ApiKey]) -> list[ApiKey]:
    """Every key as one with a name, which is "" for a bare one.

    Raises:
        ValueError: A key is given twice, or a name.
    """
    found = [key if isinstance(key, ApiKey) else ApiKey("", key.strip()) for key in keys]
    names = [key.name for key in found if key.name]
    secrets = {key.secret for key in found}
    if len(set(names)) < len(names) or len(secrets) < len(found):
        raise ValueError("keys: a name, or a key, is given twice")
    return found


class Allowance:
    """Says whether a key may ask now, and counts what it asks.

    Args:
        usage: What each key has used.
        metrics: Counts by names of keys.
    """

    def __init__(self, usage: KeyUsage, metrics: Metrics) -> None:
        self._usage, self._metrics = usage, metrics

    async def admit(self, state: Mapping[str, Any]) -> Charge | None:
        """Count a request.

        Args:
            state: The state of the request's scope, in which the guard has put the key.

        Returns:
            What takes the cost of each call; None if nobody counts that.

        Raises:
            Refused: The key has used up what it may.
        """
        key: ApiKey | None = state.get("key")
        if key is None or not key.name:
            return None
        if key.requests_per_minute or key.usd_per_day:
            used_up = await self._usage.admit(key.name, key.requests_per_minute, key.usd_per_day)
            if used_up:
                self._metrics.key_refused(key.name, used_up.limit)
                raise Refused(_problem(key, used_up.limit, max(1, math.ceil(used_up.seconds))))
        self._metrics.key_admitted(key.name)
        return lambda cost: self._charge(key, cost)

    def _charge(self, key: ApiKey, cost: Cost) -> None:
        usd = max(0.0, float(cost.at_least))
        self._metrics.key_spent(key.name, usd)
        if key.usd_per_day and usd:
            self._usage.spend(key.name, usd)


def _problem(key: ApiKey, limit: str, seconds: int) -> Problem:
    wait = {"Retry-After": str(seconds)}
    if limit == "usd_per_day":
        problem = (
            f"The key {key.name} has used its {key.usd_per_day:g} US dollars of this day (UTC)."
        )
        return Problem(429, problem, "insufficient_quota", headers={**wait, **IN_VAIN})
    problem = f"The key {key.name} may ask {key.requests_per_minute} times a minute; ask again in {seconds} s."
    return Problem(429, problem, "rate_limit_exceeded", headers=wait)
