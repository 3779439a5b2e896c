"""The application: its models, its guard, and every path but those that ask models."""

# FastAPI keeps the functions that it decorates.
# pyright: reportUnusedFunction=false

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from llama_index.core.llms.llm import LLM
from llama_index.core.storage.kvstore.types import BaseKVStore
from starlette.exceptions import HTTPException
from starlette.routing import Route

from llama_index.packs.mixture_of_agents.errors import LimiterUnavailable, RunError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

from .api_keys import Allowance, ApiKey, named
from .doors import Doors, add_chat, add_messages, add_responses, add_runs
from .error_bodies import (
    UNCOUNTED,
    ErrorBody,
    LLMFailed,
    Problem,
    Refused,
    body_at,
    from_validation,
    problem_of,
    record,
)
from .guard import Guard
from .ignored_fields import HEADER
from .in_flight import Runs
from .key_usage import KeyUsage
from .mcp_door import PATH as MCP_PATH
from .mcp_door import MakeMcp, McpDoor
from .metrics import Metrics
from .request_mixture import Pool
from .response_store import ResponseStore
from .served_model import Model, find
from .web_page import add_page

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
    models: Mapping[str, LLM], *, members: Mapping[str, LLM] = MappingProxyType({}), keys: Collection[str | ApiKey] = (),
    in_flight: int | None = None, largest_body: int = 20 * MEGABYTE, body_timeout: float = 30.0, heartbeat: float = 5.0,
    origins: Sequence[str] = (), store: BaseKVStore | Literal["memory"] | None = "memory", usage: str | Path | None = None,
    mcp: MakeMcp | None = None, recipes: bool = False,
) -> FastAPI:  # fmt: skip
    """Return an app with LlamaIndex LLMs behind the APIs of OpenAI (chat completions, Responses) and Anthropic.

    Args:
        models: The LLMs by the names that clients ask for, unchanged. A mixture's limits hold for single LLMs too.
        members: The single LLMs that a request may choose for a mixture, by name.
        keys: Who may ask, by ``Authorization: Bearer KEY`` or ``x-api-key``; else everybody. An ``ApiKey`` has limits.
        in_flight: The number of runs at once; further ones are refused with 429. None for no bound.
        largest_body: The largest body of a request, in bytes.
        body_timeout: Seconds to wait for each piece of a request's body.
        heartbeat: Seconds between comments in a stream. A run that fails before the first one gets an error status.
        origins: Origins of web pages whose scripts may ask (CORS), such as ``https://example.org``; "*" for all.
        store: Keeps conversations for ``previous_response_id``: "memory", a key-value store of LlamaIndex's, or None.
        usage: The SQLite file that keeps what keys have used; None keeps it in memory.
        mcp: Makes an MCP server for ``/mcp``: ``mcp_server.create_server`` with the ``admit`` that it is given.
        recipes: Let clients read the recipes, without keys: the events of ``POST /v1/runs`` then hold them.

    Raises:
        ValueError: There is no model, or a setting is not valid.
    """
    _check(models, keys, in_flight=in_flight, largest_body=largest_body, heartbeat=heartbeat, body_timeout=body_timeout)  # fmt: skip
    app, metrics = _bare_app(), Metrics()
    _add_error_handlers(app, metrics)
    app.state.runs, app.state.metrics = Runs(metrics, in_flight), metrics
    limits = [llm.recipe.limits for llm in models.values() if isinstance(llm, MixtureOfAgents)]
    served = {name: Model(name, llm, limits) for name, llm in models.items()}
    kept = ResponseStore(None if store == "memory" else store) if store else None
    allowance, pool = Allowance(KeyUsage(usage), metrics), Pool(members, limits)
    doors = Doors(served, pool, app.state.runs, heartbeat, kept, allowance, recipes)
    _add_paths(app, metrics, doors)
    _add_mcp(app, mcp and McpDoor(mcp, app.state.runs, metrics, origins, allowance))
    guarded: dict[str, Any] = {"keys": named(keys), "largest_body": largest_body}
    app.add_middleware(Guard, **guarded, body_timeout=body_timeout, metrics=metrics)
    _allow(app, origins)
    return app


def _bare_app() -> FastAPI:
    return FastAPI(
        title="Mixture of Agents", version=_version(), docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
        description="LlamaIndex LLMs, mixtures above all, behind the APIs of OpenAI and Anthropic.",
    )  # fmt: skip


def _add_paths(app: FastAPI, metrics: Metrics, doors: Doors) -> None:
    for add in (add_chat, add_messages, add_responses, add_runs):
        add(app, doors)
    add_page(app)
    _add_rest(app, doors.models, app.state.runs, metrics)


def _add_mcp(app: FastAPI, door: McpDoor | None) -> None:
    app.state.mcp = door
    if door:
        app.router.routes.append(Route(MCP_PATH, door, methods=["POST", "DELETE"]))


def _allow(app: FastAPI, origins: Sequence[str]) -> None:
    """Let the scripts of these origins ask."""
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["*"], expose_headers=["x-request-id", "x-should-retry", HEADER],
        )  # fmt: skip


def _version() -> str:
    try:
        return version("llama-index-packs-mixture-of-agents")
    except PackageNotFoundError:  # a downloaded pack is a folder of sources
        return "unknown"


def _check(
    models: Mapping[str, LLM], keys: Collection[str | ApiKey], **positive: float | None
) -> None:
    if not models:
        raise ValueError('models: there is none to serve; give some, as in {"moa": mixture}')
    secrets = [key.secret if isinstance(key, ApiKey) else key for key in keys]
    if isinstance(keys, str) or not all(map(_is_key, secrets)):
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

    @app.get("/openapi.json", include_in_schema=False)
    def show_description() -> JSONResponse:  # in a thread: the first time it takes a second
        """This API, for tools."""
        return JSONResponse(app.openapi())


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
        headers = {**getattr(request.state, "headers", {}), **problem.headers}
        return JSONResponse(body_at(request.url.path, problem), problem.status, headers)

    async def of_run(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is UNCOUNTED:
            record("a request failed")
        return response(request, problem)

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
        **dict.fromkeys((Refused, LLMFailed, LimiterUnavailable, RunError), of_run),
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
