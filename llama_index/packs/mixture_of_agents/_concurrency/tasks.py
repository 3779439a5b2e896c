"""Tasks: stopping them, time limits (``asyncio.timeout``, on Python 3.10 too), and hedging."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

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
            # A task does not tell that it was cancelled.
            await asyncio.wait(running, timeout=_A_MOMENT)
    finally:
        for task in running:
            if not _is_cancelled(task):
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _is_cancelled(task: asyncio.Future[Any]) -> bool:
    """Whether a task is known to have been cancelled, though it may not have ended yet."""
    cancelling: Any = getattr(task, "cancelling", None)  # since Python 3.11
    return bool(cancelling and cancelling())


__all__ = ["expired", "expires_after", "hedged", "stop"]

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
