"""How far judges agree, against values from the literature and from simulation."""

import numpy as np
import pytest

from llama_index.packs.mixture_of_agents.evaluation.agreement import (
    effective_votes,
    krippendorff_alpha,
    table_of,
)

NONE = np.nan
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)
"""Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section D: interval alpha is 0.849."""


def test_alpha_is_that_of_krippendorffs_own_example():
    assert krippendorff_alpha(PUBLISHED) == pytest.approx(0.849, abs=0.0005)


def test_alpha_is_one_for_full_agreement_and_about_zero_for_chance():
    assert krippendorff_alpha(np.array([[1.0, 2, 3], [1, 2, 3]])) == 1
    chance = np.random.default_rng(1).random((3, 5_000))
    assert krippendorff_alpha(chance) == pytest.approx(0, abs=0.02)


def test_without_two_judgments_of_one_thing_there_is_no_alpha():
    assert krippendorff_alpha(np.array([[1.0, NONE], [NONE, 2.0]])) is None
    assert krippendorff_alpha(np.array([[1.0, 1.0], [1.0, 1.0]])) is None


def test_nine_judges_that_think_alike_are_worth_two():
    chance = np.random.default_rng(2)
    shared = chance.normal(0, 1, 20_000)
    judges = [0.66 * shared + (1 - 0.66**2) ** 0.5 * chance.normal(0, 1, 20_000) for _ in range(9)]
    assert effective_votes(np.array(judges)) == pytest.approx(2, abs=0.1)


def test_what_a_judge_did_not_judge_is_missing():
    table = table_of([{"a": 1.0, "b": 2.0}, {"b": 3.0}])
    assert table[0].tolist() == [1, 2]
    assert np.isnan(table[1][0])
