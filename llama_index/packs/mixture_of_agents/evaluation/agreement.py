"""How far judges agree, and how many independent votes they are worth."""

from collections.abc import Mapping, Sequence

import numpy as np

from .ceiling import correlations_of, effective_number
from .statistics import Array


def krippendorff_alpha(table: Array) -> float | None:
    """Krippendorff's alpha for numbers (its interval metric): 1 for full agreement, 0 for what chance would give.

    Args:
        table: A row for each judge, a column for each thing judged; NaN where there is no value.

    Returns:
        Alpha; None where no two judges judged the same thing, or all values are equal.
    """
    counts = (~np.isnan(table)).sum(axis=0)
    paired = table[:, counts > 1]
    counts = counts[counts > 1]
    values = paired[~np.isnan(paired)]
    total = len(values)
    if not total or not values.std():
        return None
    # sums of squared differences of all pairs, from variances: 2 n^2 var
    within = 2 * counts**2 * np.nanvar(paired, axis=0) / (counts - 1)
    observed = float(within.sum()) / total
    expected = 2 * total**2 * float(values.var()) / (total * (total - 1))
    return 1 - observed / expected


def table_of(votes: Sequence[Mapping[str, float]]) -> Array:
    """A row for each judge, a column for each thing that any of them judged; NaN where one did not."""
    names = list(dict.fromkeys(name for vote in votes for name in vote))
    return np.array([[vote.get(name, np.nan) for name in names] for vote in votes], float)


def effective_votes(table: Array) -> float:
    """How many independent judges these are worth, by the correlation of their values (Kish's design effect)."""
    return effective_number(correlations_of(table))
