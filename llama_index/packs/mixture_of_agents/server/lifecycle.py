"""Runs the server until a signal ends it."""

import asyncio
import ipaddress
import math
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from .in_flight import Runs
from .prefork import HURRY, Workers

_A_MOMENT = 5.0
"""Seconds in which cancelled runs end."""
_AT_ONCE = 0.5
"""The same after a second signal."""
_IDLE = 75
"""Seconds until an idle connection is closed: longer than clients and proxies keep theirs, or they would use one that is
being closed, and the request would be lost."""


def serve(
    app: FastAPI,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grace: float = 10.0,
    workers: int = 1,
    ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Runs in flight then have ``grace`` seconds to finish, and are cancelled after that.

    Args:
        app: what ``create_app`` made.
        host: the address to listen at; ``127.0.0.1`` is reached from this machine alone.
        port: 0 for any free one.
        grace: seconds for runs in flight to finish; a second Ctrl-C or SIGTERM cancels them at once.
        workers: the number of processes. Each has its own memory: give ``create_app`` an SQLite file as ``store`` and
            ``usage``, and set PROMETHEUS_MULTIPROC_DIR before the import, so that /metrics sums all.
        ready: called with the server's address, ``http://127.0.0.1:8000``, once it listens.

    Raises:
        OSError: It cannot listen there. The message has the address.
    """
    listening = listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=math.ceil(grace + _A_MOMENT), timeout_keep_alive=_IDLE,
    )  # fmt: skip
    at = f"[{host}]" if ":" in host else host
    announce = partial(ready, f"http://{at}:{listening.getsockname()[1]}")
    try:
        if workers == 1:
            announce()
            _serve(_Server(config, app.state.runs, grace), listening)
        else:
            work = partial(_work, config, app, grace, listening, workers)
            Workers(workers, work, listening, app.state.metrics.forget).run(announce)
    finally:
        listening.close()


def _serve(server: "_Server", listening: socket.socket) -> None:
    before = _end_quietly()
    try:
        server.run(sockets=[listening])
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _work(
    config: uvicorn.Config, app: FastAPI, grace: float, listening: socket.socket, workers: int, place: int, lifeline: int
) -> None:  # fmt: skip
    """Serve as one of several processes."""
    app.state.runs.share(place, workers)
    if app.state.mcp:
        app.state.mcp.stateless = True
    _serve(_Worker(config, app.state.runs, grace, lifeline), listening)


class _Server(uvicorn.Server):
    """uvicorn, which ends runs before it closes their connections, so that clients receive an error.

    Runs end when the grace time is over, or at a second signal.
    """

    def __init__(self, config: uvicorn.Config, runs: Runs, grace: float) -> None:
        super().__init__(config)
        self._runs, self._grace = runs, grace
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super().main_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and self._loop:
            self._loop.call_soon_threadsafe(self._hurry)
        else:
            super().handle_exit(sig, frame)

    def _hurry(self) -> None:
        self._runs.cut()
        asyncio.get_running_loop().call_later(_AT_ONCE, setattr, self, "force_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._runs.drain()
        over = asyncio.get_running_loop().call_later(self._grace, self._runs.cut)
        try:
            await super().shutdown(sockets)
        finally:
            over.cancel()
            self._runs.reopen()


class _Worker(_Server):
    """One of several processes. It ends when its parent says so, or has ended itself."""

    def __init__(self, config: uvicorn.Config, runs: Runs, grace: float, lifeline: int) -> None:
        super().__init__(config, runs, grace)
        self._lifeline = lifeline

    async def main_loop(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(HURRY, self._hurry)
        loop.add_reader(self._lifeline, self._orphaned)
        await super().main_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A terminal and a service manager signal every process, and the parent passes SIGTERM on too.
        if sig != signal.SIGINT and not self.should_exit:
            super().handle_exit(sig, frame)

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens.

    Raises:
        OSError: It cannot listen there. The message has the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        problem = (
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}"
        )
        raise OSError(problem) from error


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _end_quietly() -> dict[int, Any]:
    """Ignore the signal that uvicorn raises again after an orderly end. Returns the handlers before."""
    try:
        names = (signal.SIGINT, signal.SIGTERM)
        return {name: signal.signal(name, _do_nothing) for name in names}
    except ValueError:  # not in the main thread, where uvicorn leaves signals alone too
        return {}


def _do_nothing(*_: object) -> None: ...
