"""The progress of a batch, on standard error."""

import sys
import time
from decimal import Decimal
from itertools import islice
from typing import Any

from llama_index.packs.mixture_of_agents.batch import Report, read_questions
from llama_index.packs.mixture_of_agents.pricing import Cost, dollars
from llama_index.packs.mixture_of_agents.recipe import Recipe

from .command import say

_SAMPLE = 10
"""Questions from which the estimate for all is made."""


class Progress:
    """Prints what a batch begins with, then shows its progress in a terminal. A context manager.

    Args:
        questions: The file of the questions.
        recipe: What answers them.
        max_cost: US dollars that the batch may cost; None for no bound.

    Attributes:
        last: The last report; None before the batch has begun.
    """

    def __init__(self, questions: str, recipe: Recipe, max_cost: float | None = None) -> None:
        self.last: Report | None = None
        self._max_cost = max_cost
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
        if self._bar is not None:
            cost = "" if report.spent.unpriced else f", {report.spent}"
            told = f"{report.failed} failed{cost}{_of_batches(report)}"
            self._bar.set_postfix_str(told, refresh=False)
            self._bar.update(report.skipped + report.answered + report.failed - self._bar.n)

    def close(self) -> None:
        """End the progress bar, which stays on the screen."""
        if self._bar is not None:
            self._bar.close()

    def _begin(self, report: Report) -> None:
        if report.mended:
            say(f"An answer that was cut off ({report.mended} bytes) is gone; it is asked again.")
        if report.total is not None:
            say(f"{report.total:,} questions, {report.skipped:,} of them answered already.")
            if report.total > report.skipped:
                say(self._outlook(report.total - report.skipped, report.spent.at_least))
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=report.total, initial=report.skipped, unit="", dynamic_ncols=True
            )

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
        outlook = f"They cost {' to '.join(from_to) if all(bounds) else f'at least {from_to[0]}'}."
        if self._max_cost is None or (all(bounds) and spent + costs[1] <= self._max_cost):
            return outlook
        bound = f"--max-cost {dollars(Decimal(str(self._max_cost)))}"
        return f"{outlook} That may be more than {bound} allows: it stops before a question that may not fit."


def _of_batches(report: Report) -> str:
    """How far the open batches are, as their providers count, and the age of the oldest."""
    if not report.batches:
        return ""
    done = sum(batch.done for batch in report.batches)
    total = sum(batch.total for batch in report.batches)
    minutes = (time.time() - report.batches[0].begun) / 60
    count = len(report.batches)
    return f", {count} batches open: {done:,} of {total:,} requests done, for {minutes:.0f} min"
