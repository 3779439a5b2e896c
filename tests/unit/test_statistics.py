"""Intervals and tests against simulated evaluations whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from llama_index.packs.mixture_of_agents.evaluation.statistics import (
    correlation,
    detectable,
    difference_interval,
    difference_test,
    exact_interval,
    holm,
    is_binary,
    needed,
    score_interval,
    standard_error,
)

pytestmark = pytest.mark.slow

EVALUATIONS = 1_000
QUESTIONS = 200
GROUPS = 50


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


def right_or_wrong(chance, share, groups, size):
    """Right and wrong with that share of right ones, where questions of a group are alike (a beta-binomial)."""
    a, b = share * 4, (1 - share) * 4
    rates = chance.beta(a, b, (EVALUATIONS, groups)).repeat(size, axis=1)
    return (chance.random(rates.shape) < rates).astype(float)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_wilsons_interval_covers_the_truth_as_often_as_it_says(share):
    chance = np.random.default_rng(1)
    scores = (chance.random((EVALUATIONS, QUESTIONS)) < share).astype(float)
    assert 0.935 <= coverage([score_interval(row) for row in scores], share) <= 0.965


def test_students_interval_covers_the_truth_as_often_as_it_says():
    chance = np.random.default_rng(2)
    scores = chance.beta(2, 5, (EVALUATIONS, QUESTIONS))
    assert 0.935 <= coverage([score_interval(row) for row in scores], 2 / 7) <= 0.965


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_the_interval_of_clustered_scores_covers_the_truth_as_often_as_it_says(share):
    clusters = np.arange(GROUPS).repeat(4)
    scores = right_or_wrong(np.random.default_rng(3), share, GROUPS, 4)
    assert 0.935 <= coverage([score_interval(row, clusters) for row in scores], share) <= 0.965
    assert coverage([score_interval(row) for row in scores], share) < 0.92


def test_the_interval_of_clustered_grades_covers_the_truth_as_often_as_it_says():
    chance, clusters = np.random.default_rng(4), np.arange(GROUPS).repeat(4)
    shared = chance.normal(0, 1, (EVALUATIONS, GROUPS)).repeat(4, axis=1)
    scores = shared + chance.normal(0, 1, shared.shape)
    assert 0.935 <= coverage([score_interval(row, clusters) for row in scores], 0) <= 0.965


@pytest.mark.parametrize("clustered", [False, True])
def test_the_bootstraps_interval_covers_the_true_difference_as_often_as_it_says(clustered):
    chance = np.random.default_rng(5)
    clusters = np.arange(GROUPS).repeat(4)
    shared = chance.normal(0, 0.5, (EVALUATIONS, GROUPS)).repeat(4, axis=1) if clustered else 0
    latent = chance.normal(0, 1, (EVALUATIONS, QUESTIONS))  # what makes both arms right or wrong
    one = latent + shared + chance.normal(0, 1, latent.shape) > -0.6
    other = latent + chance.normal(0, 1, latent.shape) > -0.3
    truth = stats.norm.sf(-0.6 / np.sqrt(2.25 if clustered else 2)) - stats.norm.sf(
        -0.3 / np.sqrt(2)
    )
    differences = one.astype(float) - other
    labels = clusters if clustered else None
    intervals = [difference_interval(row, labels, n, 500) for n, row in enumerate(differences)]
    assert 0.935 <= coverage(intervals, truth) <= 0.965


def test_a_mixture_without_a_gain_is_called_better_in_at_most_5_percent_of_evaluations():
    chance = np.random.default_rng(6)
    latent = chance.normal(0, 1, (EVALUATIONS, QUESTIONS))
    one, other = (latent + chance.normal(0, 1, latent.shape) > -0.5 for _ in range(2))
    called = 0
    for row in one.astype(float) - other:
        if difference_test(row, binary=True) < 0.05:
            low, high = difference_interval(row) or (0, 0)
            called += low > 0 or high < 0
    assert called / EVALUATIONS <= 0.05


def test_the_smallest_difference_that_can_be_shown_is_right_to_a_tenth():
    chance = np.random.default_rng(7)
    spread = 0.6
    promised = detectable(chance.normal(0, spread, 20_000)[:QUESTIONS])
    assert promised == pytest.approx(detectable(chance.normal(0, spread, QUESTIONS)), rel=0.15)

    def power(gain):
        rows = chance.normal(gain, spread, (2_000, QUESTIONS))
        return np.mean([difference_test(row) < 0.05 for row in rows])

    exact = detectable(chance.normal(0, spread, 1_000_000)) * np.sqrt(1_000_000 / QUESTIONS)
    assert power(exact * 0.9) < 0.8 < power(exact * 1.1)


def test_as_many_questions_as_are_said_to_be_needed_show_the_difference():
    chance = np.random.default_rng(8)
    values = chance.normal(0.1, 1, 100_000)
    values += 0.1 - values.mean()
    count = needed(values) or 0
    assert count == pytest.approx(787, rel=0.02)  # (1.96 + 0.84)^2 / 0.1^2, and a little for t
    rows = chance.normal(0.1, 1, (2_000, count))
    assert np.mean([difference_test(row) < 0.05 for row in rows]) == pytest.approx(0.8, abs=0.04)


def test_the_exact_interval_never_covers_less_than_it_says():
    chance = np.random.default_rng(9)
    wrong = chance.binomial(QUESTIONS, 0.06, EVALUATIONS)
    intervals = {count: exact_interval(int(count), QUESTIONS) for count in set(wrong)}
    assert coverage([intervals[count] for count in wrong], 0.06) >= 0.95
    assert exact_interval(0, 10)[0] == 0
    assert exact_interval(10, 10)[1] == 1


def test_mcnemars_test_counts_the_questions_on_which_two_arms_differ():
    differences = np.array([1.0] * 9 + [-1.0] + [0.0] * 90)
    assert difference_test(differences, binary=True) == pytest.approx(
        stats.binomtest(1, 10).pvalue, rel=1e-9
    )
    assert difference_test(np.zeros(10), binary=True) == 1


def test_holms_method_multiplies_the_smallest_p_by_the_number_of_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_too_few_questions_have_no_interval():
    assert score_interval(np.array([0.5])) is None
    assert score_interval(np.array([])) is None
    assert difference_interval(np.array([1.0])) is None
    assert score_interval(np.array([1.0, 0.0]), np.array(["a", "a"])) is None
    assert score_interval(np.array([0.5, 0.5])) == (0.5, 0.5)
    assert difference_interval(np.array([0.0, 0.0])) == (0, 0)
    assert detectable(np.array([0.0, 0.0])) is None
    assert needed(np.array([1.0, -1.0])) is None


def test_one_cluster_for_each_question_is_no_clustering():
    values = np.random.default_rng(10).normal(0, 1, 100)
    assert standard_error(values, np.arange(100)) == pytest.approx(standard_error(values))


def test_scores_are_right_or_wrong_only_where_all_are():
    assert is_binary(np.array([0.0, 1.0, 1.0]))
    assert not is_binary(np.array([0.0, 0.5]))


def test_what_never_changes_has_no_correlation():
    assert correlation(np.ones(5), np.arange(5.0)) is None
    assert correlation(np.arange(5.0), np.arange(5.0)) == pytest.approx(1)
