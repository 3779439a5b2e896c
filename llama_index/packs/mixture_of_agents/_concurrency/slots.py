"""Limits the calls in flight: in total, to one endpoint, and to one endpoint at a time.

One object serves all runs of a mixture, which may use several event loops in several threads at the same time.
asyncio's semaphores work on one loop only.
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
    """Gives out slots for calls, first come, first served. It is safe to use from any thread.

    Args:
        total: the number of slots; None for no bound.
        per_key: the number of slots for one key; None for no bound.
        one_key: whether all slots in use must have the same key, for a machine that holds one model in memory.
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
        """Wait for a slot for a key, and take it. If this is cancelled, no slot is taken."""
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
        """Take a slot for a key if there is one now, and return whether there was."""
        with self._lock:
            free = self._fits(key)
            if free:
                self._take(key)
            return free

    def release(self, key: Hashable) -> None:
        """Give a slot back."""
        with self._lock:
            self._give_back(key)

    @property
    def in_use(self) -> int:
        """The number of slots in use."""
        return self._in_all

    def resize(self, total: int) -> None:
        """Change the number of slots. Those in use stay in use, though they may be more."""
        with self._lock:
            self._total = total
            self._admit_waiting()

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
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while (found := self._next()) is not None:
            self._admit(*found)

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        """The waiter that has waited longest among those that can have a slot."""
        heads = ((queue[0].number, key) for key, queue in self._waiting.items() if self._fits(key))
        first = min(heads, default=None, key=lambda head: head[0])
        return None if first is None else (first[1], self._waiting[first[1]][0])

    def _admit(self, key: Hashable, waiter: _Waiter) -> None:
        self._forget(key, waiter)
        try:
            waiter.loop.call_soon_threadsafe(_settle, waiter.admitted)
        except RuntimeError:
            return  # its loop was closed, so nothing waits any more
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
