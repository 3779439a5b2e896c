"""Cancelling tasks for good: each of them once, and then waiting until it has ended."""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

_A_MOMENT = 0.02
"""Seconds in which tasks that were cancelled by somebody else come to their end."""


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
            task.exception()  # asyncio complains of an error that nobody has looked at
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
    """Whether it is known that somebody has cancelled a task, which may not have ended yet."""
    cancelling: Any = getattr(task, "cancelling", None)  # since Python 3.11
    return bool(cancelling and cancelling())
