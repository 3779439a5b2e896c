"""What all calls to one model endpoint share: a circuit breaker, slots, and how long it usually takes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from llama_index.packs.mixture_of_agents._concurrency.slots import Slots

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.limits import Quota

Admission: TypeAlias = Literal["closed", "probe", "open"]


class CircuitBreaker:
    """Keeps calls from an endpoint that fails. It is safe to use from any thread.

    After enough failures in a row it opens and lets no call through for a while. Then it lets one call through as a
    probe. If the probe succeeds, it closes; if not, it stays open for as long again.

    Args:
        failures: the number of failures in a row that open it (0: it never opens).
        cooldown: seconds until a probe.
        clock: returns the time in seconds.

    Attributes:
        reason: the failure that opened it, in words.
    """

    def __init__(
        self, failures: int, cooldown: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures, self._cooldown, self._clock = failures, cooldown, clock
        self._in_a_row = 0
        self._opened: float | None = None
        self._probing = False
        self._lock = threading.Lock()
        self.reason = ""

    def admit(self) -> Admission:
        """Whether a call may go through. A probe must be followed by one of the three methods below."""
        if not self._is_open():  # the usual case takes no lock
            return "closed"
        with self._lock:
            if not self._is_open():
                return "closed"
            if self._probing or self.remaining > 0:
                return "open"
            self._probing = True
            return "probe"

    def _is_open(self) -> bool:
        return self._opened is not None

    @property
    def remaining(self) -> float:
        """Seconds until it lets a probe through; 0 if it does so now."""
        return (
            0.0 if self._opened is None else max(0.0, self._opened + self._cooldown - self._clock())
        )

    def succeeded(self) -> None:
        """Record a call that succeeded."""
        if self._in_a_row:
            with self._lock:
                self._in_a_row, self._opened, self._probing = 0, None, False

    def failed(self, admission: Admission, reason: str) -> None:
        """Record a call that failed through the endpoint's fault."""
        with self._lock:
            self._in_a_row += 1
            # A call from before the circuit opened may have succeeded since, which ends the probing.
            if admission == "probe" and self._probing:
                self._opened, self._probing, self.reason = self._clock(), False, reason
            elif self._opened is None and 0 < self._failures <= self._in_a_row:
                self._opened, self.reason = self._clock(), reason

    def gave_up(self, admission: Admission) -> None:
        """Record a call whose end says nothing about the endpoint."""
        if admission == "probe":
            with self._lock:
                self._probing = False


class UsualTime:
    """How long an endpoint usually takes: the time within which 19 of its last 20 answers (up to 100) came."""

    _ENOUGH = 10

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=100)

    def add(self, seconds: float) -> None:
        """Record the seconds that an answer took."""
        self._seconds.append(seconds)

    @property
    def seconds(self) -> float | None:
        """Seconds; None until ten answers are known."""
        known = sorted(self._seconds)
        return known[int(0.95 * (len(known) - 1))] if len(known) >= self._ENOUGH else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What all calls to one model endpoint share.

    Attributes:
        breaker: its circuit breaker, or None.
        slots: the slots that each call in flight takes: those of all calls, and those of calls to this endpoint.
        usual: how long it usually takes.
        quota: what may be sent to it in a minute, or None if that is not limited.
    """

    breaker: CircuitBreaker | None = None
    slots: tuple[Slots, ...] = ()
    usual: UsualTime = field(default_factory=UsualTime)
    quota: "Quota | None" = None
