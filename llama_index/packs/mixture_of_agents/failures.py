"""What can go wrong with one LLM call, as plain data: kinds, records, and the mapping of foreign errors.

The mapping looks at what an exception *carries* (a status, headers, the names of its classes), never at
the client library it comes from, so one table serves every LlamaIndex integration without importing it.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

_MESSAGE_LIMIT = 500


class FailureKind(str, Enum):
    """Why a call gave no usable answer."""

    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    BAD_RESPONSE = "bad_response"
    EMPTY = "empty"
    ONLY_THINKING = "only_thinking"
    ONLY_TOOL_CALLS = "only_tool_calls"
    TRUNCATED = "truncated"
    CONTENT_FILTER = "content_filter"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"
    CONTEXT_WINDOW = "context_window"
    CONFIGURATION = "configuration"
    STRAGGLER = "straggler"
    CIRCUIT_OPEN = "circuit_open"
    ERROR = "error"


RETRYABLE = frozenset(
    {
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.CONNECTION,
        FailureKind.BAD_RESPONSE,
        FailureKind.EMPTY,
        FailureKind.ONLY_THINKING,
    }
)
"""Kinds that another attempt may cure. A 408 counts as CONNECTION, a 409 as SERVER_ERROR."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One call that gave no usable answer.

    Attributes:
        agent: the agent's name in the recipe.
        model: the model's name.
        layer: number of the layer, from 1; the aggregator's is one more than the last proposer layer's.
        kind: what went wrong.
        message: the error in words, shortened, without secrets.
        status: the HTTP status, where there was one.
        attempts: how many requests were made for this call.
        elapsed: seconds from the start of the call to its end.
    """

    agent: str
    model: str
    layer: int
    kind: FailureKind
    message: str
    status: int | None = None
    attempts: int = 0
    elapsed: float = 0.0

    def __str__(self) -> str:
        name = self.agent if self.agent == self.model else f"{self.agent} ({self.model})"
        status = f" {self.status}" if self.status else ""
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"{name}: {self.kind.value}{status} after {tries}, {self.elapsed:.1f} s: {self.message}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What an exception means: its kind, status, wait in seconds asked for by the provider, refused parameters."""

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    refused: tuple[str, ...] = ()


_BY_STATUS = {
    401: FailureKind.AUTHENTICATION,
    403: FailureKind.AUTHENTICATION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.CONNECTION,
    409: FailureKind.SERVER_ERROR,
    429: FailureKind.RATE_LIMITED,
}
_BY_CLASS = {
    "TimeoutError": FailureKind.CONNECTION,
    "TimeoutException": FailureKind.CONNECTION,
    "APITimeoutError": FailureKind.CONNECTION,
    "APIResponseValidationError": FailureKind.BAD_RESPONSE,
    "ResponseValidationError": FailureKind.BAD_RESPONSE,
    "JSONDecodeError": FailureKind.BAD_RESPONSE,
    "UnicodeDecodeError": FailureKind.BAD_RESPONSE,
    "ValidationError": FailureKind.BAD_RESPONSE,
    "TransportError": FailureKind.CONNECTION,
    "APIConnectionError": FailureKind.CONNECTION,
    "NoResponseError": FailureKind.CONNECTION,
    "ClientConnectionError": FailureKind.CONNECTION,
    "ClientPayloadError": FailureKind.CONNECTION,
    "ConnectionError": FailureKind.CONNECTION,
    "SSLError": FailureKind.CONNECTION,
    # An integration that trips over a malformed body does so with one of these.
    "AttributeError": FailureKind.BAD_RESPONSE,
    "IndexError": FailureKind.BAD_RESPONSE,
    "KeyError": FailureKind.BAD_RESPONSE,
    "TypeError": FailureKind.BAD_RESPONSE,
}


def diagnose(error: BaseException, sent: Iterable[str] = (), secrets: Iterable[str] = ()) -> Fault:
    """Tell what an exception raised by an LLM means.

    Args:
        error: the exception.
        sent: names of the optional parameters that the request carried; only these can be "refused".
        secrets: literal strings (keys) to take out of the message, besides what looks like one.

    Returns:
        The fault. Never raises.
    """
    status = _status(error)
    text = _text(error)
    refused = _refused_parameters(error, status, text, sent)
    kind = FailureKind.BAD_REQUEST if refused else _kind(error, status, text)
    return Fault(kind, redact(text, secrets)[:_MESSAGE_LIMIT], status, _retry_after(error), refused)


def _status(error: BaseException) -> int | None:
    candidates = (
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
        getattr(error, "code", None),
    )
    return next((c for c in candidates if isinstance(c, int) and 100 <= c < 600), None)


def _text(error: BaseException) -> str:
    words = str(error).strip()
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _kind(error: BaseException, status: int | None, text: str) -> FailureKind:
    low = text.lower()
    if status is not None and status >= 400:
        if status in (400, 413, 422) and ("context_length" in low or "context window" in low or "maximum context" in low):
            return FailureKind.CONTEXT_WINDOW
        if status in (400, 422) and "content_filter" in low:
            return FailureKind.CONTENT_FILTER
        if status in _BY_STATUS:
            return _BY_STATUS[status]
        return FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REQUEST
    if isinstance(error, ValueError) and "unknown model" in low:
        return FailureKind.CONFIGURATION
    names = [cls.__name__ for cls in type(error).__mro__]
    return next((_BY_CLASS[name] for name in names if name in _BY_CLASS), FailureKind.ERROR)


_REFUSAL = re.compile(
    r"unsupported|not supported|does not support|unexpected keyword|extra_forbidden|"
    r"extra inputs are not permitted|unrecognized|unknown (?:parameter|argument|field)|not permitted|deprecated",
    re.IGNORECASE,
)


def _refused_parameters(error: BaseException, status: int | None, text: str, sent: Iterable[str]) -> tuple[str, ...]:
    if status not in (400, 422) and not isinstance(error, TypeError):
        return ()
    body = f"{text} {getattr(error, 'body', '') or ''}"
    if not _REFUSAL.search(body):
        return ()
    named = getattr(error, "param", None)
    return tuple(p for p in sent if p == named or re.search(rf"\b{re.escape(p)}\b", body))


def _retry_after(error: BaseException) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        headers = getattr(error, "headers", None)
    get: Any = getattr(headers, "get", None)
    return parse_retry_after(get("retry-after"), datetime.now(timezone.utc)) if get else None


def parse_retry_after(value: object, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header: a number of seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not isinstance(value, str):
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now.timestamp()
    return max(0.0, seconds) if math.isfinite(seconds) else None


_SECRETS = re.compile(
    r"(?P<url>(?<=://)[^/\s@]+:[^/\s@]+(?=@))"
    r"|(?P<bearer>(?<=bearer )[^\s'\",}]+)"
    r"|(?P<named>(?<![a-z])(?:api[-_]?key|access[-_]?token|authorization|password|secret)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}&]+"
    r"|(?P<key>\b(?:sk|pk|gsk|xai|key)-[\w*-]{6,}\w)"
    r"|(?P<incorrect>(?<=api key provided: )[^\s,]+)",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Take keys, bearer tokens and passwords in URLs out of a text; what goes is shown as ``***``."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return _SECRETS.sub(lambda found: (found["named"] or "") + "***", text)
