"""``POST /v1/chat/completions``."""

import json
import math
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from .chat_request import question_of
from .chat_response import Writer, written
from .chat_schema import ChatRequest, is_sayable
from .error_bodies import ERRORS, OURS, Refused, invalid, problem_of, record
from .ignored_fields import HEADER, IgnoredFields, printable
from .in_flight import Run, Runs
from .served_model import Model, find

_UNSAYABLE = (
    'It holds half a character ("\\ud800") or a number that is none (NaN, Infinity, 1e999), which no provider '
    "can be sent."
)
_ANSWER: dict[str, Any] = {
    "description": "The answer, or a stream of its chunks.",
    "model": ChatCompletion,
    "content": {"text/event-stream": {}},  # OpenAPI 3.1 has no word for the schema of an event
}


def add_chat_completions(
    app: FastAPI, models: Mapping[str, Model], runs: Runs, heartbeat: float
) -> None:
    """Add the path to an application.

    Args:
        app: the application.
        models: the models by their names.
        runs: where runs begin.
        heartbeat: seconds between comments in a stream.
    """
    strangers = IgnoredFields()

    @app.post("/v1/chat/completions", response_model=None, responses={200: _ANSWER, **ERRORS})
    async def chat_completions(request: Request, body: Annotated[ChatRequest, Body()]) -> Response:
        """Ask a model, whole or streamed: https://platform.openai.com/docs/api-reference/chat/create."""
        if not is_sayable(await request.body()):  # it has been received already
            raise Refused(invalid(_UNSAYABLE))
        ignored = printable(body.model_extra or ())
        strangers.log(ignored, time.monotonic())
        model, question = find(models, body.model), question_of(body)
        model.check(question)
        run = runs.begin(model, question, stream=bool(body.stream))
        request.state.run = run  # a run counts itself in the metrics
        writer = _writer(body)
        headers = {"x-request-id": writer.id}
        if ignored:
            headers[HEADER] = ", ".join(ignored)
        if not body.stream:
            await run.settled(request.receive)
            answer = written(writer.whole(run.result()))
            return Response(answer, media_type="application/json", headers=headers)
        await run.settled(request.receive, heartbeat)
        if run.task.done():
            run.result()  # raises an error that can still have an HTTP status
        return Stream(run, writer, headers, heartbeat)


def _writer(body: ChatRequest) -> Writer:
    return Writer(
        body.model,
        proposals=bool(body.mixture and body.mixture.proposals),
        usage=bool(body.stream_options and body.stream_options.include_usage),
    )


class Stream(EventSourceResponse):
    """A run's answer as server-sent events. The run ends with the response, whatever the reason."""

    def __init__(self, run: Run, writer: Writer, headers: dict[str, str], heartbeat: float) -> None:
        self._run = run
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            _events(run, writer), headers=headers, ping=heartbeat,
            shutdown_grace_period=math.inf,  # otherwise it ends a stream at once, before its run ends
            ping_message_factory=lambda: ServerSentEvent(comment="still at work"),
        )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._run.stop()


async def _events(run: Run, writer: Writer) -> AsyncIterator[bytes]:
    try:
        yield _event(writer.role())
        async for pieces in run.pieces():
            yield b"".join(_event(writer.piece(piece)) for piece in pieces)
        for chunk in writer.end(run.result()):
            yield _event(chunk)
    except Exception as error:  # noqa: BLE001 - the status has been sent; OpenAI sends an error in a stream like this
        problem = problem_of(error)
        if problem is OURS:
            record("a stream failed")
        yield b"data: " + json.dumps(problem.body).encode() + b"\n\n"
        return
    yield b"data: [DONE]\n\n"


def _event(chunk: BaseModel) -> bytes:
    return b"data: " + written(chunk) + b"\n\n"
