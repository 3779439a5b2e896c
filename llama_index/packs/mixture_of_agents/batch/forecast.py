"""When a batch may end, by what it has done so far."""

from collections.abc import Callable, Sequence

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

from .outcomes import Report


def rounds_of(llm: LLM) -> tuple[int, ...]:
    """The requests of a question, round by round: a mixture's layers, judges and aggregator wait for each other.

    Args:
        llm: The LLM that is asked.

    Returns:
        The number of requests of each round, if nothing fails.
    """
    if not isinstance(llm, MixtureOfAgents):
        return (1,)
    return tuple(len(stage) for stage in llm.recipe.estimate().stages)


class Forecast:
    """Says how long a batch will take. Each question takes the same time, and so does each round of batches.

    Args:
        rounds: The requests of a question, round by round.
        limit: The largest number of questions that are asked; None for all.

    Attributes:
        received: Returns the number of requests that providers' batches have answered.
    """

    def __init__(self, rounds: Sequence[int], limit: int | None) -> None:
        self._rounds, self._limit = rounds, limit
        self._head_start = 0.0
        self.received: Callable[[], int] = lambda: 0

    def seconds_left(self, report: Report, started: int, now: float) -> float | None:
        """The seconds until the end.

        Args:
            report: The state of the batch.
            started: The number of questions that have been asked in this run.
            now: The time, in seconds since the epoch.

        Returns:
            The seconds; None if nothing is known yet.
        """
        if report.total is None or report.stopped:
            return None
        left = report.total - report.skipped
        left = left if self._limit is None else min(left, self._limit)
        ended = report.answered + report.failed
        answered = self.received() + sum(batch.done for batch in report.batches)
        further = max(0, answered - ended * sum(self._rounds))
        under_way = max(0, started - ended)
        done = ended + under_way * self._part(further / under_way) if under_way else ended
        for batch in report.batches:  # an earlier process may have begun it
            self._head_start = max(self._head_start, now - batch.begun - report.seconds)
        return (report.seconds + self._head_start) * (left - done) / done if done else None

    def _part(self, requests: float) -> float:
        """The part of its rounds that a question with this number of answered requests has behind it."""
        done = 0.0
        for size in self._rounds:
            some = min(size, requests)
            done, requests = done + some / size, requests - some
        return done / len(self._rounds)
