"""What can go wrong with one LLM call, as plain data, and texts without secrets."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class FailureKind(str, Enum):
    """Why a call gave no usable answer. docs/failures.md says of each what the user gets."""

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
    PAYMENT = "payment"
    NOT_FOUND = "not_found"
    CONTEXT_WINDOW = "context_window"
    CONFIGURATION = "configuration"
    STRAGGLER = "straggler"
    CANCELLED = "cancelled"
    CIRCUIT_OPEN = "circuit_open"
    ERROR = "error"


RETRYABLE = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.CONNECTION,
        FailureKind.BAD_RESPONSE,
        FailureKind.EMPTY,
        FailureKind.ONLY_THINKING,
    }
)
"""Kinds that another attempt may cure. A 408 counts as CONNECTION, a 409 as SERVER_ERROR."""

OF_THE_ENDPOINT = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.CONNECTION,
        FailureKind.BAD_RESPONSE,
        FailureKind.AUTHENTICATION,
        FailureKind.PAYMENT,
        FailureKind.NOT_FOUND,
    }
)
"""Kinds that speak against the model endpoint, not against the question: these open its circuit."""


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
        return (
            f"{name}: {self.kind.value}{status} after {tries}, {self.elapsed:.1f} s: {self.message}"
        )


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
