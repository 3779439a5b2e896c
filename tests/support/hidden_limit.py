"""A provider that takes only so many requests at once and does not say how many, on a simulated clock."""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

Sent = tuple[int, float]
"""The number of a request, and when it was sent."""


class InFlight(Protocol):
    """Decides how many requests are in flight."""

    limit: int

    def sent(self) -> int: ...
    def answered(self, number: int, seconds: float, in_flight: int) -> None: ...
    def refused(self) -> None: ...


@dataclass
class Fixed:
    """Always the same number."""

    limit: int

    def sent(self) -> int:
        return 0

    def answered(self, number: int, seconds: float, in_flight: int) -> None: ...
    def refused(self) -> None: ...


@dataclass
class Outcome:
    """What happened: the times of answers, and of refusals, and the limit over time."""

    answers: list[float] = field(default_factory=list[float])
    refusals: list[float] = field(default_factory=list[float])
    limits: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    def per_second(self, start: float, end: float) -> float:
        return sum(start <= when < end for when in self.answers) / (end - start)

    @property
    def refused(self) -> float:
        return len(self.refusals) / (len(self.answers) + len(self.refusals))

    def mean_limit(self, start: float) -> float:
        known = [limit for when, limit in self.limits if when >= start]
        return sum(known) / len(known)


def served(
    policy: InFlight, places: int, seconds: float, *, queues: bool, spread: float = 0.3, latency: float = 1.0
) -> Outcome:  # fmt: skip
    """Ask a provider with so many places as fast as a policy allows, for so many seconds.

    Beyond its places it refuses at once, or (``queues``) lets requests wait in line. What is refused comes again half a
    second later, as a call that is tried again does.
    """
    draw, outcome = random.Random(1), Outcome()
    events: list[tuple[float, int, str, Sent]] = [(0.0, 0, "again", (0, 0.0))]
    in_flight = busy = number = 0
    line = deque[Sent]()
    ready = 10**9  # questions that wait on our side

    def at(when: float, what: str, sent: Sent = (0, 0.0)) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, what, sent))

    def took() -> float:
        return latency * draw.lognormvariate(0, spread)

    now = 0.0
    while events and now < seconds:
        now, _, what, sent = heapq.heappop(events)
        if what == "answer":
            busy -= 1
            if line:
                busy += 1
                at(now + took(), "answer", line.popleft())
            outcome.answers.append(now)
            policy.answered(sent[0], now - sent[1], in_flight)
            in_flight -= 1
        elif what == "refusal":
            outcome.refusals.append(now)
            policy.refused()
            in_flight, ready = in_flight - 1, ready - 1
            at(now + 0.5, "again")
        else:
            ready += 1
        while in_flight < policy.limit and ready > 0:
            in_flight, ready = in_flight + 1, ready - 1
            sent = policy.sent(), now
            if busy < places:
                busy += 1
                at(now + took(), "answer", sent)
            elif queues:
                line.append(sent)
            else:
                at(now + 0.02, "refusal", sent)
            ready += 1  # there is always another question
        outcome.limits.append((now, policy.limit))
    return outcome
