"""Judgments of public scorers, and the statistics that are put on them."""

import pytest
from row_files import written

from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.evaluation import read_judgments, win_rates_of
from llama_index.packs.mixture_of_agents.evaluation.battles import is_judgments, report_of


@pytest.fixture
def file(tmp_path):
    return lambda records, name="judgments.jsonl": written(tmp_path / name, records)


def annotation(preference, output="mine"):
    return {
        "instruction": "Why?", "output_1": "theirs", "generator_1": "baseline", "output_2": output,
        "generator_2": "moa", "annotator": "judge", "preference": preference,
    }  # fmt: skip


def test_alpaca_evals_preferences_run_from_1_to_2_and_0_was_a_tie(file):
    preferences = [1.0, 2.0, 1.25, 0, None, float("nan")]
    read = read_judgments(file([annotation(one) for one in preferences], "annotations.json"))
    assert [one.outcome for one in read] == [0, 1, 0.25, 0.5, None, None]
    assert {(one.first, one.second, one.length, one.other_length) for one in read} == {
        ("moa", "baseline", 4, 6)
    }


def test_alpaca_evals_annotations_have_a_length_controlled_win_rate(file):
    records = [annotation(1 + n % 2, "x" * (5 + n % 7)) for n in range(40)]
    (rate,) = win_rates_of(read_judgments(file(records, "annotations.json")))
    assert (rate.first, rate.second, rate.questions, rate.rate) == ("moa", "baseline", 40, 0.5)
    assert rate.controlled == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("winners", "outcome", "flipped"),
    [
        (("model_1", "model_1"), 1, False),
        (("model_2", "model_2"), 0, False),
        (("model_1", "model_2"), 0.5, True),
        (("tie", "model_2"), 0.5, False),
        (("error", "model_2"), None, False),
    ],
)
def test_mt_benchs_pair_counts_a_win_only_in_both_games(file, winners, outcome, flipped):
    record = {
        "question_id": 81, "model_1": "moa", "model_2": "other", "g1_winner": winners[0],
        "g2_winner": winners[1], "judge": ["gpt-4", "pair-v2"], "turn": 2,
    }  # fmt: skip
    (read,) = read_judgments(file([record]))
    assert (read.question, read.first, read.second, read.turn) == ("81", "moa", "other", 2)
    assert (read.outcome, read.flipped) == (outcome, flipped)


def test_mt_benchs_single_ratings_of_minus_one_are_missing(file):
    records = [{"question_id": 81, "model": "moa", "score": score, "turn": 1} for score in (8, -1)]
    assert [one.rating for one in read_judgments(file(records))] == [8, None]


@pytest.mark.parametrize(
    ("labels", "outcome"),
    [
        (("B>>A", "A>>B"), 1),
        (("A>B", "B>A"), 0),
        (("A=B", "A=B"), 0.5),
        (("A>B", "A>>B"), 0.75),  # a loss that counts once, a win that counts three times
        ((None, "A>B"), None),
    ],
)
def test_arena_hards_games_are_weighted_as_its_own_scores_are(file, labels, outcome):
    games = [{"score": label, "judgment": {}} for label in labels]
    record = {"uid": "ab", "category": "x", "judge": "j", "model": "moa", "baseline": "o3"}
    (read,) = read_judgments(file([{**record, "games": games}]))
    assert (read.first, read.second, read.outcome) == ("moa", "o3", outcome)


def test_two_turns_of_a_question_count_as_one_cluster(file):
    records = [
        {
            "question_id": n, "model_1": "moa", "model_2": "other", "g1_winner": f"model_{1 + n % 2}",
            "g2_winner": f"model_{1 + n % 2}", "judge": ["gpt-4", "pair-v2"], "turn": turn,
        }
        for n in range(40)
        for turn in (1, 2)
    ]  # fmt: skip
    (both,) = win_rates_of(read_judgments(file(records)))
    (once,) = win_rates_of(read_judgments(file(records[::2])))
    assert (both.questions, both.rate, once.rate) == (80, 0.5, 0.5)
    width = [one.interval.high - one.interval.low for one in (both, once) if one.interval]
    assert width[0] == pytest.approx(width[1], rel=0.1)


def test_what_is_no_judgment_is_refused(file):
    with pytest.raises(EvaluationError, match="not judgments of AlpacaEval"):
        read_judgments(file([{"question_id": 1}]))


def test_a_report_on_judgments_counts_what_could_not_be_read(file):
    records = [annotation(1 + n % 2, "x" * (5 + n % 7)) for n in range(40)] + [annotation(None)]
    path = file(records, "annotations.json")
    assert is_judgments(path)
    first, last = report_of(read_judgments(path)).split("\n")
    assert first.startswith("moa against baseline: win rate 50.0 % (")
    assert first.endswith("; 40 judgments.")
    assert last == "1 of 41 judgments could not be read."
    ratings = [
        {"question_id": n, "model": "moa", "judge": ["j", "v"], "score": n, "turn": 1}
        for n in (6, 9)
    ]
    path = file(ratings)
    assert is_judgments(path)
    assert "moa: mean rating 7.50; 2 judgments." in report_of(read_judgments(path))


def test_questions_are_no_judgments(file):
    assert not is_judgments(file([{"question": "Why?", "answer": "So."}]))
    assert not is_judgments("questions.csv")
