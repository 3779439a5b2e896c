"""The application: its models, its guard, and every path but those that ask models."""

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from llama_index.core.llms.llm import LLM
from starlette.exceptions import HTTPException

from llama_index.packs.mixture_of_agents.errors import RunError

from .chat_completions import add_chat_completions
from .error_bodies import ErrorBody, LLMFailed, Problem, Refused, from_validation, problem_of
from .guard import Guard
from .ignored_fields import HEADER
from .in_flight import Runs
from .metrics import Metrics
from .served_model import Model, find

MEGABYTE = 1024 * 1024
"""Bytes."""
_CODES = {
    400: "invalid_json",
    404: "unknown_url",
    408: "request_timeout",
    405: "method_not_allowed",
    413: "request_too_large",
}


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
    """Make an application that serves LlamaIndex LLMs as OpenAI's API does.

    Args:
        models: the LLMs by the names that clients use: mixtures, or any others. They are not changed.
        keys: clients must send one of these as ``Authorization: Bearer KEY``; without any, no key is needed.
        in_flight: the number of runs that may be under way at once; more are refused with 429. None for no bound.
        largest_body: the largest body of a request, in bytes.
        body_timeout: seconds to wait for each piece of a request's body.
        heartbeat: seconds between comments in a stream, so that no proxy cuts it while proposers work. A run that fails
            before the first comment has the HTTP status of its error.
        origins: origins of web pages whose scripts may ask (CORS), such as ``https://example.org``; "*" for all.

    Raises:
        ValueError: There is no model, or a setting makes no sense.
    """
    limits: dict[str, Any] = {"largest_body": largest_body, "body_timeout": body_timeout}
    _check(models, keys, in_flight=in_flight, heartbeat=heartbeat, **limits)
    served = {name: Model(name, llm) for name, llm in models.items()}
    app, metrics = _empty_app(), Metrics()
    app.state.runs = Runs(metrics, in_flight)  # what serves the application ends them
    _add_error_handlers(app, metrics)
    add_chat_completions(app, served, app.state.runs, heartbeat)
    _add_rest(app, served, app.state.runs, metrics)
    app.add_middleware(Guard, keys=[key.strip() for key in keys], metrics=metrics, **limits)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["*"], expose_headers=["x-request-id", "x-should-retry", HEADER],
        )  # fmt: skip
    return app


def _empty_app() -> FastAPI:
    return FastAPI(
        title="Mixture of Agents", version=_version(), docs_url=None, redoc_url=None, redirect_slashes=False,
        description="LlamaIndex LLMs, mixtures above all, as an OpenAI-compatible API.",
    )  # fmt: skip


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


def _add_rest(app: FastAPI, models: Mapping[str, Model], runs: Runs, metrics: Metrics) -> None:
    @app.get("/v1/models", responses={401: {"model": ErrorBody}})
    async def list_models() -> dict[str, Any]:
        """The models that can be asked."""
        return {"object": "list", "data": [_card(model) for model in models.values()]}

    @app.get(
        "/v1/models/{name:path}", responses={401: {"model": ErrorBody}, 404: {"model": ErrorBody}}
    )
    async def retrieve_model(name: str) -> dict[str, Any]:
        """One of them."""
        return _card(find(models, name))

    @app.head("/health", include_in_schema=False)  # as some load balancers ask
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers; it asks no provider."""
        return {"status": "ok"}

    @app.get("/ready", responses={503: {"model": ErrorBody}})
    async def ready() -> dict[str, str]:
        """Whether the server takes further questions: it is not ending, and there is room for a run."""
        runs.check_ready()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses={401: {"model": ErrorBody}})
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


def _add_error_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error in OpenAI's format."""

    def response(request: Request, problem: Problem) -> JSONResponse:
        if not hasattr(request.state, "run"):
            metrics.refused(problem.status)
        return JSONResponse(problem.body, problem.status, dict(problem.headers))

    async def of_run(request: Request, error: Exception) -> Response:
        return response(request, problem_of(error))

    async def of_http(request: Request, error: Any) -> Response:
        problem = f"{request.method} {request.url.path}: {error.detail}"
        code = _CODES.get(error.status_code, "bad_request")
        return response(
            request, Problem(error.status_code, problem, code, headers=error.headers or {})
        )

    async def of_body(request: Request, error: Any) -> Response:
        return response(request, from_validation(error.errors(), error.body))

    handlers: dict[Any, Callable[[Request, Any], Any]] = {
        HTTPException: of_http,
        RequestValidationError: of_body,
        **dict.fromkeys((Refused, LLMFailed, RunError), of_run),
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
