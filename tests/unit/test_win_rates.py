"""Length-controlled win rates, against alpaca-eval's own numbers and against simulated judges."""

import sys

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from llama_index.packs.mixture_of_agents.evaluation.win_rates import (
    length_controlled,
    length_controlled_interval,
)

pytestmark = pytest.mark.slow

# The numbers are from a newer scikit-learn than 1.7, the last for Python 3.10, which chooses another strength.
EXACT = 1e-4 if sys.version_info >= (3, 11) else 3e-3


def judged(seed, count, bias, discrete):
    """Outcomes of a judge that prefers longer answers, the lengths, and a difficulty."""
    chance = np.random.default_rng(seed)
    mine = chance.integers(200, 2000, count).astype(float)
    theirs = chance.integers(100, 1500, count).astype(float)
    difference = mine - theirs
    p = 1 / (1 + np.exp(-(0.3 + bias * np.tanh(difference / difference.std()))))
    if discrete:
        outcomes = (chance.random(count) < p).astype(float)
        outcomes[chance.random(count) < 0.1] = 0.5
    else:
        outcomes = np.clip(p + chance.normal(0, 0.2, count), 0, 1)
    return outcomes, mine, theirs, chance.normal(0, 1, count)


@pytest.mark.parametrize(
    ("case", "minimal", "with_difficulty"),
    [
        ((1, 805, 1.0, True), 0.5714217380198419, 0.5691857526714803),
        ((2, 805, 0.2, False), 0.5646720026685407, 0.563047524938202),
        ((3, 120, 2.0, True), 0.5, 0.5),
        ((4, 60, 0.0, False), 0.5664309453660785, 0.5655978313137737),
    ],
)
def test_the_rate_is_that_of_alpaca_eval_0_6_6(case, minimal, with_difficulty):
    # Its own fit_LogisticRegressionCV and formulas ("length_controlled_minimal", "length_controlled_noreg") on this.
    outcomes, mine, theirs, difficulty = judged(*case)
    assert length_controlled(outcomes, mine, theirs) == pytest.approx(minimal, abs=EXACT)
    known = length_controlled(outcomes, mine, theirs, difficulty)
    assert known == pytest.approx(with_difficulty, abs=EXACT)


def test_a_judge_that_prefers_longer_answers_is_corrected_for():
    chance = np.random.default_rng(5)
    theirs = chance.integers(300, 1200, 800).astype(float)
    mine = theirs + chance.normal(400, 400, 800)  # as good, and longer
    longer = np.tanh((mine - theirs) / (mine - theirs).std())
    outcomes = (chance.random(800) < 1 / (1 + np.exp(-1.5 * longer))).astype(float)
    assert outcomes.mean() > 0.65
    low, high = length_controlled_interval(outcomes, mine, theirs) or (0, 0)
    assert low < 0.5 < high
    assert length_controlled(outcomes, mine, theirs) == pytest.approx(0.5, abs=0.06)


def test_the_interval_counts_the_regressions_own_uncertainty():
    outcomes, mine, theirs, _ = judged(1, 805, 1.0, True)
    low, high = length_controlled_interval(outcomes, mine, theirs) or (0, 0)
    assert low < (length_controlled(outcomes, mine, theirs) or 0) < high
    assert 0.05 < high - low < 0.1
    groups = np.arange(805) // 5
    assert length_controlled_interval(outcomes, mine, theirs, clusters=groups) is not None


SPREAD = 400  # of the lengths of each arm's answers
KINDS = ["right or wrong", "graded", "in groups"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "bias", "level"), [(60, 2.0, 0.0), (200, 1.5, 1.2)])
def test_the_interval_covers_the_rate_at_equal_lengths_as_often_as_it_says(
    kind: str, count: int, bias: float, level: float
):
    chance = np.random.default_rng(7)
    groups = np.arange(count) // 4 if kind == "in groups" else None
    covered = 0
    for _ in range(1_000):
        mine, theirs = chance.normal(1200, SPREAD, count), chance.normal(1000, SPREAD, count)
        p = expit(level + bias * np.tanh((mine - theirs) / np.hypot(SPREAD, SPREAD)))
        latent = chance.normal(0, 1, count)
        if groups is not None:  # what makes both answers to questions of a group win or lose
            latent = np.sqrt(0.5) * (latent + chance.normal(0, 1, count // 4).repeat(4))
        won = stats.norm.cdf(latent) < p
        outcomes = chance.beta(4 * p, 4 * (1 - p)) if kind == "graded" else won.astype(float)
        low, high = length_controlled_interval(outcomes, mine, theirs, clusters=groups) or (2, 2)
        covered += low <= expit(level) <= high
    assert 935 <= covered <= 965


@pytest.mark.parametrize("longest_that_loses", [19.5, 20.5, 49, 90])
def test_lengths_that_tell_all_wins_from_all_losses_leave_no_interval(longest_that_loses: float):
    lengths = np.arange(100.0)
    outcomes = (lengths > longest_that_loses).astype(float)
    assert length_controlled_interval(outcomes, lengths, np.full(100, 20.0)) is None


def test_too_few_questions_or_equal_lengths_have_no_controlled_rate():
    few = np.ones(5)
    assert length_controlled(few, few, few) is None
    same = np.ones(100)
    outcomes = np.arange(100) % 2.0
    assert length_controlled(outcomes, same, same) is None
    assert length_controlled_interval(outcomes, same, same) is None
    assert length_controlled_interval(same, np.arange(100.0), same) is None
