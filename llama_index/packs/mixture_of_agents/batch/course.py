"""The course of a batch: what is asked next, what has come of it, and whether to go on."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.pricing import dollars

from .answered import Answer
from .ids import Ids
from .question import Question
from .reading import STDIN, Questions, each
from .report import Report
from .store import Store


class Course:
    """What is asked next, what has come of it, and whether to go on."""

    def __init__(
        self, store: Store, limit: int | None, max_cost: float | None, max_failures: int
    ) -> None:
        self._store, self._limit, self._max_failures = store, limit, max_failures
        self._most = None if max_cost is None else Decimal(str(max_cost))
        self._begun, self._started, self._in_a_row = time.perf_counter(), 0, 0
        self._checked, self._so_far = False, Report()

    @property
    def must_learn_cost(self) -> bool:
        """Whether there is a bound, and no answer yet that tells what a question costs."""
        return self._most is not None and not self._store.rows + self._so_far.answered

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
            raise BatchError(f"{store.path}: {_unknown('what was spent before')}")
        by_path = isinstance(questions, (str, Path))
        self._checked = Path(questions) != STDIN if by_path else isinstance(questions, Sequence)
        if self._checked:
            total = 0
            for question in _unique(each(questions)):
                total += 1
                skipped += store.has(question)
                yield question
        self._so_far = Report(total, skipped, spent=store.spent, mended=store.mended)
        self._begun = time.perf_counter()

    def to_ask(self, questions: Questions) -> Iterator[Question]:
        """The questions that have no answer yet, as long as there is no reason to stop."""
        for question in islice(self._unanswered(questions), self._limit):
            if self._so_far.stopped or not self._is_affordable():
                return
            self._started += 1
            yield question

    def _unanswered(self, questions: Questions) -> Iterator[Question]:
        read = each(questions)
        for question in read if self._checked else _unique(read):
            if not self._store.has(question):
                yield question
            elif not self._checked:
                self._so_far = replace(self._so_far, skipped=self._so_far.skipped + 1)

    def _is_affordable(self) -> bool:
        if self._most is None:
            return True
        now = self._so_far
        ended = now.answered + now.failed
        known = self._store.rows + ended
        average = now.spent.at_least / known if known else Decimal(0)
        expected = now.spent.at_least + (self._started - ended + 1) * average
        if now.spent.at_least < self._most and expected <= self._most:
            return True
        self._stop(f"another question would not fit into {dollars(self._most)} any more")
        return False

    def take(self, answer: Answer) -> None:
        """Write an answer down, count it, and see whether to go on.

        Raises:
            OSError: it cannot be written.
        """
        self._store.add(answer)
        now, good = self._so_far, answer.kind is None
        self._in_a_row = 0 if good else self._in_a_row + 1
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
            self._stop(_unknown(f"what question {answer.question.id} took"))

    def _stop(self, reason: str) -> None:
        if not self._so_far.stopped:
            self._so_far = replace(self._so_far, stopped=reason)


def _unknown(what: str) -> str:
    return (
        f"{what} cannot be told in US dollars, so no cost can be kept to: give the models' prices"
    )


def _unique(questions: Iterable[Question]) -> Iterator[Question]:
    """The same questions.

    Raises:
        BatchError: two of them have the same id.
    """
    ids = Ids()
    try:
        for number, question in enumerate(questions, 1):
            if not ids.add(question.id, number):
                both = f"question {ids.get(question.id)} and question {number}"
                raise BatchError(f"{both} have the same id, {question.id!r}; give each its own")
            yield question
    finally:
        ids.close()
