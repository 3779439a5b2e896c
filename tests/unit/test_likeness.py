"""When answers say the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index.packs.mixture_of_agents.selection._likeness import (
    groups,
    most_diverse,
    normalised,
    overlap,
    overlaps,
    same_answers,
)


@pytest.mark.parametrize(
    "same",
    [
        ["42", "The answer is 42.", "So **Answer: 42**", "#### 42", r"\boxed{42}", "42.0", "+42"],
        ["1000", "$1,000.00", "It sums up.\nFinal answer: 1,000"],
        ["Paris", "paris.", "the Paris", "The answer is: Paris. It lies on the Seine."],
        ["x = -2", "Answer: x=-2"],
        ["0", "-0"],
    ],
)
def test_answers_that_mean_the_same_compare_equal(same):
    assert len({normalised(text) for text in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("42", "-42"), ("x < 3", "x > 3"), ("1/2", "12"), ("1e400", "1e500"), ("A", "B"), ("?", "!")],
)
def test_answers_that_differ_do_not(one, other):
    assert normalised(one) != normalised(other)


def test_the_last_mark_in_a_text_counts():
    assert normalised("Answer: 3? No.\nAnswer: 4") == "4"


@given(st.text())
def test_any_text_can_be_normalised(text):
    assert normalised(text) == normalised(text)


def test_overlap_is_the_share_of_words_in_common():
    assert overlap("the cat sat", "The cat ran") == 0.5
    assert overlap("one", "two") == 0
    assert overlap("", "") == 1


def test_groups_come_largest_first_and_equals_in_order():
    assert same_answers(["1", "2", "The answer is 2", "3"]) == [[1, 2], [0], [3]]
    assert groups(3, lambda *_: False) == [[0], [1], [2]]
    assert groups(0, lambda *_: True) == []


def test_a_group_takes_only_what_is_the_same_as_all_its_members():
    near = {(0, 1), (1, 2)}
    assert groups(3, lambda one, other: (min(one, other), max(one, other)) in near) == [[0, 1], [2]]


def test_the_most_diverse_are_chosen_greedily_from_the_least_alike():
    texts = ["red red apple", "red apple", "green pear", "green pear tree", "a blue bus"]
    assert most_diverse(overlaps(texts), 3) == [4, 0, 2]
    assert most_diverse(overlaps(texts), 9) == [0, 1, 2, 3, 4]
    assert most_diverse([], 2) == []
