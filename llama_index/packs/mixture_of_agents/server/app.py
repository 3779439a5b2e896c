"""The server's paths."""

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from llama_index.core.llms.llm import LLM
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from llama_index.packs.mixture_of_agents.errors import RunError

from .chat_response import Writer, written
from .chat_schema import ChatRequest, is_sayable
from .error_bodies import (
    OURS,
    LLMFailed,
    Problem,
    Refused,
    from_validation,
    invalid,
    problem_of,
    record,
)
from .guard import Guard
from .ignored_fields import HEADER, IgnoredFields, printable
from .in_flight import Run, Runs
from .metrics import Metrics
from .served_model import Model, Question

MEGABYTE = 1024 * 1024
"""Bytes."""
_CODES = {
    400: "invalid_json",
    404: "unknown_url",
    408: "request_timeout",
    405: "method_not_allowed",
    413: "request_too_large",
}
_UNSAYABLE = (
    'It holds half a character ("\\ud800") or a number that is none (NaN, Infinity, 1e999), which no provider '
    "can be sent."
)


def create_app(
    models: Mapping[str, LLM],
    *,
    keys: Collection[str] = (),
    in_flight: int | None = None,
    largest_body: int = 20 * MEGABYTE,
    body_timeout: float = 30.0,
    heartbeat: float = 5.0,
    origins: Sequence[str] = (),
) -> FastAPI:
    """LlamaIndex LLMs as an API that speaks as OpenAI's does.

    Args:
        models: the LLMs by the names that clients ask for: mixtures, or any others. They are not changed.
        keys: who may ask, by ``Authorization: Bearer KEY``; none lets everybody ask who can reach the server.
        in_flight: how many runs may be under way at once; more are refused with 429. None for no bound.
        largest_body: the largest body of a request, in bytes.
        body_timeout: seconds to wait for each piece of a request's body.
        heartbeat: seconds between comments in a stream, so that no proxy cuts it while proposers think; a run that
            fails before the first of them is told by its HTTP status.
        origins: web pages' origins whose scripts may ask (CORS), such as ``https://example.org``; "*" for all.

    Raises:
        ValueError: there is no model, or a setting makes no sense.
    """
    _check(
        models,
        keys,
        in_flight=in_flight,
        largest_body=largest_body,
        heartbeat=heartbeat,
        body_timeout=body_timeout,
    )
    served = {name: Model(name, llm) for name, llm in models.items()}
    metrics = Metrics()
    app = FastAPI(
        title="Mixture of Agents", version=_version(), docs_url=None, redoc_url=None, redirect_slashes=False,
        description="LlamaIndex LLMs, mixtures above all, as an OpenAI-compatible API.",
    )  # fmt: skip
    _tell_problems(app, metrics)
    app.state.runs = Runs(metrics, in_flight)  # whoever runs the app can end them
    _add_chat(app, served, app.state.runs, heartbeat)
    _add_rest(app, served, app.state.runs, metrics)
    app.add_middleware(
        Guard, keys=[key.strip() for key in keys], largest_body=largest_body,
        body_timeout=body_timeout, metrics=metrics,
    )  # fmt: skip
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["*"], expose_headers=["x-request-id", "x-should-retry", HEADER],
        )  # fmt: skip
    return app


def _version() -> str:
    try:
        return version("llama-index-packs-mixture-of-agents")
    except PackageNotFoundError:  # a downloaded pack is a folder of sources
        return "unknown"


def _check(models: Mapping[str, LLM], keys: Collection[str], **positive: float | None) -> None:
    if not models:
        raise ValueError('models: there is none to serve; give some, as in {"moa": mixture}')
    if isinstance(keys, str) or not all(map(_is_key, keys)):
        problem = (
            "give a list of keys, none of them empty, all of printable ASCII, which headers carry; or none at all to "
            "let everybody ask"
        )
        raise ValueError(f"keys: {problem}")
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} = {value!r}: must be more than 0")


def _is_key(key: str) -> bool:
    return bool(key.strip()) and key.isascii() and key.strip().isprintable()


class Told(BaseModel):
    """What is in an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """The body of every answer that is none."""

    error: Told


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error} for status in (400, 401, 402, 404, 408, 413, 429, 500, 502, 504)
}


def _add_chat(app: FastAPI, models: Mapping[str, Model], runs: Runs, heartbeat: float) -> None:
    strangers = IgnoredFields()
    answered: dict[str, Any] = {
        "description": "The answer, or a stream of its chunks.",
        "model": ChatCompletion,
        "content": {"text/event-stream": {}},  # OpenAPI 3.1 has no word for the schema of an event
    }

    @app.post("/v1/chat/completions", response_model=None, responses={200: answered, **_ERRORS})
    async def chat_completions(request: Request, asked: Annotated[ChatRequest, Body()]) -> Response:
        """Ask a model, whole or streamed: https://platform.openai.com/docs/api-reference/chat/create."""
        if not is_sayable(await request.body()):  # it is there already
            raise Refused(invalid(_UNSAYABLE))
        ignored = printable(asked.model_extra or ())
        strangers.log(ignored, time.monotonic())
        model, question = find(models, asked.model), Question.of(asked)
        model.check(question)
        options = asked.stream_options
        writer = Writer(
            model.name,
            proposals=bool(asked.mixture and asked.mixture.proposals),
            usage=bool(options and options.include_usage),
        )
        run = runs.begin(model, question, stream=bool(asked.stream))
        request.state.run = run  # which counts itself
        headers = {"x-request-id": writer.id}
        if ignored:
            headers[HEADER] = ", ".join(ignored)
        if asked.stream:
            await run.settled(request.receive, heartbeat)
            if run.task.done():
                run.result()  # it raises here what can still be told by a status
            return Stream(run, writer, headers, heartbeat)
        await run.settled(request.receive)
        return Response(
            written(writer.whole(run.result())),
            media_type="application/json",
            headers=headers,
        )


class Stream(EventSourceResponse):
    """A run's answer as server-sent events. The run ends with the response, however that ends."""

    def __init__(self, run: Run, writer: Writer, headers: dict[str, str], heartbeat: float) -> None:
        self._run = run
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            _events(run, writer), headers=headers, ping=heartbeat,
            shutdown_grace_period=math.inf,  # it would end a stream at once; who runs the app decides that

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
    except Exception as error:  # noqa: BLE001 - its status has been sent; it is told as OpenAI tells it in a stream
        problem = problem_of(error)
        if problem is OURS:
            record("a stream failed")
        yield b"data: " + json.dumps(problem.body).encode() + b"\n\n"
        return
    yield b"data: [DONE]\n\n"


def _event(chunk: BaseModel) -> bytes:
    return b"data: " + written(chunk) + b"\n\n"


def find(models: Mapping[str, Model], name: str) -> Model:
    """The model of that name.

    Raises:
        Refused: there is none.
    """
    if name not in models:
        problem = f"The model {name!r} does not exist; there is {', '.join(models)}."
        raise Refused(Problem(404, problem, "model_not_found", "model"))
    return models[name]


def _add_rest(app: FastAPI, models: Mapping[str, Model], runs: Runs, metrics: Metrics) -> None:
    @app.get("/v1/models", responses={401: {"model": Error}})
    async def list_models() -> dict[str, Any]:
        """The models that can be asked."""
        return {"object": "list", "data": [_card(model) for model in models.values()]}

    @app.get("/v1/models/{name:path}", responses={401: {"model": Error}, 404: {"model": Error}})
    async def retrieve_model(name: str) -> dict[str, Any]:
        """One of them."""
        return _card(find(models, name))

    @app.head("/health", include_in_schema=False)  # as some load balancers ask
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers; it asks no provider."""
        return {"status": "ok"}

    @app.get("/ready", responses={503: {"model": Error}})
    async def ready() -> dict[str, str]:
        """Whether the server takes further questions: it is not ending, and there is room for a run."""
        runs.check_ready()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses={401: {"model": Error}})
    async def show_metrics() -> Response:
        """Counts, for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    del list_models, retrieve_model, health, ready, show_metrics


def _card(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.llm.class_name(),
    }


def _tell_problems(app: FastAPI, metrics: Metrics) -> None:
    """Every error in OpenAI's shape."""

    def response(request: Request, problem: Problem) -> JSONResponse:
        if not hasattr(request.state, "run"):
            metrics.refused(problem.status)
        return JSONResponse(problem.body, problem.status, dict(problem.headers))

    async def ours(request: Request, error: Exception) -> Response:
        return response(request, problem_of(error))

    async def of_http(request: Request, error: Any) -> Response:
        said = f"{request.method} {request.url.path}: {error.detail}"
        code = _CODES.get(error.status_code, "bad_request")
        return response(
            request, Problem(error.status_code, said, code, headers=error.headers or {})
        )

    async def of_body(request: Request, error: Any) -> Response:
        return response(request, from_validation(error.errors(), error.body))

    handlers: dict[Any, Callable[[Request, Any], Any]] = {
        HTTPException: of_http,
        RequestValidationError: of_body,
        **dict.fromkeys((Refused, LLMFailed, RunError), ours),
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
