"""Records of failed calls, and the exceptions that this library raises.

MixtureError
RecipeError (a ValueError)       a recipe, or a setting, is not valid
ConfigError (a ValueError)       a configuration file is not valid
LimiterUnavailable               the store of the limits cannot be reached
BatchError (a ValueError)        a batch cannot begin or continue
EvaluationError (a ValueError)   an evaluation cannot begin
RunError                         a run ended without an answer
QuorumNotMet, AggregatorFailed, DeadlineExceeded, BudgetExceeded, ReplayMiss
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class FailureKind(str, Enum):
    """The reason why a call gave no usable answer. docs/failures.md describes what each one means for the user."""

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
"""Kinds that are retried. A 408 counts as CONNECTION, a 409 as SERVER_ERROR."""

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
"""Kinds that lie in the model's endpoint, not in the question: these open its circuit."""


@dataclass(frozen=True)
class Failure:
    """One call that gave no usable answer.

    Attributes:
        agent: the agent's name in the recipe.
        model: the model's name.
        layer: the number of the layer, from 1; the aggregator's is one more than the last proposer layer's.
        kind: the reason.
        message: the error in words, shortened, without secrets.
        status: the HTTP status, or None.
        attempts: the number of requests that were made.
        elapsed: seconds from the start of the call to its end.
        exception: what the LLM raised, without its traceback. Only the process that caught it has it; pickles, JSON and
            trace files leave it out. It may contain a key; ``message`` never does.
    """

    agent: str
    model: str
    layer: int
    kind: FailureKind
    message: str
    status: int | None = None
    attempts: int = 0
    elapsed: float = 0.0

    @property
    def exception(self) -> BaseException | None:
        """The exception that the failure stands for; None if it came from a file."""
        return self.__dict__.get("_exception")

    def seen_as(self, error: BaseException | None) -> "Failure":
        """Return this failure, with the exception that it stands for.

        Args:
            error: the exception; None changes nothing.
        """
        if error is not None:
            object.__setattr__(self, "_exception", error.with_traceback(None))
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_exception"}

    def __str__(self) -> str:
        name = self.agent if self.agent == self.model else f"{self.agent} ({self.model})"
        status = f" {self.status}" if self.status else ""
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return (
            f"{name}: {self.kind.value}{status} after {tries}, {self.elapsed:.1f} s: {self.message}"
        )


class MixtureError(Exception):
    """The root of every error of this library."""


class RecipeError(MixtureError, ValueError):
    """A recipe or a setting that is not valid.

    Args:
        field: the name of the wrong field, in Python or in a configuration file.
        value: its value.
        problem: what is wrong with the value, and what to do.
    """

    def __init__(self, field: str, value: object, problem: str) -> None:
        super().__init__(f"{field} = {value!r}: {problem}")
        self.field = field
        self.value = value
        self._problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.value, self._problem)


class ConfigError(MixtureError, ValueError):
    """A configuration file that is not valid. The message has the file, the line and what to do."""


class LimiterUnavailable(MixtureError):
    """The store that counts requests and tokens cannot be reached. Nothing is sent without it."""


class BatchError(MixtureError, ValueError):
    """A batch that cannot begin or continue. The message has the file, the line and what to do."""


class EvaluationError(MixtureError, ValueError):
    """An evaluation that cannot begin; the message says what to give."""


class RunError(MixtureError):
    """A run that ended without an answer.

    Args:
        problem: why there is no answer.
        failures: a record of every failed call of the run.

    Attributes:
        problem: the argument.
        failures: the argument.
        result: the ``MixtureResult`` of the run until it ended, or None.
        __cause__: the LLM's exception, if all calls failed for one reason and its text contains no secret.
    """

    def __init__(self, problem: str, failures: Sequence[Failure] = ()) -> None:
        lines = [problem, *(f"  - {failure}" for failure in failures)]
        super().__init__("\n".join(lines))
        self.problem = problem
        self.failures = tuple(failures)
        self.result: Any = None
        cause = _common_cause(failures)
        if cause is not None:
            self.__cause__ = cause


def _common_cause(failures: Sequence[Failure]) -> BaseException | None:
    """The exception behind all failures, if they are of one kind and it says no more than their message.

    A traceback prints the causes of an error as they are: one that holds a key must not be among them.
    """
    errors = [failure.exception for failure in failures]
    same = {(failure.kind, type(error)) for failure, error in zip(failures, errors, strict=True)}
    if len(same) != 1 or errors[0] is None:
        return None
    shown = failures[0].message.partition(": ")[2]
    first = errors[0]
    alone = first.__cause__ is None and (first.__context__ is None or first.__suppress_context__)
    try:
        return first if alone and str(first).strip() == shown else None
    except Exception:  # noqa: BLE001 - it cannot say what it is
        return None


class QuorumNotMet(RunError):
    """A layer got too few proposals. The message lists every failed proposer with its reason."""


class AggregatorFailed(RunError):
    """The aggregator and all of its fallbacks failed, or their circuits are open.

    Attributes:
        retry_after: seconds until an aggregator can be asked again, if all of their circuits are open; else None.
    """

    retry_after: float | None = None


class DeadlineExceeded(RunError):
    """The whole run took longer than its deadline."""


class BudgetExceeded(RunError):
    """Not even the aggregator fits what is left of the budget."""


class ReplayMiss(RunError):
    """A trace file lacks a call that the recipe makes."""
