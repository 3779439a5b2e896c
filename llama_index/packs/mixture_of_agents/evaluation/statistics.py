"""Intervals, tests and sample sizes. scipy and statsmodels do the mathematics; here they are chosen and called.

Clusters are groups of questions that are alike, such as those about the same text (arXiv 2411.00640). With them, an
interval treats each group as one observation.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeArgument=false

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

Array: TypeAlias = np.ndarray[Any, Any]
Bounds: TypeAlias = tuple[float, float]
LEVEL = 0.95
POWER = 0.8
RESAMPLES = 2_000
_AT_ONCE = 4_000_000
"""Drawn numbers that are in memory at once."""


def is_binary(scores: Array) -> bool:
    """Whether scores only say right or wrong."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def score_interval(scores: Array, clusters: Array | None = None) -> Bounds | None:
    """The 95 % interval of a mean score: Wilson's for right and wrong, else Student's t.

    Args:
        scores: One for each question.
        clusters: The group of each question.

    Returns:
        The interval; None where there are too few questions for one.
    """
    count = len(scores)
    if clusters is not None and len(np.unique(clusters)) < 2:
        return None
    if is_binary(scores) and count:
        return _wilson(scores, clusters)
    if count < 2:
        return None
    mean = float(scores.mean())
    error = standard_error(scores, clusters)
    if not error:
        return mean, mean
    groups = count if clusters is None else len(np.unique(clusters))
    low, high = stats.t.interval(LEVEL, groups - 1, mean, error)
    return float(low), float(high)


def _wilson(scores: Array, clusters: Array | None) -> Bounds:
    """Wilson's interval; for clusters with their effective number of questions and Student's t (Korn and Graubard)."""
    share, count, alpha = float(scores.mean()), float(len(scores)), 1 - LEVEL
    if clusters is not None:
        groups = len(np.unique(clusters))
        error = standard_error(scores, clusters)
        count = min(count, share * (1 - share) / error**2) if error else float(groups)
        quantile = stats.t.ppf((1 + LEVEL) / 2, groups - 1)
        alpha = 2 * float(stats.norm.sf(quantile))
    bounds: Any = proportion_confint(share * count, count, alpha, "wilson")
    return float(bounds[0]), float(bounds[1])


def exact_interval(right: int, count: int) -> Bounds:
    """The 95 % interval of a share by Clopper and Pearson, which never covers less than it says."""
    bounds: Any = proportion_confint(right, count, 1 - LEVEL, "beta")
    return float(bounds[0]), float(bounds[1])


def standard_error(values: Array, clusters: Array | None = None) -> float:
    """The standard error of a mean, robust to clusters."""
    if len(values) < 2 or not values.std():
        return 0.0
    if clusters is None:
        return float(stats.sem(values))
    return float(_fit(values, clusters).bse[0])


def _fit(values: Array, clusters: Array) -> Any:
    _, codes = np.unique(clusters, return_inverse=True)
    model = OLS(values, np.ones(len(values)))
    return model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)


def difference_interval(
    differences: Array,
    clusters: Array | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Bounds | None:
    """The 95 % interval of a mean difference by a paired bootstrap that draws whole clusters.

    The percentiles are widened for few observations (the "expanded percentile interval" of Hesterberg,
    arXiv 1411.5279, section 5.3).

    Args:
        differences: One for each question that both arms answered.
        clusters: The group of each question.
        seed: Makes the draws repeatable.
        resamples: How many means are drawn.
    """
    sums, sizes = _by_cluster(differences, clusters)
    groups = len(sums)
    if groups < 2:
        return None
    if not sums.std() and not sizes.std():
        return float(differences.mean()), float(differences.mean())
    wider = math.sqrt(groups / (groups - 1)) * float(stats.t.ppf((1 + LEVEL) / 2, groups - 1))
    drawn = stats.bootstrap(
        (sums, sizes), _ratio, paired=True, vectorized=True, n_resamples=resamples, method="percentile",
        confidence_level=1 - 2 * float(stats.norm.sf(wider)), batch=max(1, _AT_ONCE // groups),
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _ratio(sums: Array, sizes: Array, axis: int = -1) -> Array:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def _by_cluster(values: Array, clusters: Array | None) -> tuple[Array, Array]:
    if clusters is None:
        return values, np.ones(len(values))
    _, codes = np.unique(clusters, return_inverse=True)
    return np.bincount(codes, values), np.bincount(codes).astype(float)


def difference_test(
    differences: Array, clusters: Array | None = None, *, binary: bool = False
) -> float:
    """How likely a difference at least this large is without any (p): McNemar's exact test for right and wrong.

    With clusters, and for other scores, it is Student's t test, robust to clusters.
    """
    if not differences.any():
        return 1.0
    if binary and clusters is None:
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        tested: Any = mcnemar([[0, wins], [losses, 0]], exact=True)
        return float(tested.pvalue)
    error = standard_error(differences, clusters)
    if not error:
        return 0.0 if len(_by_cluster(differences, clusters)[0]) > 1 else 1.0
    groups = len(_by_cluster(differences, clusters)[0])
    return float(2 * stats.t.sf(abs(differences.mean()) / error, groups - 1)) if groups > 1 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, adjusted by Holm's method."""
    if not p_values:
        return []
    tested: Any = multipletests(p_values, method="holm")
    return [float(p) for p in tested[1]]


def detectable(differences: Array, clusters: Array | None = None) -> float | None:
    """The smallest true difference that this many questions would show in 80 % of evaluations."""
    spread = _spread(differences, clusters)
    if not spread:
        return None
    size = TTestPower().solve_power(nobs=len(differences), alpha=1 - LEVEL, power=POWER)
    return float(size) * spread


def needed(differences: Array, clusters: Array | None = None) -> int | None:
    """How many such questions would show the observed difference in 80 % of evaluations; None for no difference."""
    spread, mean = _spread(differences, clusters), abs(float(differences.mean()))
    if not spread or not mean:
        return None
    size = mean / spread
    if size < 1e-4:  # a hundred million questions and more
        return None
    return math.ceil(
        float(np.ravel(TTestPower().solve_power(size, alpha=1 - LEVEL, power=POWER))[0])
    )


def _spread(values: Array, clusters: Array | None) -> float:
    """The standard deviation that independent questions with the same standard error would have."""
    return standard_error(values, clusters) * math.sqrt(len(values)) if len(values) > 1 else 0.0


def correlation(one: Array, other: Array) -> float | None:
    """Pearson's correlation (phi for right and wrong); None where one of the two never changes."""
    if len(one) < 2 or not one.std() or not other.std():
        return None
    found: Any = stats.pearsonr(one, other)
    return float(found.statistic)
