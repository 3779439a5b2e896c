"""Several processes that serve one application at one address: a parent that answers nothing, and its workers."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, get_context
from typing import Any

HURRY = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""Tells a worker to cancel its runs. SIGTERM tells it to finish them, however often it comes."""
_ENDING = (signal.SIGINT, signal.SIGTERM)
_EARLY = 1.0
"""Seconds. A worker that ends sooner could not start."""
_log = logging.getLogger(__name__)


class Workers:
    """Processes that listen at one socket. One that ends by itself is replaced.

    Args:
        number: The number of workers.
        work: Serves until SIGTERM, in a process of its own. It receives the worker's place, from 0, and the end of a
            pipe that closes when the parent ends.
        listening: The socket.
        ended: Called with the process id of a worker that has ended.
    """

    def __init__(
        self, number: int, work: Callable[[int, int], None], listening: socket.socket, ended: Callable[[int], None]
    ) -> None:  # fmt: skip
        self._number, self._work, self._listening, self._ended = number, work, listening, ended
        self._processes: dict[int, tuple[Any, float]] = {}
        self._lifeline = os.pipe()
        self._ending, self._early = False, 0

    def run(self, started: Callable[[], object]) -> None:
        """Serve until SIGINT or SIGTERM. A second one cancels the runs.

        Args:
            started: Called once all workers have been started.

        Raises:
            OSError: The workers end as soon as they are started.
        """
        before = {name: signal.signal(name, self._end) for name in _ENDING}
        try:
            for place in range(self._number):
                self._start(place)
            started()
            while self._processes:
                self._replace()
        finally:
            for end in self._lifeline:
                os.close(end)
            for name, handler in before.items():
                signal.signal(name, handler)
        if self._early > self._number:
            raise OSError("the workers end as soon as they are started")

    def _start(self, place: int) -> None:
        process = get_context("fork").Process(target=self._begin, args=(place,))
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # a signal now would miss the new worker
        try:
            process.start()
            self._processes[place] = process, time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _begin(self, place: int) -> None:
        """What a worker does."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        reading, writing = self._lifeline
        os.close(writing)
        self._work(place, reading)

    def _replace(self) -> None:
        """Wait until a worker ends, and start another in its place unless all are to end."""
        connection.wait([process.sentinel for process, _ in self._processes.values()])
        for place, (process, began) in tuple(self._processes.items()):
            if process.is_alive():
                continue
            process.join()
            del self._processes[place]
            self._ended(process.pid)
            if self._ending:
                continue
            self._early = self._early + 1 if time.monotonic() - began < _EARLY else 0
            if self._early > self._number:
                self._end()
                continue
            _log.warning("a worker ended (%s) and is replaced", process.exitcode)
            self._start(place)

    def _end(self, *_: object) -> None:
        tell = HURRY if self._ending else signal.SIGTERM
        self._ending = True
        self._listening.close()
        for process, _began in tuple(self._processes.values()):
            with suppress(ProcessLookupError):
                os.kill(process.pid, tell)
