"""``asyncio.timeout`` for Python 3.10 too, with one way to put it off."""

import asyncio
import contextlib
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from asyncio import timeout as expires_after
else:
    from async_timeout import timeout as expires_after

__all__ = ["expired", "expires_after", "put_off"]


def expired(scope: Any, error: BaseException) -> bool:
    """Whether an error is this scope's own, since its time had run out."""
    over: Any = scope.expired  # a method of asyncio's, a property of async_timeout's
    return bool(over() if callable(over) else over) and isinstance(
        error, (TimeoutError, asyncio.TimeoutError)
    )


def put_off(scope: Any, seconds: float) -> None:
    """Let a scope expire so many seconds from now, unless its time is up already."""
    when = asyncio.get_running_loop().time() + seconds
    with contextlib.suppress(RuntimeError):
        if sys.version_info >= (3, 11):
            scope.reschedule(when)
        else:
            scope.update(when)
