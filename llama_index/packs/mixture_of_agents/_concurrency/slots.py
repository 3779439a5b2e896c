"""How many calls may be under way at once: in all, to one endpoint, and to how many endpoints.

One object serves all runs of a mixture, and these may live on several event loops in several threads at the same
time; asyncio's semaphores know one loop only.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Waiter:
    number: int
    loop: asyncio.AbstractEventLoop
    admitted: asyncio.Future[None]
    has_slot: bool = False


class Slots:
    """Slots for calls, given out in the order in which they were asked for.

    Args:
        total: how many in all; None for no bound.
        per_key: how many for one key; None for no bound.
        one_key: whether all that are taken must be of one key: a machine with room for one model.
    """

    def __init__(
        self, total: int | None = None, per_key: int | None = None, *, one_key: bool = False
    ) -> None:
        self._total, self._per_key, self._one_key = total, per_key, one_key
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()
        self._in_all = 0
        self._waiting: dict[Hashable, deque[_Waiter]] = {}
        self._number = 0

    async def acquire(self, key: Hashable) -> None:
        """Take a slot for a key, when there is one. Cancelling gives it back."""
        with self._lock:
            if self._fits(key):
                self._take(key)
                return
            loop = asyncio.get_running_loop()
            self._number += 1
            waiter = _Waiter(self._number, loop, loop.create_future())
            self._waiting.setdefault(key, deque()).append(waiter)
        try:
            await waiter.admitted
        except BaseException:
            self._leave(key, waiter)
            raise

    def try_acquire(self, key: Hashable) -> bool:
        """Take a slot if there is one right now."""
        with self._lock:
            free = self._fits(key)
            if free:
                self._take(key)
            return free

    def release(self, key: Hashable) -> None:
        """Give a slot back."""
        with self._lock:
            self._give_back(key)

    def _fits(self, key: Hashable) -> bool:
        if self._total is not None and self._in_all >= self._total:
            return False
        if self._per_key is not None and self._taken[key] >= self._per_key:
            return False
        return not self._one_key or not self._taken or key in self._taken

    def _leave(self, key: Hashable, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.has_slot:
                self._give_back(key)
            else:
                self._forget(key, waiter)

    def _take(self, key: Hashable) -> None:
        self._in_all += 1
        self._taken[key] += 1

    def _give_back(self, key: Hashable) -> None:
        self._in_all -= 1
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]
        while (found := self._next()) is not None:
            self._admit(*found)

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        """The one that has waited longest among those for whom there is room."""
        heads = ((queue[0].number, key) for key, queue in self._waiting.items() if self._fits(key))
        first = min(heads, default=None, key=lambda head: head[0])
        return None if first is None else (first[1], self._waiting[first[1]][0])

    def _admit(self, key: Hashable, waiter: _Waiter) -> None:
        self._forget(key, waiter)
        try:
            waiter.loop.call_soon_threadsafe(_settle, waiter.admitted)
        except RuntimeError:
            return  # its loop was closed, and with it the one that waited
        waiter.has_slot = True
        self._take(key)

    def _forget(self, key: Hashable, waiter: _Waiter) -> None:
        queue = self._waiting.get(key, deque[_Waiter]())
        if waiter in queue:
            queue.remove(waiter)
        if not queue:
            self._waiting.pop(key, None)


def _settle(admitted: asyncio.Future[None]) -> None:
    if not admitted.done():
        admitted.set_result(None)
