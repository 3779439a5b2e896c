"""Checks keys and sizes before a request's body is read, and answers where nothing else does."""

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_keys import ApiKey
from .error_bodies import ENDING, SERVER_FAULT, Problem, body_at, record
from .metrics import Metrics
from .web_page import PATHS

OPEN = PATHS | {"/health", "/ready"}
"""Paths that need no key."""


class Guard:
    """Hands on requests that bring a valid key and a body of an allowed size, and gives each response an id.

    An unexpected error of the application is answered here: the server around it would cut the connection.

    Args:
        app: the application.
        keys: the keys; without any, no key is needed.
        largest_body: bytes.
        body_timeout: seconds to wait for each piece of a body.
        metrics: counts the requests that are refused here.
    """

    def __init__(
        self, app: ASGIApp, keys: Collection[ApiKey], largest_body: int, body_timeout: float, metrics: Metrics
    ) -> None:  # fmt: skip
        self._app, self._metrics = app, metrics
        self._largest, self._timeout = largest_body, body_timeout
        self._keys = [(_digest(key.secret), key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        answer = _Answer(send)
        problem = self._problem(scope, Headers(scope=scope))
        problem = problem or await self._let_through(scope, receive, answer)
        if problem is None:
            return
        if "run" not in scope.get("state", {}):  # a run counts itself
            self._metrics.refused(problem.status)
        headers = {**scope["state"].get("headers", {}), **problem.headers}
        response = JSONResponse(body_at(scope["path"], problem), problem.status, headers)
        await response(scope, receive, answer)

    async def _let_through(
        self, scope: Scope, receive: Receive, answer: "_Answer"
    ) -> Problem | None:
        """Hand a request on. Returns the problem to answer with if nothing has been answered."""
        try:
            await self._app(scope, self._measured(receive), answer)
        except asyncio.CancelledError:  # the server ends before the request does
            if answer.begun:
                raise
            return ENDING
        except Exception:
            if answer.begun:
                raise  # what has been sent cannot be taken back
            record("a request failed")
            return SERVER_FAULT
        return None

    def _problem(self, scope: Scope, headers: Headers) -> Problem | None:
        key = self._key(headers)
        scope.setdefault("state", {})["key"] = key
        if self._keys and scope["path"] not in OPEN and not key:
            brought = {"authorization", "x-api-key"} & set(headers)
            given = "That is not a key of this server" if brought else "No key"
            problem = f"{given}. Send one as Authorization: Bearer KEY."
            return Problem(401, problem, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._largest:
            return Problem(413, self._too_large(), "request_too_large")
        return None

    def _key(self, headers: Headers) -> ApiKey | None:
        """The key that a request brings, if it is one of ours."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        bearer = key if scheme.lower() == "bearer" else ""
        given = [_digest(key.strip()) for key in (bearer, headers.get("x-api-key", ""))]
        # All keys are compared, each in constant time, so that the time gives nothing away.
        found = [
            key for one in given for digest, key in self._keys if hmac.compare_digest(one, digest)
        ]
        return found[0] if found else None

    def _measured(self, receive: Receive) -> Receive:
        """Receives a body, unless it is too large or takes too long. Not every client says how much it will send."""
        received, complete = 0, False

        async def measured() -> Message:
            nonlocal received, complete
            try:
                message = await asyncio.wait_for(receive(), None if complete else self._timeout)
            except asyncio.TimeoutError:
                problem = f"No further piece of the body came in {self._timeout:g} seconds."
                raise HTTPException(408, problem, {"Connection": "close"}) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._largest:
                raise HTTPException(413, self._too_large())
            return message

        return measured

    def _too_large(self) -> str:
        return f"The body is larger than {self._largest:,} bytes, the most that this server takes."


class _Answer:
    """Sends a response, and gives it an id if it has none.

    Attributes:
        begun: whether a part of the response has been sent.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("x-request-id", uuid.uuid4().hex)
        await self._send(message)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
