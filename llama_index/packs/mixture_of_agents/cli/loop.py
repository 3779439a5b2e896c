"""One event loop for a process, on which Ctrl-C stops the work and not the process."""

import asyncio
import signal
from collections.abc import Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")
_A_MOMENT = 1.0
"""Seconds."""


class Loop:
    """One event loop for everything a process asks. A context manager.

    LLM classes bind their clients to the first loop that they see.

    Args:
        fast: Use uvloop if it is installed (extra ``fast``). Importing it takes time, so it is for thousands of requests.
    """

    def __init__(self, *, fast: bool = False) -> None:
        name = "uvloop" if fast and find_spec("uvloop") else "asyncio"
        self._loop: asyncio.AbstractEventLoop = import_module(name).new_event_loop()

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work to its end.

        Args:
            work: A coroutine.

        Returns:
            What the coroutine returns.

        Raises:
            KeyboardInterrupt: The user pressed Ctrl-C. The work was cancelled, and with it every request in flight.
        """
        task = self._loop.create_task(work)
        pressed = 0

        def stop(*_: object) -> None:
            nonlocal pressed
            pressed += 1
            if (
                pressed > 1
            ):  # the first time the work is cancelled; the second time the process stops at once
                raise KeyboardInterrupt
            self._loop.call_soon_threadsafe(task.cancel)

        before = signal.signal(signal.SIGINT, stop)
        try:
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, before)
            self._settle()

    def _settle(self) -> None:
        """Wait for what the work has left behind: streams close after the work has dropped them."""
        tasks = asyncio.all_tasks(self._loop)
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_A_MOMENT))
