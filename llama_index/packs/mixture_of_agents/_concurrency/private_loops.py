"""Event loops for blocking callers. They are kept for the next caller, and so are the connections that belong to them.

A kept loop does not run and has no thread. It is closed when the process ends or forks, when it has been idle for a
while, or when there are too many.
"""

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 64
"""The largest number of idle loops."""
_SECONDS = 60.0
"""How long a loop may be idle. Providers close idle connections after about this time."""


class _IdleLoops:
    """Loops that wait for their next caller, the one used last on top. It is safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: list[tuple[float, asyncio.AbstractEventLoop]] = []
        self._ended = False

    def take(self) -> asyncio.AbstractEventLoop | None:
        """Take a loop; None if there is none."""
        with self._lock:
            loop = self._loops.pop()[1] if self._loops else None
        self._close_old()
        return loop

    def keep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep a loop that does not run."""
        with self._lock:
            most = 0 if self._ended else _MOST
            self._loops.append((time.monotonic(), loop))
            surplus = self._loops.pop(0)[1] if len(self._loops) > most else None
        if surplus:
            _close(surplus)

    def _close_old(self) -> None:
        until = time.monotonic() - _SECONDS
        with self._lock:
            old = [loop for since, loop in self._loops if since < until]
            self._loops = self._loops[len(old) :]
        for loop in old:
            _close(loop)

    def end(self) -> None:
        """Close all loops, and every loop that is to be kept from now on."""
        with self._lock:
            self._ended = True
            self._close_all()

    def close_all(self) -> None:
        with self._lock:
            self._close_all()

    def before_fork(self) -> None:
        """Close all loops: parent and child would share their sockets. Until the fork is over, none is kept."""
        self._lock.acquire()
        closing = threading.Thread(target=self._close_all)  # this thread may run another loop
        closing.start()
        closing.join()

    def after_fork(self) -> None:
        self._lock.release()

    def _close_all(self) -> None:
        while self._loops:
            _close(self._loops.pop()[1])


_idle = _IdleLoops()
atexit.register(_idle.end)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_idle.before_fork,
        after_in_parent=_idle.after_fork,
        after_in_child=_idle.after_fork,
    )


def close_idle_loops() -> None:
    """Close the loops that wait for their next caller, and their connections."""
    _idle.close_all()


def run_on_private_loop(work: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``, but on a loop that may have connections of earlier callers.

    Args:
        work: what to run. Tasks that it leaves behind are cancelled.

    Returns:
        What it returns.

    Raises:
        BaseException: whatever it raises.
    """
    loop = _idle.take() or asyncio.new_event_loop()
    executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(executor)
    try:
        return loop.run_until_complete(work)
    finally:
        _cancel_tasks(loop)
        executor.shutdown(wait=False)  # a name that does not resolve must not hold up the caller
        _idle.keep(loop)


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))


async def _finished_tasks() -> None:
    """Finish what was scheduled while the loop was idle, such as the end of connections that nobody uses any more."""
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=1)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_until_complete(_finished_tasks())
        _cancel_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())  # closes the connections
    finally:
        loop.close()
