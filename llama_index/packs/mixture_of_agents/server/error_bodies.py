"""Errors as clients receive them: statuses, codes and bodies in OpenAI's format.

https://platform.openai.com/docs/guides/error-codes
"""

import logging
import math
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from llama_index.packs.mixture_of_agents._providers.faults import Fault
from llama_index.packs.mixture_of_agents._providers.redaction import redact
from llama_index.packs.mixture_of_agents.errors import (
    RETRYABLE,
    AggregatorFailed,
    BudgetExceeded,
    DeadlineExceeded,
    FailureKind,
    LimiterUnavailable,
    RunError,
)

_log = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    413: "invalid_request_error",
    429: "rate_limit_error",
    499: "client_closed_request",
}
_BY_KIND = {
    FailureKind.RATE_LIMITED: (429, "rate_limit_exceeded"),
    FailureKind.CONTEXT_WINDOW: (400, "context_length_exceeded"),
    FailureKind.BAD_REQUEST: (400, "bad_request"),
    FailureKind.CONTENT_FILTER: (400, "content_filter"),
    FailureKind.TRUNCATED: (400, "max_tokens_too_small"),
    FailureKind.TIMEOUT: (504, "timeout"),
}
_GATEWAY = (502, "upstream_error")
_OUR_DOING = {FailureKind.STRAGGLER, FailureKind.CANCELLED, FailureKind.CIRCUIT_OPEN}
"""Kinds that do not explain why a run failed: these calls were stopped, or not made."""
IN_VAIN = {"x-should-retry": "false"}
"""OpenAI's SDKs repeat a request after a 5xx, and so the whole run, unless this header is there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason why there is no answer.

    Attributes:
        status: the HTTP status.
        message: what was wrong, where, and what to do; without secrets.
        code: OpenAI's word for it, or one in its manner.
        param: the field of the request that is wrong, where it is one.
        headers: further headers of the response.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def body(self) -> dict[str, Any]:
        """The problem in OpenAI's format."""
        server = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = _TYPES.get(self.status, server)
        # It may quote half a character that the client sent, which UTF-8 cannot encode.
        message = self.message.encode(errors="replace").decode()
        param = self.param and self.param.encode(errors="replace").decode()
        error = {"message": message, "type": kind, "param": param, "code": self.code}
        return {"error": error}


class ErrorDetails(BaseModel):
    """What is wrong with a request, or with its answer."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetails


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody}
    for status in (400, 401, 402, 404, 408, 413, 429, 500, 502, 503, 504)
}
"""The errors of a path that asks models, for the OpenAPI description."""

_MESSAGES_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_OF_JSON_RPC = -32000
"""The first of JSON-RPC's codes for a server's own errors."""


def body_at(path: str, problem: Problem) -> dict[str, Any]:
    """A problem in the format of the API that a path belongs to: OpenAI's, Anthropic's, or JSON-RPC's at ``/mcp``."""
    if path == "/mcp":
        error = {"code": _OF_JSON_RPC, "message": problem.body["error"]["message"]}
        return {"jsonrpc": "2.0", "id": None, "error": error}
    if not path.startswith("/v1/messages"):
        return problem.body
    other = "api_error" if problem.status >= 500 else "invalid_request_error"
    kind = _MESSAGES_TYPES.get(problem.status, other)
    return {"type": "error", "error": {"type": kind, "message": problem.body["error"]["message"]}}


class Refused(Exception):
    """A request that is not answered.

    Args:
        problem: why.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class LLMFailed(Exception):
    """An LLM that is not a mixture raised an error.

    Args:
        fault: what the error means.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


SERVER_FAULT = Problem(500, "The server failed. Its log says why.", "internal_error")
"""An unexpected error of the server itself. Its details are in the log alone."""
UNCOUNTED = Problem(
    503,
    "The server cannot count its requests to providers now, so it sends none.",
    "limits_unavailable",
)
"""The store of the limits cannot be reached. The log says which."""
ENDING = Problem(503, "The server is ending; ask again in a moment.", "server_ending")


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """The problem of a request that is not valid."""
    return Problem(400, f"{param}: {message}" if param else message, code, param)


def problem_of(error: BaseException) -> Problem:
    """The problem that an error means for the client."""
    if isinstance(error, Refused):
        return error.problem
    if isinstance(error, LimiterUnavailable):
        return UNCOUNTED
    if isinstance(error, LLMFailed):
        return _of_kinds([error.fault.kind], error.fault.message)
    if isinstance(error, DeadlineExceeded):
        return Problem(504, redact(str(error)), "deadline_exceeded", headers=IN_VAIN)
    if isinstance(error, BudgetExceeded):
        return Problem(402, redact(str(error)), "budget_exceeded", headers=IN_VAIN)
    if isinstance(error, AggregatorFailed) and error.retry_after is not None:
        wait = {"Retry-After": str(math.ceil(error.retry_after))}
        return Problem(503, redact(str(error)), "upstream_unavailable", headers=wait)
    if isinstance(error, RunError):
        return _of_kinds((failure.kind for failure in error.failures), str(error))
    return SERVER_FAULT


_LONGEST_TRACE = 100_000
"""Characters. What went wrong stands at the end of a traceback."""


def record(what: str) -> None:
    """Log the error that is being handled, without secrets."""
    _log.error("%s\n%s", what, redact(traceback.format_exc(), most=_LONGEST_TRACE))


def _of_kinds(kinds: Iterable[FailureKind], message: str) -> Problem:
    """The problem that failures mean. If they are of several kinds, it is a gateway's error."""
    found = set(kinds) - _OUR_DOING
    headers = {} if not found or found & RETRYABLE else IN_VAIN
    kind = next(iter(found)) if len(found) == 1 else None
    status, code = _BY_KIND.get(kind, _GATEWAY) if kind else _GATEWAY
    return Problem(status, redact(message), code, headers=headers)


def from_validation(errors: Iterable[Mapping[str, Any]], body: Any) -> Problem:
    """The problem that pydantic found in a request's body.

    Args:
        errors: as its ``ValidationError.errors()`` lists them. One is reported, the first of the deepest: a value that
            may be of several types has an error for each of them, and the one that is of its type says what is wrong.
        body: the body.
    """
    first = max(
        errors, key=lambda error: (len(error["loc"]), not str(error["type"]).endswith("_type"))
    )
    kind, place = str(first["type"]), tuple(first["loc"][1:])
    if kind == "json_invalid":
        return invalid(f"The body is not JSON: {first['ctx']['error']}", code="invalid_json")
    if not isinstance(body, dict):
        problem = "The body must be a JSON object, sent with Content-Type: application/json."
        return invalid(problem, code="invalid_json")
    param = _param(place, body, kind) or None
    if kind == "extra_forbidden":
        return invalid(
            f"Unrecognized request argument supplied: {param}", None, "unknown_parameter"
        )
    return invalid(_words(first), param, "missing" if kind == "missing" else "invalid_value")


def _words(error: Mapping[str, Any]) -> str:
    """What one of pydantic's errors says, without its own words for what it does not know."""
    context = error.get("ctx", {})
    if error["type"] == "union_tag_invalid":
        return f"{str(context['tag'])[:60]!r} is not supported, only {context['expected_tags']}"
    if error["type"] == "literal_error":
        return f"only {context['expected']} is supported"
    if error["type"] == "too_short" and context["actual_length"] == 0:
        return "must not be empty"
    if error["type"] == "none_required":
        return "is not supported; leave it out"
    return str(error["msg"]).removeprefix("Value error, ")


def _param(place: tuple[Any, ...], body: Any, kind: str) -> str:
    """A place in the body, such as ``messages[0].content``, without the names of pydantic's own branches."""
    words, here = "", body
    for number, step in enumerate(place):
        if isinstance(here, dict) and step in here:
            words, here = f"{words}.{step}" if words else str(step), here[step]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(here, list) and isinstance(step, int):
            words, here = f"{words}[{step}]", here[step]  # pyright: ignore[reportUnknownVariableType]
        elif kind == "missing" and number == len(place) - 1:
            words = f"{words}.{step}" if words else str(step)
    return words
