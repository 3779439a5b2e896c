"""Who may ask, and how much at once: told before a request's body is read. And what is told when all else fails."""

import hashlib
import hmac
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .error_bodies import OURS, Problem, record
from .metrics import Metrics

OPEN = frozenset({"/health"})
"""Paths that need no key."""


class Guard:
    """Lets requests through that bring a key and a body of a size that is allowed, and gives each an id.

    A fault of what is behind it is answered here: further outside, the connection would be cut.

    Args:
        app: what is behind it.
        keys: the keys; none lets everybody through.
        largest_body: bytes.
        metrics: what counts whom it turns away.
    """

    def __init__(
        self, app: ASGIApp, keys: Collection[str], largest_body: int, metrics: Metrics
    ) -> None:
        self._app, self._largest, self._metrics = app, largest_body, metrics
        self._digests = [_digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("x-request-id", uuid.uuid4().hex)
            await send(message)

        headers = Headers(scope=scope)
        problem = self._problem(scope["path"], headers)
        if problem is None:
            try:
                await self._app(scope, self._measured(receive), answer)
            except Exception:
                if begun:
                    raise  # what has been sent cannot be taken back
                record("a request failed")
                problem = OURS
            else:
                return
        if "run" not in scope.get("state", {}):  # which counts itself
            self._metrics.refused(problem.status)
        response = JSONResponse(problem.body, problem.status, dict(problem.headers))
        await response(scope, receive, answer)

    def _problem(self, path: str, headers: Headers) -> Problem | None:
        if self._digests and path not in OPEN and not self._knows(headers.get("authorization", "")):
            given = "That is no key of this server" if "authorization" in headers else "No key"
            said = f"{given}. Send one as Authorization: Bearer KEY."
            return Problem(401, said, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._largest:
            return Problem(413, self._too_large(), "request_too_large")
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        # Every key is compared, each in constant time: how long it takes says nothing.
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(found)

    def _measured(self, receive: Receive) -> Receive:
        """What is received, until it is more than a body may hold: not every client says beforehand how much it sends."""
        received = 0

        async def measured() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise HTTPException(413, self._too_large())
            return message

        return measured

    def _too_large(self) -> str:
        return f"The body is larger than {self._largest:,} bytes, the most that this server takes."


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
