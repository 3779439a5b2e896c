"""Explains exceptions that LLMs raise.

The mapping reads the contents of an exception: a status, headers, the names of its classes. It never imports the
client library that raised the exception, so one table serves every LlamaIndex integration.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, cast

from llama_index.packs.mixture_of_agents.errors import FailureKind

from .environment import problem_of_environment
from .error_words import wait_in_words, window_in_words
from .redaction import redact
from .retry_after import parse_retry_after

_MESSAGE_LIMIT = 500
_SEARCHED = 8_000
"""Characters. Text from outside may have megabytes, so it is cut to this length before it is searched."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one request failed.

    Attributes:
        kind: the kind of failure.
        message: the error in words, without secrets.
        status: the HTTP status; None without one.
        retry_after: seconds to wait before another attempt; None if the provider named no time.
        refused: parameters, or roles of messages, that the model does not take.
        window: the model's context window in tokens, if the error names it.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    refused: tuple[str, ...] = ()
    window: int | None = None


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
    "AnswerTooLong": FailureKind.BAD_RESPONSE,
    "UnreadableAnswer": FailureKind.BAD_RESPONSE,
    # Ollama sends an error in place of a line of a stream. It has no status.
    "ResponseError": FailureKind.SERVER_ERROR,
    "APIResponseValidationError": FailureKind.BAD_RESPONSE,
    "ResponseValidationError": FailureKind.BAD_RESPONSE,
    "DecodingError": FailureKind.BAD_RESPONSE,
    "JSONDecodeError": FailureKind.BAD_RESPONSE,
    "UnicodeDecodeError": FailureKind.BAD_RESPONSE,
    "ValidationError": FailureKind.BAD_RESPONSE,
    "LengthFinishReasonError": FailureKind.TRUNCATED,
    "ContentFilterFinishReasonError": FailureKind.CONTENT_FILTER,
    # An error event in the middle of a stream has no status.
    "APIError": FailureKind.SERVER_ERROR,
    # A status below 400 that is no answer.
    "APIStatusError": FailureKind.BAD_RESPONSE,
    "MistralError": FailureKind.BAD_RESPONSE,
    # All other OpenAIErrors: a key is missing, or no request could be made.
    "OpenAIError": FailureKind.CONFIGURATION,
    "HTTPError": FailureKind.CONNECTION,
    # Integrations raise these for a malformed body.
    "AttributeError": FailureKind.BAD_RESPONSE,
    "IndexError": FailureKind.BAD_RESPONSE,
    "KeyError": FailureKind.BAD_RESPONSE,
    "TypeError": FailureKind.BAD_RESPONSE,
}


def diagnose(error: BaseException, sent: Iterable[str] = (), secrets: Iterable[str] = ()) -> Fault:
    """Explain an exception that an LLM raised. Never raises.

    Args:
        error: the exception. Its causes count too, since integrations wrap their clients' errors.
        sent: names of the optional parameters that the request carried. Only these can be "refused".
        secrets: literal keys to take out of the message. Text that looks like a key is always taken out.
    """
    chain = tuple(causes(error))
    # An SDK hides an error of its connections behind "Connection error.".
    error = next((one for one in chain if type(one).__name__ in _OF_THE_WIRE), error)
    chain = tuple(causes(error))
    status = next((found for one in chain if (found := _status(one))), None)
    text = _text(error)
    searched = text[:_SEARCHED]
    secrets = tuple(secrets)
    if status is None and (problem := problem_of_environment(chain, secrets)):
        return Fault(FailureKind.CONFIGURATION, problem)
    if _is_of_an_sdk(error):
        return Fault(FailureKind.CONFIGURATION, redact(text, secrets, _SEARCHED)[:_MESSAGE_LIMIT])
    refused = _refused_parameters(error, status, searched, tuple(sent))
    wait = next((found for one in chain if (found := _retry_after(one)) is not None), None)
    if wait is None and status in (429, 503):
        wait = wait_in_words(searched)
    ends = wait is not None
    kind = FailureKind.BAD_REQUEST if refused else _kind(chain, status, searched, ends=ends)
    shown = redact(text, secrets, _SEARCHED)
    hint = _TEMPLATE_HINT if _refused_roles(status, searched) else ""
    window = window_in_words(searched) if kind == FailureKind.CONTEXT_WINDOW else None
    return Fault(kind, shown[:_MESSAGE_LIMIT] + hint, status, wait, refused, window)


_OF_THE_WIRE = ("AnswerTooLong", "UnreadableAnswer")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its chain of causes; at most eight in all."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _status(error: BaseException) -> int | None:
    # aiohttp reports status 400 for an answer that it cannot read.
    kinds = {cls.__name__ for one in (error, error.__cause__) for cls in type(one).__mro__}
    if "HttpProcessingError" in kinds:
        return None
    places = (("status_code",), ("response", "status_code"), ("code",), ("status",))
    held = (_held(error, *place) for place in places)
    # An error status takes precedence over the 200 of a response whose body holds the error.
    candidates = [c for c in held if isinstance(c, int) and 100 <= c < 600]
    found = next(iter(sorted(candidates, key=lambda code: code < 400)), None)
    body = _body(error)
    if found is None and body is not None:
        return status_of(body)
    return (status_of(body) or 500) if body and body.get("error") and found == 200 else found


_STATUS_OF_CODE = {
    "rate_limit": 429,
    "resource_exhausted": 429,
    "quota": 429,
    "overloaded": 503,
    "unavailable": 503,
    "timeout": 408,
    "authentication": 401,
    "unauthenticated": 401,
    "api_key": 401,
    "permission": 403,
    "billing": 402,
    "not_found": 404,
    "invalid": 400,
    "context_length": 400,
    "content_filter": 400,
    "server_error": 500,
    "internal": 500,
}
"""Parts of providers' names for errors, and the HTTP status that belongs to each."""


def status_of(error: Mapping[str, Any]) -> int | None:
    """Find the HTTP status that belongs to an error in a body, by the error's code or type.

    Args:
        error: the body, or the error in it.

    Returns:
        The status, from 400 to 599; None if the error has no known code.
    """
    inner = error.get("error")
    if isinstance(inner, str) and "unexpected endpoint" in inner.lower():
        return 404  # LM Studio's, which comes with status 200
    if isinstance(inner, Mapping):
        error = cast("Mapping[str, Any]", inner)
    for name in ("code", "status", "status_code", "type"):
        word = str(error.get(name)).lower()[:100]
        if word.isdecimal() and 400 <= int(word) < 600:
            return int(word)
        known = next((status for part, status in _STATUS_OF_CODE.items() if part in word), None)
        if known:
            return known
    return None


def _held(thing: Any, *path: str) -> Any:
    """The value at the end of a path of attributes; None if it is missing or cannot be read."""
    try:
        for name in path:
            thing = getattr(thing, name, None)
    except Exception:  # noqa: BLE001  # a property may raise anything
        return None
    return thing


def _text(error: BaseException) -> str:
    try:
        words = str(error).strip()
    except Exception:  # noqa: BLE001  # an exception may fail to describe itself
        words = ""
    name = type(error).__name__
    if name == "ResponseValidationError" and (reported := (_body(error) or {}).get("error")):
        words = _message(reported) or json.dumps(reported)
    elif isinstance(error, _OF_PYTHON) or name == "ValidationError":
        words = f"the provider's answer cannot be read: {words}"
    return f"{name}: {words}" if words else name


_OF_PYTHON = (AttributeError, IndexError, KeyError, TypeError)
"""What LLM classes raise for an answer that lacks a field."""


_TOO_LONG = (
    "context_length",
    "context length",
    "context window",
    "maximum context",
    "prompt is too long",
    "context size",
    "maximum prompt length",
    "input token count",
    "context limit",
)
_UNPAID = ("insufficient_quota", "credit balance", "credit_balance", "no credits")


def _kind(
    chain: tuple[BaseException, ...], status: int | None, text: str, *, ends: bool
) -> FailureKind:
    """The kind of a fault; ``ends`` is whether the provider says when to come back."""
    low = text.lower()
    if status is not None and status >= 400:
        return _kind_of_status(status, low, ends=ends)
    if isinstance(chain[0], ValueError) and "unknown model" in low:
        return FailureKind.CONFIGURATION
    names = (cls.__name__ for error in chain for cls in type(error).__mro__)
    return next((_BY_CLASS[name] for name in names if name in _BY_CLASS), FailureKind.ERROR)


def _kind_of_status(status: int, low: str, *, ends: bool) -> FailureKind:
    if status in (400, 413, 422) and any(words in low for words in _TOO_LONG):
        return FailureKind.CONTEXT_WINDOW
    if status in (400, 422) and "content_filter" in low:
        return FailureKind.CONTENT_FILTER
    # Google names the billing in its limits of a minute too.
    unpaid = any(words in low for words in _UNPAID) or ("billing" in low and not ends)
    if status in (400, 429) and unpaid:
        return FailureKind.PAYMENT
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return FailureKind.SERVER_ERROR if status >= 500 else FailureKind.BAD_REQUEST


# Patterns are compiled at their first use, as that takes a millisecond.
_REFUSAL = (
    r"(?i)unsupported|(?:not|n't) supported|(?:does not|doesn't) supports?|only supports? (?:temperature|top_p|the default|1\b)|unexpected (?:keyword|parameter|property)|"
    r"extra_forbidden|extra inputs are not permitted|additional properties|unrecognized|"
    r"unknown (?:parameter|argument|field|name)|cannot find field|not a valid parameter|not (?:permitted|allowed)|"
    r"deprecated|only \S+ is allowed|may only be|must be (?:set to )?1\b|cannot both|mutually exclusive|not both|"
    r"(?:cannot|can't) be (?:set|specified|used|changed|combined)|is fixed (?:at|to)"
)
_ONE_OF_THEM = r"(?i)cannot both|can't both|mutually exclusive|not both|only one of"
_OTHER_NAMES = {"max_tokens": ("max_output_tokens", "max_completion_tokens", "num_predict")}

SYSTEM_ROLE, REPEATED_ROLES = "system role", "repeated roles"
"""What a chat template may refuse. ``Fault.refused`` lists these like parameters."""
_TEMPLATE_REFUSALS = {
    SYSTEM_ROLE: (
        r"(?i)system (?:role|message|prompt|instruction)s?(?: is| are)? not (?:supported|allowed|enabled)|"
        r"developer instruction is not enabled|only user and assistant roles are supported|"
        r"(?:does not|doesn't) support (?:the |a )?'?system'?\b|(?:unsupported|invalid|unexpected|unknown) role:? ['\"]?system"
    ),
    REPEATED_ROLES: (
        r"(?i)roles (?:must|should) alternate|must alternate|alternating (?:user|roles)|consecutive (?:user|assistant|messages)"
    ),
}
_TEMPLATE_HINT = '; placement="user" puts the references into the last user message'


def _refused_parameters(
    error: BaseException, status: int | None, text: str, sent: Collection[str]
) -> tuple[str, ...]:
    template = _refused_roles(status, text)
    if template:
        return tuple(name for name in template if name in sent)
    if status not in (400, 422) and not isinstance(error, TypeError):
        return ()
    body = f"{text} {_message(_body(error))}"
    if not re.search(_REFUSAL, body):
        return ()
    found = {name: _place(name, body) for name in sent}
    if (named := _held(error, "param")) in found:
        found[named] = 0
    refused = sorted((place, name) for name, place in found.items() if place is not None)
    names = tuple(name for _, name in refused)
    return names[1:] if len(names) > 1 and re.search(_ONE_OF_THEM, body) else names


_SDKS = frozenset({"anthropic", "google", "mistralai", "ollama", "openai"})


def _is_of_an_sdk(error: BaseException) -> bool:
    """Whether an LLM class passed its SDK an unknown argument. No request was made then."""
    if not isinstance(error, TypeError) or "unexpected keyword argument" not in str(error):
        return False
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__")) if trace else ""
    return module.startswith("llama_index.llms.") or module.partition(".")[0] in _SDKS


def _refused_roles(status: int | None, text: str) -> list[str]:
    """What the model's chat template refuses. Many servers report that with status 500."""
    if status not in (400, 422, 500):
        return []
    return [name for name, words in _TEMPLATE_REFUSALS.items() if re.search(words, text)]


def _body(error: BaseException) -> Mapping[str, Any] | None:
    """The body that the error holds, if it is a JSON object. Mistral's SDK holds it as text, an event in "data"."""
    body = _held(error, "body")
    if isinstance(body, str):
        try:
            body = json.loads(body[:_SEARCHED])
        except ValueError:
            return None
    if not isinstance(body, Mapping):
        return None
    found = cast("Mapping[str, Any]", body)
    event = found.get("data")
    return cast("Mapping[str, Any]", event) if isinstance(event, Mapping) else found


def _message(body: Any) -> str:
    """The message in the body of an error, which the text of the exception may lack."""
    message = cast("Mapping[str, Any]", body).get("message") if isinstance(body, Mapping) else body
    return message[:_SEARCHED] if isinstance(message, str) else ""


def _place(name: str, text: str) -> int | None:
    """The position at which a text names a parameter, in any spelling; None if it does not."""
    names = (name, *_OTHER_NAMES.get(name, ()))
    spelled = {*names, *(re.sub("_(.)", lambda found: found[1].upper(), one) for one in names)}
    found = re.search(rf"\b(?:{'|'.join(map(re.escape, spelled))})\b", text)
    return found.start() + 1 if found else None


def _retry_after(error: BaseException) -> float | None:
    now = datetime.now(timezone.utc)
    for place in (("response", "headers"), ("headers",)):
        try:
            value = _held(error, *place).get("retry-after")
        except Exception:  # noqa: BLE001, S112  # no headers, or unreadable ones
            continue
        return parse_retry_after(value, now)
    body = _body(error) or {}
    inner = body.get("error")
    held = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else body
    value = held.get("retry_after")
    return parse_retry_after(None if value is None else str(value), now)
