"""Win rates of one arm against another, raw and with the effect of length taken out as AlpacaEval 2 does it.

AlpacaEval 2 (arXiv 2404.04475) fits a logistic regression of the preference on tanh of the standardised difference of
lengths (and optionally the difficulty of the instruction), and predicts the preference at no difference. Its regression
is fitted here in the same way: liblinear, L1, the strength chosen by five folds over ten values.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from inspect import signature
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from scipy import stats
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from .statistics import LEVEL, Array, Bounds

_STRENGTHS = np.logspace(-4, 4, 10)
_FOLDS = 5


def length_controlled(
    outcomes: Array, lengths: Array, other_lengths: Array, difficulty: Array | None = None
) -> float | None:
    """The win rate that equally long answers would have, by AlpacaEval 2's regression.

    Args:
        outcomes: For each question how far the arm wins, from 0 to 1.
        lengths: The lengths of its answers, in characters.
        other_lengths: The lengths of the other arm's answers.
        difficulty: How difficult each question is, where that is known.

    Returns:
        The win rate; None where there are too few questions, or all answers differ by the same length.
    """
    if len(outcomes) < 2 * _FOLDS:
        return None
    features = _features(lengths, other_lengths, difficulty)
    if features is None:
        return None
    model = _fitted(features, outcomes)
    level = features.copy()
    level[:, 0] = 0.0
    return float(model.predict_proba(level)[:, 1].mean())


def _features(
    lengths: Array, other_lengths: Array, difficulty: Array | None = None
) -> Array | None:
    """Tanh of the standardised difference, the difficulty, and a constant."""
    difference = other_lengths - lengths
    spread = float(difference.std(ddof=1))
    if not spread:
        return None
    columns = [np.tanh(difference / spread), np.ones(len(lengths))]
    if difficulty is not None:
        columns.insert(1, difficulty)
    return np.column_stack(columns)


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    # the parameter's name for L1 has changed: "penalty" until scikit-learn 1.7
    old = signature(LogisticRegression).parameters["penalty"].default == "l2"
    lasso: dict[str, Any] = {"penalty": "l1"} if old else {"l1_ratio": 1.0}
    return LogisticRegression(
        C=strength, solver="liblinear", fit_intercept=False, random_state=123, **lasso
    )


def _fitted(features: Array, outcomes: Array) -> Any:
    """The regression with the strength that predicts best. Each question stands twice, won and lost, by its weight."""
    from sklearn.model_selection import GroupKFold

    count = len(outcomes)
    doubled = np.vstack([features, features])
    won = np.repeat([1, 0], count)
    weights = np.concatenate([outcomes, 1 - outcomes])
    groups = np.tile(np.arange(count), 2)
    folds = list(GroupKFold(_FOLDS).split(doubled, won, groups))
    losses = [
        [
            _loss(
                _fit(strength, doubled[a], won[a], weights[a]), doubled[b], np.tile(outcomes, 2)[b]
            )
            for a, b in folds
        ]
        for strength in _STRENGTHS
    ]
    best = _STRENGTHS[int(np.argmin(np.mean(losses, axis=1)))]
    return _fit(best, doubled, won, weights)


def _fit(strength: float, features: Array, won: Array, weights: Array) -> Any:
    return _regression(strength).fit(features, won, sample_weight=weights)


def _loss(model: Any, features: Array, outcomes: Array) -> float:
    predicted = np.clip(model.predict_proba(features)[:, 1], 1e-15, 1 - 1e-15)
    return -float(np.mean(outcomes * np.log(predicted) + (1 - outcomes) * np.log(1 - predicted)))


def length_controlled_interval(
    outcomes: Array,
    lengths: Array,
    other_lengths: Array,
    clusters: Array | None = None,
) -> Bounds | None:
    """The 95 % interval of the length-controlled win rate, which counts the regression's own uncertainty.

    The regression has no penalty here. Its standard error is robust, and counts each cluster as one observation.

    Args:
        outcomes: As for ``length_controlled``.
        lengths: As for ``length_controlled``.
        other_lengths: As for ``length_controlled``.
        clusters: The group of each question.

    Returns:
        The interval; None where ``length_controlled`` is None, or the lengths tell all wins from all losses.
    """
    features = _features(lengths, other_lengths)
    if features is None or len(outcomes) < 2 * _FOLDS or not outcomes.std():
        return None
    labels = np.arange(len(outcomes)) if clusters is None else clusters
    _, codes = np.unique(labels, return_inverse=True)
    groups = int(codes.max()) + 1
    if groups < 2:
        return None
    model = GLM(outcomes, features, family=Binomial())
    try:
        with catch_warnings():
            # Numbers overflow before a separation is found.
            simplefilter("ignore", RuntimeWarning)
            simplefilter("error", PerfectSeparationWarning)
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": codes})
    except PerfectSeparationWarning:
        return None
    # at no difference of length, only the constant is left
    low, high = expit(stats.t.interval(LEVEL, groups - 1, fit.params[-1], fit.bse[-1]))
    return float(low), float(high)
