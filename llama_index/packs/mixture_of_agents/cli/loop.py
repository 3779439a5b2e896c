"""Running things on one event loop, so that Ctrl-C stops them and the process goes on."""

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
    """One event loop for all that a process asks: LLM classes bind their clients to the first one they see.

    Use it as a context manager.

    Args:
        fast: uvloop's, where it is installed (extra ``fast``): for thousands of requests, since importing it takes time.
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
        """Do the work to its end.

        Raises:
            KeyboardInterrupt: the user pressed Ctrl-C. The work was cancelled, and with it every request in flight.
        """
        task = self._loop.create_task(work)
        pressed = 0

        def stop(*_: object) -> None:
            nonlocal pressed
            pressed += 1
            if pressed > 1:  # once for stopping in good order, twice for stopping
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
        """Let come to their end what the work has left behind: streams that close, once it has dropped them."""
        tasks = asyncio.all_tasks(self._loop)
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_A_MOMENT))
