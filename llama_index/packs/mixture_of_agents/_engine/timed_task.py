"""A task of its own for each request, for a limited time."""

import asyncio
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
        self.expired = False
        self.put_off(seconds)

    def put_off(self, seconds: float | None) -> None:
        """Let its time be up this many seconds from now, unless it is over; None takes the limit away."""
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and not self._over.done():
            self._timer = self._loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.expired = not self._over.done()
        self._end()

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
            self.put_off(None)
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
