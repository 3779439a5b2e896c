"""Processes that share one limit, on a simulated clock that advances when all of them wait."""

import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.limits import EndpointLimits, Leases, SqliteLimiter

KEY = "openai:gpt-4.1-mini"
TICK = 0.5
"""Seconds."""


def work(
    number: int, path: Path, endpoints: dict[str, EndpointLimits], end: float, wanted: int,
    clock: Any, due: Any, all_wait: Any, sent: Any,
) -> None:  # fmt: skip
    """Send as much as the limiter allows: ``wanted`` requests come up in a second, and wait for their turn."""
    draw = random.Random(number)
    now: Callable[[], float] = lambda: clock.value  # noqa: E731
    leases = Leases(SqliteLimiter(path, endpoints, now, timeout=60), endpoints, now)
    log, again, begun, tokens = list[tuple[float, int]](), 0.0, clock.value, draw.randint(50, 150)
    while clock.value < end:
        while len(log) < wanted * (clock.value - begun) and clock.value >= again:
            seconds = leases.reserve(KEY, 1, tokens)
            again = clock.value + seconds
            if not seconds:
                # On its way, which takes a moment.
                log.append((clock.value + draw.uniform(0, 0.2), tokens))
                tokens = draw.randint(50, 150)
        due[number] = again
        if all_wait.wait() == 0:
            clock.value = max(clock.value + TICK, min(due))
        all_wait.wait()
    sent.put(log)


def outcomes_of(
    work: Callable[..., None], processes: int, given: tuple[Any, ...], outcomes: Any
) -> list[Any]:
    """What each process puts into the queue of outcomes; a process is given its number before the rest."""
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(i, *given), daemon=True) for i in range(processes)]
    for worker in workers:
        worker.start()
    found = [outcomes.get(timeout=200) for _ in workers]
    for worker in workers:
        worker.join()
    return found


def sent_by(
    processes: int, path: Path, limits: EndpointLimits, seconds: float, wanted: int
) -> list[tuple[float, int]]:
    """When each request of all processes was sent, from the simulated time 0 on, and its tokens; in order."""
    spawn = multiprocessing.get_context("spawn")
    due: Any = spawn.Array("d", processes, lock=False)
    clock, all_wait = spawn.Value("d", 1000.0, lock=False), spawn.Barrier(processes, timeout=60)
    sent: Any = spawn.Queue()
    given = (path, {KEY: limits}, 1000.0 + seconds, wanted, clock, due, all_wait, sent)
    logs = outcomes_of(work, processes, given, sent)
    return sorted((when - 1000.0, tokens) for log in logs for when, tokens in log)


def most_in_a_minute(amounts: list[tuple[float, int]]) -> int:
    """The largest sum of amounts in any 60 seconds."""
    most = total = first = 0
    for when, amount in amounts:
        total += amount
        while amounts[first][0] <= when - 60:
            total -= amounts[first][1]
            first += 1
        most = max(most, total)
    return most
