"""Tasks: stopping them, time limits (``asyncio.timeout``, on Python 3.10 too), and hedging."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

_A_MOMENT = 0.02
"""Seconds in which tasks that other code has cancelled come to their end."""


async def stop(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel the tasks that have not ended, and wait until they have.

    A second cancellation would break into what the first one set going, such as the closing of a connection. When a
    loop ends, it cancels all tasks at once: these as well as the one that stops them.
    """
    running: list[asyncio.Future[Any]] = []
    for task in tasks:
        if not task.done():
            running.append(task)
        elif not task.cancelled():
            task.exception()  # asyncio logs an exception that was never retrieved
    if not running:
        return
    try:
        if sys.version_info < (3, 11) and isinstance(sys.exc_info()[1], asyncio.CancelledError):
            await asyncio.wait(
                running, timeout=_A_MOMENT
            )  # a task does not tell that it was cancelled
    finally:
        for task in running:
            if not _is_cancelled(task):
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _is_cancelled(task: asyncio.Future[Any]) -> bool:
    """Whether a task is known to have been cancelled, though it may not have ended yet."""
    cancelling: Any = getattr(task, "cancelling", None)  # since Python 3.11
    return bool(cancelling and cancelling())


__all__ = ["TimedTask", "expired", "expires_after", "hedged", "stop"]

if sys.version_info >= (3, 11):
    from asyncio import timeout as expires_after
else:
    from async_timeout import timeout as expires_after


def expired(scope: Any, error: BaseException) -> bool:
    """Whether an error was raised by this scope because its time was up."""
    over: Any = scope.expired  # a method of asyncio's, a property of async_timeout's
    return bool(over() if callable(over) else over) and isinstance(
        error, (TimeoutError, asyncio.TimeoutError)
    )


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


async def hedged(
    ask: Callable[[], Coroutine[Any, Any, T]],
    again: Callable[[], Coroutine[Any, Any, T] | None],
    after: float,
    good: Callable[[T], bool],
) -> T:
    """Ask, and ask a second time if there is no answer in time.

    Args:
        ask: makes the first request.
        again: makes the second request; returns None for no second request.
        after: seconds until the second request.
        good: whether an answer can be used. If it cannot, the other one is awaited.

    Returns:
        The first good answer; the last answer if none is good.
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
