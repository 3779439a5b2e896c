"""Sends an answer, whole or broken as the outcome wants it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

from aiohttp import web

from .behaviour import OK, Outcome
from .conversation import Json
from .log import Record
from .provider_api import Provider
from .refusals import Problem
from .state import State


def abort(request: web.BaseRequest) -> None:
    """Reset the connection: the client sees "connection reset by peer"."""
    transport = request.transport
    if transport is not None:
        # With a linger time of zero the kernel sends a reset instead of a close.
        linger = struct.pack("ii", 1, 0)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


class Sender:
    """Sends the answer to one request, and records it."""

    def __init__(self, request: web.BaseRequest, state: State, record: Record) -> None:
        self._request = request
        self._state = state
        self._record = record

    async def problem(self, provider: Provider, problem: Problem) -> web.StreamResponse:
        """Send a refusal in the provider's format."""
        self._record.outcome = "refused"
        return await self.json(problem.status, provider.error_json(problem))

    async def failure(self, provider: Provider, outcome: Outcome) -> web.StreamResponse:
        """Send an injected error status."""
        headers: dict[str, str] = {}
        if outcome.retry_after is not None:
            seconds = outcome.retry_after
            date = formatdate(time.time() + seconds, usegmt=True)
            headers["Retry-After"] = date if outcome.retry_after_as_date else f"{seconds:g}"
        if outcome.body is not None:
            return await self.raw(outcome.status, outcome.body.encode(), headers=headers)
        problem = provider.failed(outcome.status, outcome.message)
        data = json.dumps(provider.error_json(problem)).encode()
        return await self.raw(outcome.status, data, headers=headers)

    async def json(self, status: int, value: Json, outcome: Outcome = OK) -> web.StreamResponse:
        """Send a JSON body, or the part of it that the outcome allows."""
        data = json.dumps(value).encode()
        if outcome.kind == "broken_json":
            data = data[: len(data) // 2]
        if outcome.kind in ("hang_midway", "reset_midway", "close_midway"):
            return await self._half(status, data, outcome)
        return await self.raw(status, data)

    async def raw(
        self, status: int, data: bytes, *, headers: dict[str, str] | None = None
    ) -> web.StreamResponse:
        """Send a body unchanged."""
        response = web.Response(
            body=data, status=status, headers=headers, content_type="application/json"
        )
        await response.prepare(self._request)
        self._start(status)
        await response.write_eof()
        self._end()
        return response

    def reset(self) -> web.StreamResponse:
        """Reset the connection without an answer."""
        self._end()
        abort(self._request)
        return web.Response(status=500)

    async def stream(
        self, provider: Provider, parts: Sequence[Json], outcome: Outcome, pause: float
    ) -> web.StreamResponse:
        """Send server-sent events: one for each part, `pause` seconds apart, then [DONE].

        The first part only opens the message, so the first token follows it at once.
        """
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(self._request)
        half = len(parts) // 2 if outcome.kind not in ("ok", "empty_answer") else len(parts)
        for number, part in enumerate(parts[:half]):
            if number > 1 and pause:
                await asyncio.sleep(pause)
            await response.write(_event(part))
            if not number:
                self._start(200)
            self._record.chunks += 1
            await self._state.pass_gate(self._record, number + 1)
        if outcome.kind == "broken_json":
            await response.write(_event(parts[half])[:-20] + b"\n\n")
        elif outcome.kind == "error_in_stream":
            await response.write(
                _event(provider.error_json(provider.failed(outcome.status, outcome.message)))
            )
        elif half < len(parts):
            return await self._break_off(response, outcome)
        if outcome.kind != "error_in_stream":
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        self._end()
        return response

    async def _half(self, status: int, data: bytes, outcome: Outcome) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        response.content_length = len(data)
        await response.prepare(self._request)
        self._start(status)
        await response.write(data[: len(data) // 2])
        return await self._break_off(response, outcome)

    async def _break_off(
        self, response: web.StreamResponse, outcome: Outcome
    ) -> web.StreamResponse:
        if outcome.kind == "hang_midway":
            await asyncio.Event().wait()
        self._end()
        if outcome.kind == "reset_midway":
            abort(self._request)
        elif self._request.transport is not None:
            self._request.transport.close()
        return response

    def _start(self, status: int) -> None:
        self._record.status = status
        self._state.ledger.first_byte(self._record)

    def _end(self) -> None:
        self._state.ledger.end(self._record)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
