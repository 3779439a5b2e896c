"""The course of a batch: its next question, its outcome so far, and when it stops."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from functools import partial

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents.errors import BatchError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.pricing import dollars

from .flow import as_they_come, in_turns
from .forecast import Forecast
from .input_files import Questions, are_at_hand, each, unique
from .outcomes import Answer, OpenBatch, Report
from .outlay import Outlay
from .purse import Purse
from .question import Question
from .store import Store


class Course:
    """Decides which question is next and when to stop, and counts the outcomes.

    Args:
        store: The batch's files, open.
        foresee: Returns the bounds of a question's cost. It is called only if there is a ``max_cost``.
        limit: Ask at most this many questions; None for all.
        max_cost: US dollars that the whole batch may cost; None for no bound.
        max_failures: Stop after this many failures in a row; 0 for never.
        watch: Called with a report after each question.
        purse: What all batches of an account spend together, if ``max_cost`` is for all of them.
        rounds: The requests of a question, round by round.

    Attributes:
        forecast: Says when the batch may end.
        trouble: The exception that ``watch`` raised, or None.
        batches: The open batches of providers, for reports.
        give_up: Called when failures or ``watch`` stop the batch, so that requests in flight end soon.
    """

    def __init__(
        self,
        store: Store,
        foresee: Callable[[Question], Outlay],
        limit: int | None,
        max_cost: float | None,
        max_failures: int,
        watch: Callable[[Report], None],
        purse: Purse | None = None,
        rounds: Sequence[int] = (1,),
    ) -> None:
        self.purse, self.forecast = purse, Forecast(rounds, limit)
        self.trouble: Exception | None = None
        self.batches: Callable[[], Sequence[OpenBatch]] = tuple
        self.give_up: Callable[[], None] = lambda: None
        self._store, self._limit, self._max_failures = store, limit, max_failures
        self._most = None if max_cost is None else Decimal(str(max_cost))
        self._foresee, self._watch, self._begun = foresee, watch, time.perf_counter()
        self._started, self._in_a_row, self._so_far = 0, 0, Report()
        self._reserved: dict[str, Decimal] = {}
        self._dearest = Decimal(0)
        self._ended = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the batch has stopped, and no question is in flight."""
        ended = self._so_far.answered + self._so_far.failed
        return bool(self._so_far.stopped) and self._started == ended

    def report(self) -> Report:
        """The outcome so far."""
        seconds = time.perf_counter() - self._begun
        now = replace(self._so_far, seconds=seconds, batches=tuple(self.batches()))
        left = self.forecast.seconds_left(now, self._started, time.time())
        return replace(now, seconds_left=left)

    def look_through(self, questions: Questions) -> Iterator[Question]:
        """Check and count the questions, if they can be read more than once.

        Yields:
            Each question, once it is checked.

        Raises:
            BatchError: A question is not valid; or there is a bound, and the cost so far is unknown.
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
        self._dearest, self._begun = store.dearest, time.perf_counter()

    async def to_ask(self, questions: Questions) -> AsyncGenerator[Question, None]:
        """Yield the questions without an answer, until there is a reason to stop."""
        counted = self._so_far.total is not None
        fetching = in_turns(each(questions)) if counted else as_they_come(unique(questions))
        async with aclosing(fetching) as fetched:
            async for question in fetched:
                if self._store.has(question):
                    self._skip(counted)
                    continue
                if self._so_far.stopped or not await self._affords(question):
                    return
                self._started += 1
                yield question
                if self._started == self._limit:
                    return

    def _skip(self, counted: bool) -> None:
        if not counted:
            self._so_far = replace(self._so_far, skipped=self._so_far.skipped + 1)

    async def _affords(self, question: Question) -> bool:
        """Wait until the budget has room for a question's cost, and reserve it. Stop if there will never be room."""
        if self._most is None:
            return True
        outlay = await in_thread(partial(self._foresee, question))
        while not self._so_far.stopped and await self._asks_others():
            # A question without an upper bound is reserved the cost of the dearest one so far.
            needed = max(outlay.least, self._dearest if outlay.most is None else outlay.most)
            # The first answer shows what a question costs, so until then only one is asked at a time.
            learns = outlay.most is None and not self._store.rows + self._so_far.answered
            others = self.purse.spent if self.purse else Decimal(0)
            spent = max(self._so_far.spent.at_least, others)
            left = self._most - spent - sum(self._reserved.values())
            if left >= needed and left > 0 and not (learns and self._reserved):
                self._reserved[question.id] = needed
                return True
            if not self._reserved:
                self._stop(_too_little(self._most, left, outlay, needed))
                break
            self._ended.clear()
            await self._ended.wait()  # a question in flight may cost less than its reservation
        return False

    async def _asks_others(self) -> bool:
        """Learn what all batches of the account have spent. Stop if that cannot be known."""
        if self.purse:
            try:
                await self.purse.pay()
            except LimiterUnavailable as error:
                self._stop(str(error))
        return not self._so_far.stopped

    def take(self, answer: Answer) -> None:
        """Write an answer to disk, count it, call ``watch``, and decide whether to go on.

        Raises:
            OSError: The answer cannot be written.
        """
        self._store.add(answer)
        self._count(answer)
        self._ended.set()
        self.notify()

    def notify(self) -> None:
        """Call ``watch``; if that raises, stop."""
        try:
            self._watch(self.report())
        except Exception as error:  # noqa: BLE001 - requests in flight are paid for, so they end first
            self.trouble = self.trouble or error
            self._stop(f"watch raised {error!r}")
            self.give_up()

    def _count(self, answer: Answer) -> None:
        now, good = self._so_far, answer.kind is None
        self._in_a_row = 0 if good else self._in_a_row + 1
        self._reserved.pop(answer.question.id, None)
        if self.purse:
            self.purse.owe(answer.cost.at_least)
        self._dearest = max(self._dearest, answer.cost.at_least)
        self._so_far = replace(
            now,
            answered=now.answered + good,
            failed=now.failed + (not good),
            degraded=now.degraded + bool(good and answer.degraded),
            usage=now.usage + answer.usage,
            cost=now.cost + answer.cost,
            spent=now.spent + answer.cost,
        )
        if answer.fatal:
            self._stop(answer.error)
            self.give_up()
        if self._in_a_row == self._max_failures > 0:
            self._stop(f"{self._in_a_row} questions failed one after the other: {answer.error}")
            self.give_up()
        if self._most is not None and answer.cost.unpriced:
            problem = _unknown(f"what question {answer.question.id} took")
            self._stop(f"{problem}: give the models' prices, and name another file")

    def _stop(self, reason: str) -> None:
        if not self._so_far.stopped:
            self._so_far = replace(self._so_far, stopped=reason)


def _too_little(bound: Decimal, left: Decimal, outlay: Outlay, needed: Decimal) -> str:
    if outlay.least > left:
        costs = f"costs at least {dollars(outlay.least)}"
    elif outlay.most is None:
        costs = f"may cost {dollars(needed)}, as the dearest so far"
    else:
        costs = f"may cost up to {dollars(needed)}"
    remaining = dollars(max(left, Decimal(0)))
    return f"the next question {costs}, and {remaining} of {dollars(bound)} is left"


def _unknown(amount: str) -> str:
    return f"{amount} cannot be told in US dollars, so no cost can be kept to"
