"""The course of a batch: what is asked next, what has come of it, and whether to go on."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.pricing import dollars

from .flow import as_they_come, in_turns
from .input_files import Questions, are_at_hand, each, unique
from .outcomes import Answer, Report
from .question import Question
from .store import Store


class Course:
    """What is asked next, what has come of it, and whether to go on.

    Attributes:
        trouble: what ``watch`` raised.
    """

    def __init__(
        self,
        store: Store,
        limit: int | None,
        max_cost: float | None,
        max_failures: int,
        watch: Callable[[Report], None],
    ) -> None:
        self.trouble: Exception | None = None
        self._store, self._limit, self._max_failures = store, limit, max_failures
        self._most = None if max_cost is None else Decimal(str(max_cost))
        self._watch, self._begun, self._started, self._in_a_row = watch, time.perf_counter(), 0, 0
        self._so_far, self._for_answers = Report(), Decimal(0)

    @property
    def must_learn_cost(self) -> bool:
        """Whether there is a bound, and no answer yet that tells what a question costs."""
        return self._most is not None and not self._store.rows + self._so_far.answered

    @property
    def is_over(self) -> bool:
        """Whether it stopped, and nothing that was asked is waited for."""
        return bool(self._so_far.stopped) and not self._in_flight

    @property
    def _in_flight(self) -> int:
        return self._started - self._so_far.answered - self._so_far.failed

    def report(self) -> Report:
        """How far it is."""
        return replace(self._so_far, seconds=time.perf_counter() - self._begun)

    def look_through(self, questions: Questions) -> Iterator[Question]:
        """Count the questions, and see that they make sense, where they can be read more than once.

        Yields:
            Each, when that is seen.

        Raises:
            BatchError: they do not, or what was spent before is not known although there is a bound.
        """
        store, total, skipped = self._store, None, 0
        if self._most is not None and store.spent.unpriced:
            problem = _unknown("what was spent before")
            raise BatchError(f"{store.path}: {problem}: leave the bound out, or name another file")
        if are_at_hand(questions):
            total = 0
            for question in unique(questions):
                total += 1
                skipped += store.has(question)
                yield question
        self._so_far = Report(total, skipped, spent=store.spent, mended=store.mended)
        self._for_answers, self._begun = store.for_answers.at_least, time.perf_counter()

    async def to_ask(self, questions: Questions) -> AsyncGenerator[Question, None]:
        """The questions that have no answer yet, as long as there is no reason to stop."""
        counted = self._so_far.total is not None
        fetching = in_turns(each(questions)) if counted else as_they_come(unique(questions))
        async with aclosing(fetching) as fetched:
            async for question in fetched:
                if self._store.has(question):
                    self._skip(counted)
                    continue
                if self._so_far.stopped or not self._is_affordable():
                    return
                self._started += 1
                yield question
                if self._started == self._limit:
                    return

    def _skip(self, counted: bool) -> None:
        if not counted:
            self._so_far = replace(self._so_far, skipped=self._so_far.skipped + 1)

    def _is_affordable(self) -> bool:
        if self._most is None:
            return True
        spent, known = self._so_far.spent.at_least, self._store.rows + self._so_far.answered
        # of answers alone: a failure may have been free, and tells nothing of them
        average = self._for_answers / known if known else Decimal(0)
        if spent < self._most and spent + (self._in_flight + 1) * average <= self._most:
            return True
        self._stop(f"another question would not fit into {dollars(self._most)} any more")
        return False

    def take(self, answer: Answer) -> None:
        """Write an answer down, count it, tell who watches, and see whether to go on.

        Raises:
            OSError: it cannot be written.
        """
        self._store.add(answer)
        self._count(answer)
        try:
            self._watch(self.report())
        except Exception as error:  # noqa: BLE001 - what is in flight is paid for, so it comes first
            self.trouble = self.trouble or error
            self._stop(f"who watched it raised {error!r}")

    def _count(self, answer: Answer) -> None:
        now, good = self._so_far, answer.kind is None
        self._in_a_row = 0 if good else self._in_a_row + 1
        self._for_answers += answer.cost.at_least if good else 0
        self._so_far = replace(
            now,
            answered=now.answered + good,
            failed=now.failed + (not good),
            degraded=now.degraded + bool(good and answer.degraded),
            usage=now.usage + answer.usage,
            cost=now.cost + answer.cost,
            spent=now.spent + answer.cost,
        )
        if self._in_a_row == self._max_failures > 0:
            self._stop(f"{self._in_a_row} questions failed one after the other: {answer.error}")
        if self._most is not None and answer.cost.unpriced:
            problem = _unknown(f"what question {answer.question.id} took")
            self._stop(f"{problem}: give the models' prices, and name another file")

    def _stop(self, reason: str) -> None:
        if not self._so_far.stopped:
            self._so_far = replace(self._so_far, stopped=reason)


def _unknown(what: str) -> str:
    return f"{what} cannot be told in US dollars, so no cost can be kept to"
