"""Runs the server until a signal ends it."""

import asyncio
import ipaddress
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from .in_flight import Runs

_A_MOMENT = 5.0
"""Seconds in which cancelled runs end."""
_AT_ONCE = 0.5
"""The same after a second signal."""


def serve(
    app: FastAPI,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grace: float = 10.0,
    ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. Runs in flight then have ``grace`` seconds to finish, and are cancelled after that.

    Args:
        app: what ``create_app`` made.
        host: the address to listen at; ``127.0.0.1`` is reached from this machine alone.
        port: 0 for any free one.
        grace: seconds for runs in flight to finish; a second Ctrl-C or SIGTERM cancels them at once.
        ready: called with the server's address, ``http://127.0.0.1:8000``, once it listens.

    Raises:
        OSError: It cannot listen there. The message has the address.
    """
    listening = listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=math.ceil(grace + _A_MOMENT),
    )  # fmt: skip
    at = f"[{host}]" if ":" in host else host
    ready(f"http://{at}:{listening.getsockname()[1]}")
    before = _end_quietly()
    try:
        _Server(config, app.state.runs, grace).run(sockets=[listening])
    finally:
        listening.close()
        for name, handler in before.items():
            signal.signal(name, handler)


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
