"""The requests and tokens of the last minute, for one endpoint. Pure: it receives the time."""

from dataclasses import dataclass, field
from math import floor

from llama_index.packs.mixture_of_agents.policies import EndpointLimits

MINUTE = 60.0
SLACK = 1.0
"""Seconds within which what was reserved is sent. It counts this much longer than a minute, so that no minute of the
provider's sees more than the limit."""
QUANTUM = 0.5
"""Seconds. Reservations within one quantum are kept as one, so that a busy minute takes little room."""
SPAN = round((MINUTE + SLACK) / QUANTUM) + 1
"""The number of quanta for which a reservation counts, its own included."""


def exceeds(limits: EndpointLimits, requests: int, tokens: int) -> bool:
    """Whether several requests can never be sent together: they are more than a minute's limit."""
    bounds = (requests, limits.requests_per_minute), (tokens, limits.tokens_per_minute)
    return requests > 1 and any(limit is not None and wanted > limit for wanted, limit in bounds)


@dataclass(slots=True)
class Window:
    """What was reserved lately, and until when nothing may be sent.

    Attributes:
        grants: ``[quantum, requests, tokens]`` of each quantum with reservations, the oldest first.
        closed: the time until which nothing may be sent.
    """

    grants: list[list[int]] = field(default_factory=list[list[int]])
    closed: float = 0.0

    def reserve(self, now: float, limits: EndpointLimits, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``.

        Args:
            now: seconds, on the store's clock.
            limits: the limits of the endpoint.
            requests: the number of requests.
            tokens: the number of their tokens.
        """
        self._forget(now)
        if exceeds(limits, requests, tokens):
            return MINUTE
        free = max(
            self.closed,
            self._free(1, requests, limits.requests_per_minute),
            self._free(2, tokens, limits.tokens_per_minute),
        )
        if free > now:
            return free - now
        self._add(now, requests, tokens)
        return 0.0

    def settle(self, now: float, tokens: int) -> None:
        """See ``Limiter.settle``."""
        self._forget(now)
        if tokens > 0:
            self._add(now, 0, tokens)
        for grant in self.grants:
            # The oldest first: they count no longer than the reservation itself, so no minute is counted too low.
            back = min(grant[2], max(0, -tokens))
            grant[2] -= back
            tokens += back

    def cool_down(self, now: float, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        self.closed = max(self.closed, now + seconds)

    def _forget(self, now: float) -> None:
        """Drop what no longer counts. Reservations that are later than now, by a clock set back, count as of now."""
        this = floor(now / QUANTUM)
        while self.grants and self.grants[0][0] + SPAN <= this:
            self.grants.pop(0)
        if self.grants and self.grants[-1][0] > this:
            self.grants = [[min(grant[0], this), *grant[1:]] for grant in self.grants]

    def _free(self, column: int, wanted: int, limit: int | None) -> float:
        """The time from which there is room for more."""
        if limit is None or not wanted:
            return 0.0
        # A single request above the limit counts as the limit, or it could never be sent.
        excess = sum(grant[column] for grant in self.grants) + min(wanted, limit) - limit
        for grant in self.grants:
            if excess <= 0:
                break
            excess -= grant[column]
            if excess <= 0:
                return (grant[0] + SPAN) * QUANTUM
        return 0.0

    def _add(self, now: float, requests: int, tokens: int) -> None:
        this = floor(now / QUANTUM)
        if not self.grants or self.grants[-1][0] != this:
            self.grants.append([this, 0, 0])
        self.grants[-1][1] += requests
        self.grants[-1][2] += tokens
