"""Answers that an evaluation writes for public scorers, and their judgments that it reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from programs import run_python

from llama_index.packs.mixture_of_agents import evaluation as room
from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

aevaluate: Any = room.aevaluate
FILES = {
    "alpaca-eval": ("q.json", [{"instruction": f"{n}?", "dataset": "d"} for n in range(3)]),
    "mt-bench": (
        "q.jsonl",
        [{"question_id": n, "category": "math", "turns": [f"{n}?", "Sure?"]} for n in range(3)],
    ),
    "arena-hard": ("q.jsonl", [{"uid": f"u{n}", "prompt": f"{n}?"} for n in range(3)]),
    "flask": ("q.jsonl", [{"idx": n, "instruction": f"{n}?", "skill": []} for n in range(3)]),
}


def asked(messages: Any) -> str:
    return f"Answer {sum(one.role == 'user' for one in messages)}"


@pytest.fixture
def members() -> list[ScriptedLLM]:
    return [ScriptedLLM(asked, model=name) for name in ("one", "two", "writer")]


def questions_of(form: str, folder: Path) -> Path:
    name, records = FILES[form]
    lines = "".join(f"{json.dumps(one)}\n" for one in records)
    (folder / name).write_text(json.dumps(records) if name.endswith(".json") else lines)
    return folder / name


@pytest.mark.parametrize("form", FILES)
async def test_every_arms_answers_are_written_for_a_public_scorer_and_none_is_scored(
    form, members, tmp_path
):
    recipe = moa(members[:2], members[2], layers=1)
    settings = {"write": form, "folder": tmp_path / "out"}
    evaluation = await aevaluate(recipe, questions_of(form, tmp_path), "none", **settings)
    written = sorted((tmp_path / "out" / form).rglob("*.json*"))
    assert [file.stem.rpartition("-")[0] for file in written] == ["mixture", "one", "two", "writer"]
    text = written[0].read_text()
    rows = json.loads(text) if form == "alpaca-eval" else [*map(json.loads, text.splitlines())]
    assert len(rows) == 3
    assert evaluation.conclusion == "No answer was scored, so nothing can be said."
    assert "%" not in str(evaluation).replace("95 %", "")
    if form == "mt-bench":
        assert rows[0]["choices"][0]["turns"] == ["Answer 1", "Answer 2"]
        before = [len(llm.asked) for llm in members]
        await aevaluate(recipe, questions_of(form, tmp_path), "none", **settings)
        assert [len(llm.asked) for llm in members] == before == [6, 6, 12]


async def test_what_cannot_be_written_is_refused_before_anybody_is_asked(members, tmp_path):
    given = {"one": members[0]}
    with pytest.raises(EvaluationError, match="write = 'html': must be one of"):
        await aevaluate(given, [{"question": "?"}], "none", write="html", folder=tmp_path)
    with pytest.raises(EvaluationError, match="name the folder to write to"):
        await aevaluate(given, [{"question": "?"}], "none", write="flask")
    assert members[0].asked == ()


@pytest.mark.timeout(240)
def test_the_command_reports_on_judgments_and_needs_no_models_for_it(tmp_path):
    record = {
        "instruction": "?", "output_1": "aa", "generator_1": "baseline", "output_2": "b",
        "generator_2": "moa", "annotator": "judge", "preference": 2.0,
    }  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps([record] * 4))
    module = "llama_index.packs.mixture_of_agents.cli"
    done = run_python(
        "-m", module, "eval", "annotations.json", cwd=tmp_path, env={"HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("moa against baseline: win rate 100.0 %")
