"""What members can reach together, on scores whose truth is known."""

from typing import Any

import numpy as np
import pytest

from llama_index.packs.mixture_of_agents.evaluation import ceiling as room


def ceiling_of(scores) -> Any:
    return room.ceiling_of(scores)


def aggregation_of(answers, score) -> Any:
    return room.aggregation_of(answers, score)


def test_where_all_members_are_wrong_no_choice_among_their_answers_is_right():
    scores = {
        "a": np.array([1.0, 1, 0, 0, 0]),
        "b": np.array([0.0, 1, 1, 0, 0]),
        "c": np.array([0.0, 1, 0, 0, 0]),
    }
    ceiling = ceiling_of(scores)
    assert (ceiling.beta, ceiling.oracle, ceiling.best, ceiling.best_score) == (0.4, 0.6, "a", 0.4)
    assert ceiling.beta_low < 0.4 < ceiling.beta_high
    assert ceiling.room == pytest.approx(0.2)
    assert ceiling.worth == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.0})


def test_the_bound_of_beta_holds_in_simulated_evaluations():
    chance, covered = np.random.default_rng(1), 0
    for _ in range(400):
        hard = chance.random(200) < 0.2
        members = {name: ((chance.random(200) < 0.6) & ~hard).astype(float) for name in "ab"}
        ceiling = ceiling_of(members)
        covered += ceiling.beta_low <= 0.2 + 0.8 * 0.16 <= ceiling.beta_high
    assert covered / 400 >= 0.95


def test_equal_members_are_worth_one_and_independent_ones_all():
    chance = np.random.default_rng(2)
    same = (chance.random(5_000) < 0.5).astype(float)
    assert ceiling_of(dict.fromkeys("abc", same)).effective == pytest.approx(1)
    independent = {name: (chance.random(5_000) < 0.5).astype(float) for name in "abc"}
    assert ceiling_of(independent).effective == pytest.approx(3, abs=0.1)


def test_the_effective_number_follows_the_correlation_that_the_simulation_sets():
    chance = np.random.default_rng(3)
    shared = chance.random(20_000) < 0.5
    members = {}
    for name in "abcde":
        copied = (
            chance.random(20_000) < 0.5**0.5
        )  # two members agree by copying with probability 1/2
        members[name] = np.where(copied, shared, chance.random(20_000) < 0.5).astype(float)
    ceiling = ceiling_of(members)
    assert ceiling.correlations[0][1] == pytest.approx(0.5, abs=0.03)
    assert ceiling.effective == pytest.approx(5 / 3, abs=0.05)


def test_grades_have_an_oracle_and_no_beta():
    ceiling = ceiling_of({"a": np.array([0.2, 0.9]), "b": np.array([0.5, 0.3])})
    assert ceiling.oracle == pytest.approx(0.7)
    assert ceiling.beta is None


def test_a_member_that_never_errs_has_no_correlation():
    ceiling = ceiling_of({"a": np.ones(3), "b": np.array([1.0, 0, 1])})
    assert ceiling.correlations[0][1] is None
    assert ceiling.effective == 2


def test_without_members_or_questions_there_is_no_ceiling():
    assert ceiling_of({}) is None
    assert ceiling_of({"a": np.array([])}) is None


def proposals(*layers):
    return [{"layer": n, "text": text} for n, texts in enumerate(layers, 1) for text in texts]


def test_an_aggregator_loses_right_proposals_and_gains_where_there_was_none():
    answers = [
        (1.0, proposals(["x", "right"])),
        (0.0, proposals(["x", "right"])),
        (1.0, proposals(["x", "x"])),
        (0.0, proposals(["x", "x"])),
    ]
    made = aggregation_of(answers, lambda _, text: float(text == "right"))
    assert (made.had_right, made.lost, made.had_none, made.gained) == (2, 1, 2, 1)
    assert made.layers == (0.25, 0.5)


def test_the_aggregator_is_judged_by_the_last_layer_that_it_read():
    answers = [(0.0, proposals(["right", "x"], ["x", "x"]))]
    made = aggregation_of(answers, lambda _, text: float(text == "right"))
    assert (made.had_right, made.had_none) == (0, 1)
    assert made.layers == (0.5, 0.0, 0.0)


def test_grades_say_nothing_of_right_and_wrong():
    assert aggregation_of([(0.5, proposals(["x"]))], lambda *_: 0.3) is None
    assert aggregation_of([], lambda *_: 1.0) is None
