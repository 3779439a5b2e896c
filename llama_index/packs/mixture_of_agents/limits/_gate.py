"""Lets requests through as a limiter allows, first come, first served. Nothing waits for a store on an event loop."""

import asyncio
import contextlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ._leases import Leases
from ._memory import MemoryLimiter

_AGAIN = 1.0
"""Seconds after which a store is asked again at the latest: others may have given tokens back."""
_Errand: TypeAlias = Callable[[], None]


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    loop: asyncio.AbstractEventLoop
    admitted: asyncio.Future[None]

    def wake(self, error: BaseException | None = None) -> None:
        with contextlib.suppress(RuntimeError):  # its loop was closed, so nothing waits any more
            self.loop.call_soon_threadsafe(_end, self.admitted, error)


def _end(admitted: asyncio.Future[None], error: BaseException | None) -> None:
    if admitted.done():
        return
    if error is None:
        admitted.set_result(None)
    else:
        admitted.set_exception(error)


class Gate:
    """The requests of one process to the endpoints of a limiter. It is safe to use from any thread and event loop.

    A request that is covered by what the process has reserved passes at once. Otherwise it waits in line, and a thread
    asks the limiter for the whole line. The thread ends when nothing waits.

    Args:
        limiter: the limiter of this process, or leases in a shared one.
        clock: returns the time in seconds.
    """

    def __init__(
        self, limiter: MemoryLimiter | Leases, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limiter, self._clock = limiter, clock
        self._leases = limiter if isinstance(limiter, Leases) else None
        self._lines: dict[str, deque[_Waiter]] = {}
        self._due: defaultdict[str, float] = defaultdict(float)
        self._low: set[str] = set()
        self._errands: deque[_Errand] = deque()
        self._changed = threading.Condition()
        self._is_pumping = False

    async def enter(self, key: str, tokens: int) -> None:
        """Wait until a request may be sent, and count it. If this is cancelled, it may have been counted.

        Args:
            key: the name of its endpoint.
            tokens: the tokens that it may use.

        Raises:
            LimiterUnavailable: the store cannot be reached.
        """
        with self._changed:
            # A request that comes while others wait goes behind them, even if a small request would pass.
            if key not in self._lines and self._passes(key, tokens):
                if self._leases and self._leases.is_low(key):
                    self._low.add(key)
                    self._pump()
                return
            loop = asyncio.get_running_loop()
            waiter = _Waiter(tokens, loop, loop.create_future())
            self._lines.setdefault(key, deque()).append(waiter)
            self._pump()
        try:
            await waiter.admitted
        except BaseException:
            self._leave(key, waiter)
            raise

    def settle(self, key: str, tokens: int) -> None:
        """Report the tokens that a request used beyond those that it reserved. See ``Limiter.settle``."""
        if tokens:
            self._send(partial(self._limiter.settle, key, tokens), key)

    def cool_down(self, key: str, seconds: float) -> None:
        """Let nobody send anything for a while. See ``Limiter.cool_down``."""
        if self._leases:
            self._leases.drop(key)
        self._send(partial(self._limiter.cool_down, key, seconds), key)

    def _passes(self, key: str, tokens: int) -> bool:
        if self._leases:
            return self._leases.take(key, 1, tokens)
        return not self._limiter.reserve(key, 1, tokens)

    def _send(self, errand: _Errand, key: str) -> None:
        with self._changed:
            self._due.pop(key, None)
            if self._leases is None:
                errand()
                if not self._lines:
                    return
            else:
                self._errands.append(errand)
            self._pump()

    def _leave(self, key: str, waiter: _Waiter) -> None:
        with self._changed:
            line = self._lines.get(key, deque[_Waiter]())
            if waiter in line:
                line.remove(waiter)
                self._close_empty(key)
                self._changed.notify()

    def _close_empty(self, key: str) -> None:
        if not self._lines[key]:
            del self._lines[key]

    def _pump(self) -> None:
        """Let the thread know that there is something to do."""
        self._changed.notify()
        if not self._is_pumping:
            self._is_pumping = True
            threading.Thread(target=self._run, daemon=True, name="mixture-of-agents").start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (step := self._next()) is None:
                    if not self._lines:
                        self._is_pumping = False
                        return
                    soonest = min(self._due[key] for key in self._lines)
                    self._changed.wait(max(0.0, soonest - self._clock()))
            step()

    def _next(self) -> _Errand | None:
        """What the thread does next; None if there is nothing to do now."""
        if self._errands:
            return partial(self._run_errand, self._errands.popleft())
        now = self._clock()
        for key in (*self._lines, *self._low):
            if self._due[key] <= now:
                self._low.discard(key)
                return partial(self._serve, key)
        self._low.clear()
        return None

    def _run_errand(self, errand: _Errand) -> None:
        # If the store cannot be used, the next request that asks it gets the error.
        with contextlib.suppress(Exception):
            errand()

    def _serve(self, key: str) -> None:
        """Reserve for a line, or its first request, and let through what can be."""
        with self._changed:
            tokens = [waiter.tokens for waiter in self._lines.get(key, ())]
        try:
            seconds = self._fill(key, tokens)
        except Exception as error:  # noqa: BLE001  # it is raised where the requests wait
            self._fail(key, error)
            return
        with self._changed:
            line = self._lines.get(key, deque[_Waiter]())
            while line and self._passes(key, line[0].tokens):
                line.popleft().wake()
            if key in self._lines:
                self._close_empty(key)
            self._due[key] = self._clock() + min(seconds, _AGAIN)

    def _fill(self, key: str, tokens: list[int]) -> float:
        """Reserve for all of a line, else for its first request; return the seconds until it is worth asking again."""
        if self._leases is None:
            return _AGAIN
        seconds = self._leases.fill(key, len(tokens), sum(tokens))
        while seconds and len(tokens) > 1:
            tokens = tokens[: len(tokens) // 2]
            seconds = self._leases.fill(key, len(tokens), sum(tokens))
        return seconds

    def _fail(self, key: str, error: Exception) -> None:
        with self._changed:
            for waiter in self._lines.pop(key, ()):
                waiter.wake(error)
