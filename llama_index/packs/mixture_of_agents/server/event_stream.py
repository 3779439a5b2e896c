"""A run's answer as a response: whole, or as server-sent events. Each API brings a writer that knows its format."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from fastapi import Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from .call_pieces import CallPiece
from .error_bodies import SERVER_FAULT, UNCOUNTED, Problem, problem_of, record
from .in_flight import Piece, Run, Thought
from .served_model import Answer

Keep = Callable[[Answer], Awaitable[None]]
"""Awaited with the answer once it is written, before the client has all of it."""


class AnswerWriter(Protocol):
    """Writes one answer in the format of an API.

    Attributes:
        id: The answer's own id.
    """

    @property
    def id(self) -> str: ...

    def whole(self, answer: Answer) -> bytes: ...

    def begin(self) -> bytes: ...

    def piece(self, text: str) -> bytes: ...

    def thought(self, text: str) -> bytes: ...

    def call(self, piece: CallPiece) -> bytes: ...

    def end(self, answer: Answer) -> bytes: ...

    def failed(self, problem: Problem) -> bytes: ...


async def respond(
    request: Request,
    run: Run,
    writer: AnswerWriter,
    *,
    stream: bool,
    heartbeat: float,
    headers: dict[str, str],
    keep: Keep | None = None,
) -> Response:
    """Wait for a run and write its answer.

    Args:
        request: The request; the run ends when its client leaves.
        run: The run.
        writer: Knows the format.
        stream: Whether the answer is streamed.
        heartbeat: Seconds between comments in a stream.
        headers: Headers of the response, besides its id.
        keep: Awaited with the answer.

    Raises:
        Refused: The run was cut short.
        RunError: A mixture has no answer.
        LLMFailed: Another LLM has none.
    """
    request.state.run = run  # it counts itself
    headers = {"x-request-id": writer.id, **headers}
    if stream:
        await run.settled(request.receive, heartbeat)
        if run.task.done():
            run.result()  # an error can still be told by a status
        return EventStream(run, _events(run, writer, keep), headers, heartbeat)
    await run.settled(request.receive)
    answer = run.result()
    body = writer.whole(answer)
    if keep:
        await keep(answer)
    return Response(body, media_type="application/json", headers=headers)


class EventStream(EventSourceResponse):
    """Events of a run. The run ends with the response, however that ends."""

    def __init__(
        self, run: Run, events: AsyncIterator[bytes], headers: dict[str, str], heartbeat: float
    ) -> None:
        self._run = run
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            events, headers=headers, ping=heartbeat,
            shutdown_grace_period=math.inf,  # the server decides when its runs end

            ping_message_factory=lambda: ServerSentEvent(comment="still at work"),
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._run.stop()


async def _events(run: Run, writer: AnswerWriter, keep: Keep | None) -> AsyncIterator[bytes]:
    try:
        yield writer.begin()
        async for pieces in run.pieces():
            if written := b"".join(_written(writer, piece) for piece in pieces):
                yield written
        answer = run.result()
        last = writer.end(answer)
        if keep:
            await keep(answer)
        yield last
    except Exception as error:  # noqa: BLE001 - the status has been sent, so the stream tells it
        problem = problem_of(error)
        if problem in (SERVER_FAULT, UNCOUNTED):
            record("a stream failed")
        yield writer.failed(problem)


def _written(writer: AnswerWriter, piece: Piece) -> bytes:
    if isinstance(piece, CallPiece):
        return writer.call(piece)
    return writer.thought(piece.text) if isinstance(piece, Thought) else writer.piece(piece)
