"""What counts as a right answer."""

import pytest

from llama_index.packs.mixture_of_agents.batch import Question
from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.evaluation import make_scorer
from llama_index.packs.mixture_of_agents.evaluation.scoring import choice_in, number_in


def question(right, column="answer"):
    return Question("q1", "?", fields={column: right})


def half(question, answer):
    return 0.5


@pytest.mark.parametrize(
    ("how", "right", "said", "score"),
    [
        ("exact", "Paris", " Paris\n", 1),
        ("exact", "Paris", "paris", 0),
        ("exact", ["Paris", "Lutetia"], "Lutetia", 1),
        ("normalised", "The Hague", "the  hague.", 1),
        ("normalised", "Hague", "THE HAGUE!", 1),
        ("normalised", "Paris", "It is Paris", 0),
        ("number", 42, "The answer is 42.", 1),
        ("number", "1,200", "First 3, then 1200", 1),
        ("number", 42, "I do not know", 0),
        ("number", -0.5, "so x = -.5", 1),
        ("number", [1, 2], "2", 1),
        ("number", 7, r"\boxed{7}, found in 3 steps", 1),
        ("choice", "B", "The answer is (B).", 1),
        ("choice", "b)", "B. Paris, which is a town", 1),
        ("choice", "C", "A or B", 0),
        ("regex", r"(?i)\bparis\b", "In PARIS, I think", 1),
        ("regex", r"^\d+$", "about 12", 0),
        ("json", {"a": 1, "b": 2}, 'Here: {"a": 1, "b": 3}', 0.5),
        ("json", '{"a": 1}', '```json\n{"a": 1, "more": 2}\n```', 1),
        ("json", {"a": 1}, "no object {here}", 0),
        ("contains", "Paris", "It is paris", 1),
        ("contains", ["red", "green"], "red and blue", 0),
    ],
)
def test_an_answer_has_the_score_that_its_scorer_says(how, right, said, score):
    scorer = make_scorer(how)
    scorer.prepare(question(right))
    assert scorer(question(right), said) == score


def test_a_number_may_be_off_by_a_share_of_the_right_one():
    scorer = make_scorer("number", tolerance=0.01)
    assert scorer(question(1000), "1009") == 1
    assert scorer(question(1000), "1011") == 0


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("(c)", "C"),
        ("b) the second", "B"),
        ("Answer: D", "D"),
        ("The correct option is **A**", "A"),
        ("I would choose C here", "C"),
        (r"\boxed{E}", "E"),
        ("I do not know", ""),
    ],
)
def test_a_choice_is_found_in_the_ways_in_which_models_write_it(said, letter):
    assert choice_in(said) == letter


@pytest.mark.parametrize(
    ("said", "number"),
    [("$1,234.50", 1234.5), ("#### 12", 12), ("3e2", 300), ("none", None), ("from 3 to 5.", 5)],
)
def test_the_last_number_of_an_answer_counts(said, number):
    assert number_in(said) == number


def test_a_function_scores_from_the_question_and_the_answer():
    scorer = make_scorer(lambda question, answer: len(answer) == question.fields["length"])
    assert scorer(question(3, "length"), "abc") == 1
    scorer.prepare(question(3, "anything"))


def test_a_function_is_found_by_its_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "own_scores_of_a_test.py").write_text("def half(question, answer): return 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert make_scorer("own_scores_of_a_test:half")(question("?"), "x") == 0.5
    with pytest.raises(EvaluationError, match="say module:function"):
        make_scorer("own_scores_of_a_test:missing")
    with pytest.raises(EvaluationError, match="say module:function"):
        make_scorer("no_module_of_this_name:half")


@pytest.mark.parametrize("returned", ["good", None, float("nan")])
def test_a_function_that_returns_no_number_is_an_error(returned):
    scorer = make_scorer(lambda *_: returned)
    with pytest.raises(EvaluationError, match="return a number"):
        scorer(question("?"), "x")


@pytest.mark.parametrize(
    ("how", "right", "problem"),
    [
        ("exact", "", "no right answer in the column 'answer'"),
        ("number", "many", "this is not a number"),
        ("choice", "Paris", "this is not the letter"),
        ("regex", "(", "q1"),
        ("json", "[1]", "this is not a JSON object"),
        ("json", "{", "q1"),
    ],
)
def test_a_right_answer_that_makes_no_sense_is_refused_with_its_question(how, right, problem):
    with pytest.raises(EvaluationError, match="question q1") as caught:
        make_scorer(how).prepare(question(right))
    assert problem in str(caught.value)


def test_a_missing_column_is_refused_with_the_columns_that_there_are():
    with pytest.raises(EvaluationError, match=r"column 'answer' \(columns: target\)"):
        make_scorer("exact").prepare(question("x", "target"))


def test_an_unknown_scorer_is_refused_with_those_that_there_are():
    with pytest.raises(EvaluationError, match="exact, normalised, choice"):
        make_scorer("fuzzy")
