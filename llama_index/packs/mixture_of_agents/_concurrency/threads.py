"""Crossing between threads and event loops, in both directions.

Daemon threads of our own: asyncio's default pool holds only cores + 4 and keeps the interpreter alive until every
thread has ended, while a call that was given up must do neither. A thread cannot be cancelled; but the socket that it
waits for can be shut down, and then it ends. Where it waits for something else, it is abandoned.
"""

import asyncio
import contextlib
import contextvars
import math
import queue
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_DEPTH = 8
"""How many frames up from the innermost one a socket is looked for."""
_A_MOMENT = 0.25
"""Seconds that an iterator which is not wanted any more has until it waits for its socket."""


class ClosableIterator(Protocol[T_co]):
    """An async iterator that can be closed, such as an async generator."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def aclose(self) -> Awaitable[None]: ...


def _start(target: Callable[[], None]) -> threading.Thread:
    """Run ``target`` in a daemon thread, in a copy of this context, so that spans nest."""
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(target,), daemon=True, name="mixture-of-agents"
    )
    thread.start()
    return thread


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., Any], *args: Any) -> None:
    # A closed loop refuses: the run is over and nobody waits for this any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


def hang_up(thread: threading.Thread) -> None:
    """Shut down the socket that a thread waits for, now or within a second from now, so that it ends."""
    _shut_down_socket(thread)
    if thread.is_alive():  # it is just ending, or will wait for its socket only in a moment
        threading.Thread(target=_see_off, args=(thread,), daemon=True, name=thread.name).start()


def _see_off(thread: threading.Thread) -> None:
    for _ in range(100):
        thread.join(0.01)
        if not thread.is_alive():
            return
        _shut_down_socket(thread)


def _shut_down_socket(thread: threading.Thread) -> None:
    """Shut down the socket that a thread waits for, if it waits for one.

    HTTP clients wait in a method of a socket, or of an object that has it as ``_sock``; that is their innermost frame
    in Python, or close to it. Closing a socket would not wake a thread that waits for it; shutting it down does.
    """
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for _ in range(_DEPTH):
        if frame is None:
            return
        owner = frame.f_locals.get("self")
        found = owner if isinstance(owner, socket.socket) else getattr(owner, "_sock", None)
        if isinstance(found, socket.socket):
            with contextlib.suppress(OSError):
                # Not its own method, which in an SSL socket takes apart what the thread still reads.
                socket.socket.shutdown(found, socket.SHUT_RDWR)
            return
        frame = frame.f_back


async def in_thread(function: Callable[[], T]) -> T:
    """Await a blocking function in a thread of its own. Cancelling hangs up, and abandons the thread."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    outcomes: list[tuple[Any, BaseException | None]] = []

    def settle(value: Any, error: BaseException | None) -> None:
        if not over.is_set():
            outcomes.append((value, error))
            over.set()

    def work() -> None:
        try:
            value = function()
        except BaseException as error:
            _tell(loop, settle, None, error)
        else:
            _tell(loop, settle, value, None)

    thread = _start(work)
    try:
        await over.wait()
    except BaseException:
        if not over.is_set():
            over.set()  # nobody waits for an outcome any more
            hang_up(thread)
        outcomes.clear()
        raise
    value, error = outcomes.pop()
    try:
        if error is not None:
            raise error
        return value
    finally:
        error = None  # its traceback holds this frame


async def iterate_in_thread(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Iterate a blocking iterator in a thread of its own.

    Closing this iterator hangs up, so that the blocking one ends with an error where it waits for its socket. That
    closes what is behind it; to close the iterator alone is not enough, since OpenAI's SDK leaves its response to the
    garbage collector then. Where it waits for no socket, it is closed at its first item after a moment.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[T | None, BaseException | None, bool]] = asyncio.Queue()
    patience = math.inf

    def work() -> None:
        iterator = None
        try:
            iterator = make()
            for item in iterator:
                _tell(loop, items.put_nowait, (item, None, False))
                if time.monotonic() > patience:
                    break
            _tell(loop, items.put_nowait, (None, None, True))
        except BaseException as error:
            _tell(loop, items.put_nowait, (None, error, True))
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()

    thread = _start(work)
    last = False
    try:
        while True:
            item, error, last = await items.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        error = None  # its traceback holds this frame
        if not last:
            patience = time.monotonic() + _A_MOMENT
            hang_up(thread)


def iterate_blocking(make: Callable[[], ClosableIterator[T]]) -> Generator[T, None, None]:
    """Iterate an async iterator from blocking code: the one bridge from sync to async.

    It runs on a private event loop in a helper thread, so it works in a plain script as well as where a loop is
    already running (Jupyter, a web server's handler). Closing this generator, an error in the caller or Ctrl-C
    cancels the run and waits until it is over.
    """
    items: queue.SimpleQueue[tuple[T | None, BaseException | None, bool]] = queue.SimpleQueue()
    running: dict[str, Any] = {}
    ready = threading.Event()

    async def pump() -> None:
        running["loop"], running["task"] = asyncio.get_running_loop(), asyncio.current_task()
        ready.set()
        generator = make()
        try:
            async for item in generator:
                items.put((item, None, False))
        finally:
            await generator.aclose()

    def work() -> None:
        try:
            asyncio.run(pump())
        except BaseException as error:
            items.put((None, error, True))
        else:
            items.put((None, None, True))
        finally:
            ready.set()

    thread = _start(work)
    over = False
    try:
        while True:
            item, error, over = items.get()
            if error is not None:
                raise error
            if over:
                return
            yield item  # type: ignore[misc]
    finally:
        error = None  # its traceback holds this frame
        if not over:
            ready.wait()
            _tell(running["loop"], running["task"].cancel)
        thread.join()
