"""A task of its own for each request, for a limited time."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from llama_index.packs.mixture_of_agents._concurrency.tasks import stop

T = TypeVar("T")


class TimedTask(Generic[T]):
    """Awaits something in a task of its own, for a limited time, and catches whatever it raises by itself.

    A ``CancelledError`` among its errors is its own; one that is raised here comes from outside. Python 3.10 offers no
    other way to tell the two apart. And from 3.12 on, an error's frames hold those of all callers within the same task,
    and with them the error: a task of its own has no callers, so nothing waits for the garbage collector.

    Args:
        seconds: how long it may take; None for no limit.

    Attributes:
        expired: whether its time was up before it ended.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._limit = self._timer_is_for = math.inf
        self.expired = False
        self.put_off(seconds)

    def put_off(self, seconds: float | None) -> None:
        """Let its time be up this many seconds from now, unless it is over; None takes the limit away."""
        if self._over.done():
            return
        self._limit = math.inf if seconds is None else self._loop.time() + seconds
        # A stream puts its limit off with each piece. A timer that fires before the limit is set again.
        if self._limit < self._timer_is_for:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_is_for = None, self._limit
        if self._limit < math.inf:
            self._timer = self._loop.call_at(self._limit, self._look)

    def _look(self) -> None:
        if self._timer_is_for < self._limit:
            self._set_timer()
        elif not self._over.done():
            self.expired = True
            self._over.set_result(None)

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def outcome(self, asked: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
        """Await it.

        Args:
            asked: what to await.

        Returns:
            What it returned, and None; or None, and what it raised: a ``TimeoutError`` if its time was up.

        Raises:
            asyncio.CancelledError: the task that awaits this was cancelled. What it awaited has been stopped.
        """
        task = self._loop.create_task(self._caught(asked))
        try:
            await self._over
        finally:
            if self._timer:
                self._timer.cancel()
            if not task.done():
                await stop([task])
        return (None, TimeoutError()) if self.expired else task.result()

    async def _caught(self, asked: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
        try:
            return await asked, None
        except BaseException as error:  # noqa: BLE001 - the caller decides what it means
            return None, error
        finally:
            self._end()
