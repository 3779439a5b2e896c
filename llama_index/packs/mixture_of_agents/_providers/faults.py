"""What an exception raised by an LLM means.

The mapping looks at what an exception *carries* (a status, headers, the names of its classes), never at
the client library it comes from, so one table serves every LlamaIndex integration without importing it.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from llama_index.packs.mixture_of_agents.errors import FailureKind

_MESSAGE_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with one request.

    Attributes:
        kind: what it was.
        message: the error in words, without secrets.
        status: the HTTP status, where there was one.
        retry_after: seconds to wait before another attempt, where the provider says so.
        refused: parameters that the model does not take.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    refused: tuple[str, ...] = ()


_BY_STATUS = {
    401: FailureKind.AUTHENTICATION,
    402: FailureKind.PAYMENT,
    403: FailureKind.AUTHENTICATION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.CONNECTION,
    409: FailureKind.SERVER_ERROR,
    429: FailureKind.RATE_LIMITED,
}
_BY_CLASS = {
    "TimeoutError": FailureKind.CONNECTION,
    "TransportError": FailureKind.CONNECTION,
    "APIConnectionError": FailureKind.CONNECTION,
    "NoResponseError": FailureKind.CONNECTION,
    "ClientConnectionError": FailureKind.CONNECTION,
    "ClientPayloadError": FailureKind.CONNECTION,
    "WebSocketConnectionClosedError": FailureKind.CONNECTION,
    "ConnectionError": FailureKind.CONNECTION,
    "SSLError": FailureKind.CONNECTION,
    "StreamError": FailureKind.CONNECTION,
    "UnsupportedProtocol": FailureKind.CONFIGURATION,
    "InvalidURL": FailureKind.CONFIGURATION,
    "TooManyRedirects": FailureKind.CONFIGURATION,
    "CookieConflict": FailureKind.CONFIGURATION,
    "APIResponseValidationError": FailureKind.BAD_RESPONSE,
    "ResponseValidationError": FailureKind.BAD_RESPONSE,
    "DecodingError": FailureKind.BAD_RESPONSE,
    "JSONDecodeError": FailureKind.BAD_RESPONSE,
    "UnicodeDecodeError": FailureKind.BAD_RESPONSE,
    "ValidationError": FailureKind.BAD_RESPONSE,
    "LengthFinishReasonError": FailureKind.TRUNCATED,
    "ContentFilterFinishReasonError": FailureKind.CONTENT_FILTER,
    # An error event in the middle of a stream; it has no status.
    "APIError": FailureKind.SERVER_ERROR,
    # A status below 400 that is no answer.
    "APIStatusError": FailureKind.BAD_RESPONSE,
    "MistralError": FailureKind.BAD_RESPONSE,
    # What is left of these: no key was given, or no request could be made.
    "OpenAIError": FailureKind.CONFIGURATION,
    "HTTPError": FailureKind.CONNECTION,
    # An integration that trips over a malformed body does so with one of these.
    "AttributeError": FailureKind.BAD_RESPONSE,
    "IndexError": FailureKind.BAD_RESPONSE,
    "KeyError": FailureKind.BAD_RESPONSE,
    "TypeError": FailureKind.BAD_RESPONSE,
}


def diagnose(error: BaseException, sent: Iterable[str] = (), secrets: Iterable[str] = ()) -> Fault:
    """Tell what an exception raised by an LLM means.

    Args:
        error: the exception; what it was raised from counts too, since integrations wrap their clients' errors.
        sent: names of the optional parameters that the request carried; only these can be "refused".
        secrets: literal strings (keys) to take out of the message, besides what looks like one.

    Returns:
        The fault. Never raises.
    """
    chain = tuple(causes(error))
    status = next((found for one in chain if (found := _status(one))), None)
    text = _text(error)
    refused = _refused_parameters(error, status, text, sent)
    kind = FailureKind.BAD_REQUEST if refused else _kind(chain, status, text)
    wait = next((found for one in chain if (found := _retry_after(one)) is not None), None)
    return Fault(kind, redact(text, secrets)[:_MESSAGE_LIMIT], status, wait, refused)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was raised from, what that was raised from, and so on; at most eight."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _status(error: BaseException) -> int | None:
    # aiohttp says 400 of an answer that it cannot read to its end.
    if any(cls.__name__ == "HttpProcessingError" for cls in type(error).__mro__):
        return None
    candidates = (
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
    )
    return next((c for c in candidates if isinstance(c, int) and 100 <= c < 600), None)


def _text(error: BaseException) -> str:
    try:
        words = str(error).strip()
    except Exception:  # noqa: BLE001  # of somebody else's, and cannot say what it is
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


_TOO_LONG = (
    "context_length",
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
)
_UNPAID = ("insufficient_quota", "billing", "credit balance")


def _kind(chain: tuple[BaseException, ...], status: int | None, text: str) -> FailureKind:
    low = text.lower()
    if status is not None and status >= 400:
        return _kind_of_status(status, low)
    if isinstance(chain[0], ValueError) and "unknown model" in low:
        return FailureKind.CONFIGURATION
    names = (cls.__name__ for error in chain for cls in type(error).__mro__)
    return next((_BY_CLASS[name] for name in names if name in _BY_CLASS), FailureKind.ERROR)


def _kind_of_status(status: int, low: str) -> FailureKind:
    if status in (400, 413, 422) and any(words in low for words in _TOO_LONG):
        return FailureKind.CONTEXT_WINDOW
    if status in (400, 422) and "content_filter" in low:
        return FailureKind.CONTENT_FILTER
    if status in (400, 429) and any(words in low for words in _UNPAID):
        return FailureKind.PAYMENT
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REQUEST


_REFUSAL = re.compile(
    r"unsupported|not supported|does not support|unexpected keyword|extra_forbidden|"
    r"extra inputs are not permitted|unrecognized|unknown (?:parameter|argument|field)|not permitted|deprecated",
    re.IGNORECASE,
)


def _refused_parameters(
    error: BaseException, status: int | None, text: str, sent: Iterable[str]
) -> tuple[str, ...]:
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
        seconds = (
            date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        ).timestamp() - now.timestamp()
    return max(0.0, seconds) if math.isfinite(seconds) else None


_SECRETS = re.compile(
    r"(?P<url>(?<=://)[^/\s@]+:[^/\s@]+(?=@))"
    r"|(?P<bearer>(?<=bearer )[^\s'\",}]+)"
    r"|(?P<named>(?<![a-z])(?:api[-_]?key|access[-_]?token|authorization|password|secret)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}&]+"
    r"|(?P<query>[?&](?:key|token|sig)=)[^\s'\",}&]+"
    r"|(?P<key>\b(?:(?:sk|pk|xai)-[\w*-]{6,}\w|(?:gsk|hf|r8)_\w{8,}|AIza[\w-]{30,}))"
    r"|(?P<incorrect>(?<=api key provided: )[^\s,]+)",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Take keys, bearer tokens and passwords in URLs out of a text; what goes is shown as ``***``."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return _SECRETS.sub(lambda found: (found["named"] or found["query"] or "") + "***", text)
