"""The progress of a batch, on standard error."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

from llama_index.packs.mixture_of_agents.batch import Report, read_questions
from llama_index.packs.mixture_of_agents.batch.outcomes import OpenBatch
from llama_index.packs.mixture_of_agents.pricing import Cost, dollars
from llama_index.packs.mixture_of_agents.recipe import Recipe

from .command import say

_SAMPLE = 10
"""Questions from which the estimate for all is made."""
_PAUSE = 60.0
"""Seconds between two lines where there is no terminal."""
_FAR = 3.2e7
"""Seconds, a year: an end that is later is not known."""


class Progress:
    """Prints what a batch begins with, then shows its progress: a bar in a terminal, else a line a minute.

    It is a context manager.

    Args:
        questions: The file of the questions.
        recipe: What answers them.
        max_cost: US dollars that the batch may cost; None for no bound.
        clock: Returns seconds that only increase.
        now: Returns the time.

    Attributes:
        last: The last report; None before the batch has begun.
    """

    def __init__(
        self,
        questions: str,
        recipe: Recipe,
        max_cost: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.last: Report | None = None
        self._max_cost, self._clock, self._now = max_cost, clock, now
        self._told = clock()
        self._questions, self._recipe = questions, recipe
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, report: Report) -> None:
        """Show a report.

        Args:
            report: How far the batch is.
        """
        if self.last is None:
            self._begin(report)
        self.last = report
        done = report.skipped + report.answered + report.failed
        if self._bar is not None:
            self._bar.set_postfix_str(self._words(report), refresh=False)
            self._bar.update(done - self._bar.n)
        elif (seconds := self._clock()) - self._told >= _PAUSE:
            self._told = seconds
            total = "" if report.total is None else f" of {report.total:,}"
            say(f"{done:,}{total} questions done, {self._words(report)}")

    def close(self) -> None:
        """End the progress bar, which stays on the screen."""
        if self._bar is not None:
            self._bar.close()

    def _begin(self, report: Report) -> None:
        if report.mended:
            say(f"An answer that was cut off ({report.mended} bytes) is gone; it is asked again.")
        if report.total is not None:
            questions = "1 question" if report.total == 1 else f"{report.total:,} questions"
            say(f"{questions}, {report.skipped:,} of them answered already.")
            if report.total > report.skipped:
                say(self._outlook(report.total - report.skipped, report.spent.at_least))
        if sys.stderr.isatty():
            from tqdm import tqdm

            layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
            self._bar = tqdm(
                total=report.total, initial=report.skipped, bar_format=layout, dynamic_ncols=True
            )

    def _words(self, report: Report) -> str:
        """Failures, money, open batches and the expected end."""
        now = self._now()
        parts = [
            f"{report.failed:,} failed",
            "" if report.spent.unpriced else str(report.spent),
            _of_batches(report.batches, now),
            end_words(report.seconds_left, now),
        ]
        return ", ".join(filter(None, parts))

    def _outlook(self, left: int, spent: Decimal) -> str:
        """Estimate what the remaining questions will cost, from the file's first ones, and whether the bound allows that."""
        some = list(islice(read_questions(self._questions), _SAMPLE))
        estimates = [self._recipe.estimate(one.conversation()) for one in some]
        least = sum((one.least_cost for one in estimates), Cost())
        if least.unpriced:
            return f"What they cost is {Cost(unpriced=least.unpriced)}."
        bounds = [one.most_cost for one in estimates]
        most = sum((bound.at_least for bound in bounds if bound), Decimal(0))
        costs = [cost / len(some) * left for cost in (least.at_least, most)]
        from_to = [dollars(cost) for cost in costs]
        outlook = (
            f"They will cost {' to '.join(from_to) if all(bounds) else f'at least {from_to[0]}'}."
        )
        if self._max_cost is None or (all(bounds) and spent + costs[1] <= self._max_cost):
            return outlook
        bound = f"--max-cost {dollars(Decimal(str(self._max_cost)))}"
        return f"{outlook} That may be more than {bound} allows: it stops before a question that may not fit."


def end_words(seconds: float | None, now: datetime) -> str:
    """When a batch may end.

    Args:
        seconds: In how many seconds; None if that is not known.
        now: The time.

    Returns:
        A few words with the time of day, and the date if it is another day; "" if there is nothing to say.
    """
    if not seconds or seconds > _FAR:
        return ""
    end = now + timedelta(seconds=seconds)
    day = "" if end.date() == now.date() else f"{end.day} {end:%b} "
    return f"ends about {day}{end:%H:%M}"


def _of_batches(batches: Sequence[OpenBatch], now: datetime) -> str:
    """How far the open batches of each model are, as their providers count, and the age of the oldest."""
    found: list[str] = []
    for model, some in groupby(sorted(batches, key=attrgetter("model")), attrgetter("model")):
        own = list(some)
        done, total = sum(one.done for one in own), sum(one.total for one in own)
        age = _duration(now.timestamp() - min(one.begun for one in own))
        several = f" ({len(own)} batches)" if len(own) > 1 else ""
        requests = "" if found else " requests done"
        found.append(f"{model} {done:,} of {total:,}{requests} in {age}{several}")
    return f"batches open: {', '.join(found)}" if found else ""


def _duration(seconds: float) -> str:
    hours, minutes = divmod(
        round(max(0.0, seconds) / 60), 60
    )  # another machine's clock may be ahead
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
