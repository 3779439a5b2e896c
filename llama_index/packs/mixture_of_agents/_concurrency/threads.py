"""Bridges between threads and event loops, in both directions.

The threads are daemon threads of our own. asyncio's default pool has only ``cores + 4`` threads and keeps the
interpreter alive until all of them have ended; a call that was given up must do neither.

A thread cannot be cancelled. But the socket that it waits for can be shut down, and then it ends: ``hang_up`` finds
that socket in the thread's frames. A thread that waits for something else is abandoned.
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
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from .private_loops import run_on_private_loop

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_DEPTH = 8
"""The number of frames, from the innermost one up, in which a socket is looked for."""
_FEW, _SEVERAL = 8, 4
"""Items that may wait for their reader; items that it takes before more of them are made."""
_A_MOMENT = 0.25
"""Seconds that an abandoned iterator has until it waits for its socket."""
_PATIENCE = 1.5
"""Seconds in which threads that have been hung up on come to their end."""


class ClosableIterator(Protocol[T_co]):
    """An async iterator that can be closed, such as an async generator."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def aclose(self) -> Awaitable[None]: ...


_started: WeakKeyDictionary[asyncio.AbstractEventLoop, list[threading.Thread]] = WeakKeyDictionary()
"""The threads that each loop of a blocking iteration has started."""


def _start(target: Callable[[], None]) -> threading.Thread:
    """Run ``target`` in a daemon thread, in a copy of this context, so that spans nest."""
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(target,), daemon=True, name="mixture-of-agents"
    )
    with contextlib.suppress(RuntimeError):  # no loop is running here
        _started.get(asyncio.get_running_loop(), []).append(thread)
    thread.start()
    return thread


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., Any], *args: Any) -> None:
    # A closed loop refuses: then the run is over, and nothing waits for this any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


def hang_up(thread: threading.Thread) -> None:
    """Shut down the socket that a thread waits for, now or within a second from now, so that it ends.

    Args:
        thread: the thread. One that waits for something else is abandoned.
    """
    _shut_down_socket(thread)
    if thread.is_alive():  # it is just ending, or will wait for its socket only in a moment
        _start(partial(_see_off, thread))


def _see_off(thread: threading.Thread) -> None:
    for _ in range(100):
        thread.join(0.01)
        if not thread.is_alive():
            return
        _shut_down_socket(thread)


def _join(threads: Sequence[threading.Thread]) -> None:
    """Wait until threads that have been hung up on have ended, but not for one that waits for something else."""
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


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
    """Await a blocking function in a thread of its own. Cancelling hangs up, and abandons the thread.

    Args:
        function: the function. What it returns is returned here, and what it raises is raised here.
    """
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
            over.set()  # nothing waits for an outcome any more
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


_Item: TypeAlias = tuple[T | None, BaseException | None, bool]
"""An item of an iterator, or the error that ended it, and whether this is its end."""


async def iterate_in_thread(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Iterate a blocking iterator in a thread of its own, no faster than its reader.

    Closing this iterator hangs up: where the blocking one waits for its socket, it ends with an error. Closing the
    blocking one alone is not enough, since OpenAI's SDK then leaves its response to the garbage collector. One that
    waits for no socket is closed at its first item after a moment.

    Args:
        make: makes the iterator; called in the thread.

    Raises:
        BaseException: whatever the iterator raises.
    """
    loop, until = asyncio.get_running_loop(), math.inf
    items: asyncio.Queue[_Item[T]] = asyncio.Queue()
    room, over = threading.Semaphore(_FEW), False

    def put(item: _Item[T]) -> None:
        if not over:
            room.acquire()
        _tell(loop, items.put_nowait, item)

    thread = _start(lambda: _drain(make, put, lambda: time.monotonic() < until))
    last = False
    try:
        while True:
            item, error, last = await items.get()
            room.release()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        error = None  # its traceback holds this frame
        over = True
        room.release()  # the thread may wait for it
        if not last:
            until = time.monotonic() + _A_MOMENT
            hang_up(thread)


def _drain(
    make: Callable[[], Iterator[T]], put: Callable[[_Item[T]], None], wanted: Callable[[], bool]
) -> None:
    """Pass on the items of an iterator, in the thread of its own."""
    iterator = None
    try:
        iterator = make()
        for item in iterator:
            put((item, None, False))
            if not wanted():
                break
        put((None, None, True))
    except BaseException as error:
        put((None, error, True))
    finally:
        close = getattr(iterator, "close", None)
        if close:
            close()


def iterate_blocking(make: Callable[[], ClosableIterator[T]]) -> Generator[T, None, None]:
    """Iterate an async iterator from blocking code: the one bridge from sync to async.

    It runs on a private event loop in a helper thread, so it works in a plain script as well as where a loop is
    already running (Jupyter, a web server's handler). Closing this generator, an error in the caller or Ctrl-C
    cancels the run and waits until it is over and its threads have ended.

    Args:
        make: makes the iterator; called on the private loop.

    Raises:
        BaseException: whatever the iterator raises.
    """
    items: queue.SimpleQueue[_Item[T]] = queue.SimpleQueue()
    pump = _Pump(make, items.put)
    over = False
    try:
        pump.start()
        while True:
            item, error, over = items.get()
            pump.taken()
            if error is not None:
                raise error
            if over:
                return
            yield item  # type: ignore[misc]
    finally:
        error = None  # its traceback holds this frame
        pump.end(early=not over)


class _Pump(Generic[T]):
    """Passes on the items of an async iterator, which it runs on an event loop of its own in a thread of its own.

    It goes no faster than the reader, who calls ``taken`` for each item.

    Args:
        make: makes the iterator.
        put: takes each item.
    """

    def __init__(
        self, make: Callable[[], ClosableIterator[T]], put: Callable[[_Item[T]], None]
    ) -> None:
        self._make, self._put = make, put
        self._thread: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._taken, self._unread = 0, 0
        self._room = asyncio.Event()

    def taken(self) -> None:
        """The reader has taken an item. The loop hears of several at once, since each word to it takes time."""
        self._taken += 1
        if self._loop and self._taken % _SEVERAL == 0:
            _tell(self._loop, self._make_room)

    def _make_room(self) -> None:
        self._unread -= _SEVERAL
        self._room.set()

    def start(self) -> None:
        self._thread = _start(self._run)

    def end(self, *, early: bool) -> None:
        """Wait for the thread; cancel the iterator first if it ends early."""
        if self._thread is None:
            return
        if early:
            self._ready.wait()
            if self._loop and self._task:
                _tell(self._loop, self._task.cancel)
        self._thread.join()
        if early:
            _join(self._threads)

    def _run(self) -> None:
        try:
            run_on_private_loop(self._pass_on())
        except BaseException as error:
            self._put((None, error, True))
        else:
            self._put((None, None, True))
        finally:
            self._ready.set()

    async def _pass_on(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        _started[self._loop] = self._threads
        self._ready.set()
        iterator = self._make()
        try:
            async for item in iterator:
                self._put((item, None, False))
                self._unread += 1
                while self._unread >= _FEW:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await iterator.aclose()
