"""A second request to whom is late: the first good answer wins, and the other request is cancelled."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .stopping import stop

T = TypeVar("T")


async def hedged(
    ask: Callable[[], Coroutine[Any, Any, T]],
    again: Callable[[], Coroutine[Any, Any, T] | None],
    after: float,
    good: Callable[[T], bool],
) -> T:
    """Ask, and ask again if there is no answer in time.

    Args:
        ask: makes the first request.
        again: makes the second one, or gives None where there shall be none.
        after: seconds until the second one.
        good: whether an answer is of use; where it is not, the other one is waited for.

    Returns:
        The first good answer, or the last one where none is good.
    """
    tasks = [asyncio.ensure_future(ask())]
    try:
        done, pending = await asyncio.wait(tasks, timeout=after)
        if not done and (second := again()) is not None:
            tasks.append(asyncio.ensure_future(second))
            pending = set(tasks)
        while True:
            if pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            answers = [task.result() for task in tasks if task in done]
            best = next((answer for answer in answers if good(answer)), None)
            if best is not None or not pending:
                return answers[-1] if best is None else best
    finally:
        await stop(tasks)


class UsualTime:
    """How long an endpoint usually takes: the time within which 19 of its last 20 answers (up to 100) came."""

    _ENOUGH = 10

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=100)

    def add(self, seconds: float) -> None:
        """An answer took so long."""
        self._seconds.append(seconds)

    @property
    def seconds(self) -> float | None:
        """Seconds, or None as long as fewer than ten answers are known."""
        known = sorted(self._seconds)
        return known[int(0.95 * (len(known) - 1))] if len(known) >= self._ENOUGH else None
