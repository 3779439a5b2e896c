"""The files of public scorers, in and out."""

import json

import pytest
from row_files import written

from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.evaluation import (
    read_public,
    second_turns,
    write_public,
)
from llama_index.packs.mixture_of_agents.evaluation.formats import format_of, style_of

ALPACA = [{"dataset": "mine", "instruction": "Why?", "output": "theirs", "generator": "davinci"}]
MT_BENCH = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]},
    {"question_id": 101, "category": "reasoning", "turns": ["Think.", "Again."]},
    {
        "question_id": 7,
        "category": "other",
        "turns": ["Sum.", "More."],
        "required_temperature": 0.3,
    },
]
ARENA = [{"uid": "ab12", "category": "hard_prompt", "subcategory": "coding", "prompt": "Code?"}]
FLASK = [{"idx": 1, "instruction": "Rewrite.", "answer": "Done.", "skill": ["Readability"]}]


@pytest.fixture
def file(tmp_path):
    return lambda records, name="questions.jsonl": written(tmp_path / name, records)


def test_alpaca_evals_list_is_read_and_its_model_outputs_are_written(file, tmp_path):
    (question,) = read_public(file(ALPACA, "alpaca_eval.json"))
    assert (question.id, question.text, question.fields["dataset"]) == ("1", "Why?", "mine")
    write_public("alpaca-eval", tmp_path / "o.json", "moa", [question], {"1": "Because."})
    assert json.loads((tmp_path / "o.json").read_text()) == [
        {"dataset": "mine", "instruction": "Why?", "output": "Because.", "generator": "moa"}
    ]


def test_mt_bench_is_read_with_its_temperatures_and_asked_in_two_turns(file, tmp_path):
    questions = read_public(file(MT_BENCH))
    assert [one.fields["temperature"] for one in questions] == [0.7, 0.0, 0.3]
    first = {"81": "Text.", "101": "Thought."}
    second = second_turns(questions, first)
    assert [one.id for one in second] == ["81", "101"]
    assert [one["content"] for one in second[0].messages] == ["Write.", "Text.", "Rewrite."]
    path = tmp_path / "model_answer" / "moa.jsonl"
    write_public("mt-bench", path, "moa", questions, first, {"81": "New text."})
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert set(row) == {"question_id", "answer_id", "model_id", "choices", "tstamp"}
    assert (row["question_id"], row["model_id"]) == (81, "moa")
    assert row["choices"] == [{"index": 0, "turns": ["Text.", "New text."]}]


def test_arena_hard_is_read_and_answered_with_the_style_that_its_control_needs(file, tmp_path):
    questions = read_public(file(ARENA))
    write_public("arena-hard", tmp_path / "moa.jsonl", "moa", questions, {"ab12": "# Yes\n- a"})
    row = json.loads((tmp_path / "moa.jsonl").read_text())
    assert set(row) == {"uid", "ans_id", "model", "messages", "tstamp", "metadata"}
    assert row["messages"][-1] == {"role": "assistant", "content": {"answer": "# Yes\n- a"}}
    assert row["metadata"]["header_count"]["h1"] == 1
    assert row["metadata"]["list_count"] == {"ordered": 0, "unordered": 1}
    assert row["metadata"]["token_len"] > 0


def test_style_is_counted_outside_of_code():
    text = "## Title\n**bold** and __bold__\n1. one\n* two\n```py\n# no title\n- no list\n```\n"
    style = style_of(text)
    assert style["header_count"] == {"h1": 0, "h2": 1, "h3": 0, "h4": 0, "h5": 0, "h6": 0}
    assert style["list_count"] == {"ordered": 1, "unordered": 1}
    assert style["bold_count"] == {"**": 1, "__": 1}


def test_flask_is_read_with_its_skills_and_answered(file, tmp_path):
    (question,) = read_public(file(FLASK))
    assert question.fields["skill"] == ["Readability"]
    write_public("flask", tmp_path / "moa.jsonl", "moa", [question], {"1": "Done so."})
    row = json.loads((tmp_path / "moa.jsonl").read_text())
    assert (row["question_id"], row["text"], row["model_id"]) == (1, "Done so.", "moa")


def test_a_batchs_own_questions_are_none_of_these(file):
    assert format_of(file([{"question": "Why?", "instruction": "x"}])) is None
    assert format_of("questions.csv") is None
    with pytest.raises(EvaluationError, match="none of alpaca-eval, mt-bench"):
        read_public(file([{"question": "Why?"}]))


def test_a_record_that_lacks_something_is_named(file):
    with pytest.raises(EvaluationError, match="record 2: KeyError"):
        read_public(file([*ARENA, {"uid": "x"}]))
    path = file(ARENA)
    path.write_text("{")
    with pytest.raises(EvaluationError, match="nor lines of JSON"):
        read_public(path)
