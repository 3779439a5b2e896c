"""Everything this library raises of its own accord.

::

    MixtureError
    |-- RecipeError (ValueError)     a recipe that makes no sense
    |-- ConfigError (ValueError)     a configuration file that makes no sense
    |-- BatchError (ValueError)      a batch that cannot begin, or not go on
    `-- RunError                     a run that ended without an answer
        |-- QuorumNotMet             a layer got too few proposals
        |-- AggregatorFailed         the aggregator and all its fallbacks failed
        |-- DeadlineExceeded         the whole run took longer than its deadline
        |-- BudgetExceeded           not even the aggregator fits the budget
        `-- ReplayMiss               a trace file lacks a call that the recipe makes
"""

from collections.abc import Sequence
from typing import Any

from .failures import Failure


class MixtureError(Exception):
    """The root of every error of this library."""


class RecipeError(MixtureError, ValueError):
    """A recipe that makes no sense.

    Args:
        field: the field that is wrong, as it is written in Python or in a configuration file.
        value: what it held.
        problem: what is wrong with that, and what to do.
    """

    def __init__(self, field: str, value: object, problem: str) -> None:
        super().__init__(f"{field} = {value!r}: {problem}")
        self.field = field
        self.value = value
        self._problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.value, self._problem)


class ConfigError(MixtureError, ValueError):
    """A configuration file that makes no sense; the message names the file, the line and the remedy."""


class BatchError(MixtureError, ValueError):
    """A batch that cannot begin, or not go on; the message names the file, the line and the remedy."""


class RunError(MixtureError):
    """A run that ended without an answer.

    Attributes:
        failures: a record of every call that failed in the run.
        result: the ``MixtureResult`` of the run as far as it came, or None.
    """

    def __init__(self, problem: str, failures: Sequence[Failure] = ()) -> None:
        lines = [problem, *(f"  - {failure}" for failure in failures)]
        super().__init__("\n".join(lines))
        self.problem = problem
        self.failures = tuple(failures)
        self.result: Any = None


class QuorumNotMet(RunError):
    """A layer got too few proposals. The message lists every proposer with what happened to it."""


class AggregatorFailed(RunError):
    """The aggregator and all of its fallbacks failed."""


class DeadlineExceeded(RunError):
    """The whole run took longer than its deadline."""


class BudgetExceeded(RunError):
    """Not even the aggregator fits what is left of the budget."""


class ReplayMiss(RunError):
    """A trace file lacks a call that the recipe makes."""
