"""Public scorers, really installed: their numbers, their readers on our files, and themselves against ``moa serve``.

They have a virtual environment of their own (make evaluators). Arena-Hard is in no package: its test runs where the
environment variable ARENA_HARD names a checkout of lmarena/arena-hard-auto.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import OF_OPENAI

from llama_index.packs.mixture_of_agents.batch import Question
from llama_index.packs.mixture_of_agents.evaluation import (
    read_judgments,
    read_public,
    win_rates_of,
    write_public,
)
from llama_index.packs.mixture_of_agents.evaluation.win_rates import length_controlled

pytestmark = [pytest.mark.evaluators, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "support" / "evaluators"
ARENA_HARD = os.environ.get("ARENA_HARD")
CAPITALS = {"What is the capital of France?": "Paris", "What is the capital of Peru?": "Lima"}


def run(*command: str, folder: Path, **environment: str) -> str:
    """Run a program of this environment in a folder; what it printed."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    env = {**os.environ, **quiet, "HOME": str(folder), "COLUMNS": "200", **environment}
    python = command[0].endswith(".py")
    installed = str(Path(sys.executable).parent / command[0])
    program = [sys.executable, str(PROGRAMS / command[0])] if python else [installed]
    done = subprocess.run(
        [*program, *command[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def server(providers: Any) -> Iterator[str]:
    """The address of a ``moa serve`` whose mixture, called house, knows two capitals and ranks the first answer first."""
    ranks = "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
    rules = [(r"<outputs>|model_1", ranks), ("France", "Paris"), ("Peru", "Lima")]
    for model in ("gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1"):
        providers.configure(model, rules=rules)
    command = [sys.executable, "-m", "llama_index.packs.mixture_of_agents.cli", "serve", *OF_OPENAI]
    process = subprocess.Popen(
        [*command, "--name", "house", "--port", "0"],
        env={**os.environ, **providers.environment}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    try:
        line = ""
        while not line.startswith("curl"):
            line = process.stderr.readline()
            assert line, "it ended"
        yield shlex.split(line)[1].removesuffix("/chat/completions")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def annotations(seed: int, count: int, bias: float) -> list[dict[str, Any]]:
    """Preferences of a judge that likes longer answers, in alpaca-eval's format."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(200, 2000, (count, 2))
    difference = lengths[:, 1] - lengths[:, 0]
    p = 1 / (1 + np.exp(-0.3 - bias * np.tanh(difference / difference.std())))
    return [
        {
            "index": n, "instruction": f"{n}?", "output_1": "x" * int(lengths[n, 0]),
            "generator_1": "baseline", "output_2": "y" * int(lengths[n, 1]), "generator_2": "moa",
            "annotator": "judge", "preference": 1.0 + float(chance.random() < p[n]),
        }
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("case", [(1, 805, 1.0), (2, 805, 0.2), (3, 120, 2.0), (4, 60, 0.0)])
def test_the_length_controlled_win_rate_is_alpaca_evals_own_to_four_digits(case, tmp_path):
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(annotations(*case)))
    # Its table of difficulties is public data, which is not here; any table will do to compare two codes.
    difficulty = np.random.default_rng(9).normal(0, 1, 805)
    revision = tmp_path / "hub" / "hub" / "datasets--tatsu-lab--alpaca_eval"
    (revision / "snapshots" / "made").mkdir(parents=True)
    (revision / "refs").mkdir()
    (revision / "refs" / "main").write_text("made")
    rows = [f"made,{n},{value!r}" for n, value in enumerate(difficulty.tolist())]
    table = "\n".join(["model,index,instruction_difficulty", *rows])
    (revision / "snapshots" / "made" / "df_gamed.csv").write_text(table)

    theirs = json.loads(run("alpaca_win_rates.py", str(file), folder=tmp_path))
    judgments = read_judgments(file)
    (ours,) = win_rates_of(judgments)
    minimal, full = theirs["length_controlled_minimal"], theirs["length_controlled_noreg"]
    assert ours.rate == pytest.approx(minimal["win_rate"] / 100, abs=1e-9)
    assert ours.controlled == pytest.approx(minimal["length_controlled_winrate"] / 100, abs=5e-5)
    outcomes, lengths, other_lengths = (
        np.array([getattr(one, name) for one in judgments], float)
        for name in ("outcome", "length", "other_length")
    )
    known = length_controlled(outcomes, lengths, other_lengths, difficulty[: len(judgments)])
    assert known == pytest.approx(full["length_controlled_winrate"] / 100, abs=5e-5)


def test_fastchats_own_loaders_read_what_is_written(tmp_path):
    rows = [
        {"question_id": n, "category": "writing", "turns": [f"{n}?", "Again."]} for n in (81, 82)
    ]
    file = tmp_path / "question.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    questions = read_public(file)
    first, second = ({one.id: f"{turn} {one.id}" for one in questions} for turn in ("one", "two"))
    folder = tmp_path / "model_answer"
    write_public("mt-bench", folder / "moa.jsonl", "moa", questions, first, second)
    loaded = json.loads(run("fastchat_loads.py", str(file), str(folder), "moa", folder=tmp_path))
    assert {n: one["choices"][0]["turns"] for n, one in loaded["moa"].items()} == {
        "81": ["one 81", "two 81"],
        "82": ["one 82", "two 82"],
    }


@pytest.mark.skipif(not ARENA_HARD, reason="ARENA_HARD names no checkout of Arena-Hard")
def test_arena_hards_own_code_reads_what_is_written_and_scores_as_we_do(tmp_path):
    texts = {
        "a1": "# Title\n\n- one\n- **two**\n\n```py\n# no title\n```\n",
        "b2": "1. x\n2. __y__",
        "c3": "Plain \u2028 words.",
    }
    folder = tmp_path / "data" / "arena-hard-v2.0"
    (folder / "model_judgment" / "judge").mkdir(parents=True)
    file, judged = folder / "question.jsonl", folder / "model_judgment" / "judge" / "moa.jsonl"
    rows = [
        {"uid": uid, "category": "hard_prompt", "subcategory": "x", "prompt": f"{uid}?"}
        for uid in texts
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    questions = read_public(file)
    write_public("arena-hard", folder / "model_answer" / "moa.jsonl", "moa", questions, texts)
    labels = [("A>>B", "B>A"), ("A=B", "A>B"), ("B>>A", None)]
    judgments = [
        {
            "uid": uid, "category": "hard_prompt", "judge": "judge", "model": "moa", "baseline": "o3",
            "games": [{"score": label, "judgment": {}} for label in pair],
        }
        for uid, pair in zip(texts, labels, strict=True)
    ]  # fmt: skip
    judged.write_text("".join(f"{json.dumps(one)}\n" for one in judgments))

    found = json.loads(run("arena_hard_loads.py", str(ARENA_HARD), folder=tmp_path))
    assert found["questions"] == list(texts)
    assert found["answers"] == texts
    assert all(type(found["style"][uid]["token_len"]) is int for uid in texts)
    ours = [
        {name: value for name, value in style.items() if name != "token_len"}
        for style in found["style"].values()
    ]
    assert ours == found["counted"]
    read = read_judgments(judged)
    assert {one.question: one.outcome for one in read if one.outcome is not None} == found["scores"]
    assert [one.outcome is None for one in read] == [False, False, True]


def test_alpaca_eval_judges_our_file_by_a_mixture_and_its_annotations_are_read_back(
    server, tmp_path
):
    questions = [Question(str(n), text) for n, text in enumerate(CAPITALS)]
    for author in ("moa", "baseline"):
        outputs = {one.id: f"{CAPITALS[one.text]}, says {author}." for one in questions}
        write_public("alpaca-eval", tmp_path / f"{author}.json", author, questions, outputs)
    alpaca_eval = find_spec("alpaca_eval")
    assert alpaca_eval
    assert alpaca_eval.origin
    prompt = Path(alpaca_eval.origin).parent / "evaluators_configs/alpaca_eval_gpt4/alpaca_eval.txt"
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "configs.yaml").write_text(
        f"judge:\n  prompt_template: {prompt}\n"
        "  fn_completions: openai_completions\n  fn_completion_parser: ranking_parser\n"
        "  batch_size: 1\n  completions_kwargs: {model_name: house, max_tokens: 100, temperature: 0}\n"
    )
    run(
        "alpaca_eval", "evaluate", "--model_outputs=moa.json", "--reference_outputs=baseline.json",
        f"--annotators_config={tmp_path / 'judge'}", "--fn_metric=get_winrate", "--sort_by=win_rate",
        "--output_path=results", folder=tmp_path, OPENAI_API_KEY="none", OPENAI_API_BASE=server,
    )  # fmt: skip
    found = read_judgments(next(tmp_path.glob("results/**/annotations.json")))
    assert [(one.first, one.second) for one in found] == [("moa", "baseline")] * 2
    assert {one.outcome for one in found} <= {0.0, 1.0}


def test_inspect_ai_evaluates_a_mixture(server, tmp_path):
    shutil.copy(PROGRAMS / "capitals.py", tmp_path)
    run(
        "inspect", "eval", "capitals.py", "--model", "openai-api/moa/house", "--log-format", "json",
        "--display", "plain", folder=tmp_path, MOA_API_KEY="none", MOA_BASE_URL=server,
    )  # fmt: skip
    log = json.loads(next(tmp_path.glob("logs/*.json")).read_text())
    assert log["status"] == "success"
    (score,) = log["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == 1


def test_lm_evaluation_harness_evaluates_a_mixture(server, tmp_path):
    shutil.copy(PROGRAMS / "capitals.yaml", tmp_path)
    rows = [{"question": question, "answer": answer} for question, answer in CAPITALS.items()]
    (tmp_path / "capitals.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    model = (
        f"model=house,base_url={server}/chat/completions,num_concurrent=2,tokenizer_backend=None"
    )
    run(
        "lm_eval", "--model", "local-chat-completions", "--model_args", model,
        "--apply_chat_template", "--tasks", "capitals", "--include_path", ".",
        "--output_path", "results", folder=tmp_path, OPENAI_API_KEY="none",
    )  # fmt: skip
    results = json.loads(next(tmp_path.glob("results/**/*.json")).read_text())
    assert results["results"]["capitals"]["exact_match,none"] == 1


def test_the_evaluation_that_the_documents_show_comes_out_as_they_show_it(tmp_path):
    shown = {same(line) for line in (ROOT / "docs" / "worth.md").read_text("utf-8").split("\n")}
    printed = run(str(ROOT / "tools" / "worth.py"), folder=tmp_path).rstrip().split("\n")
    conclusion = printed.pop()
    lines = [line for line in printed if not re.search(r"(vote|Self-MoA) of", line)]
    assert len(lines) > 20
    assert [line for line in lines if same(line) not in shown] == []
    assert conclusion.startswith("Use keen, vote of 6: the mixture")


def same(line: str) -> str:
    """A line of the report without what differs from run to run: seconds, and the p values that depend on all pairs."""
    without_seconds = re.sub(r"(\d\.\d) +\d+\.\d +\d+\.\d( +\d+ +\d+)$", r"\1\2", line)
    return re.sub(r" +[01]\.\d{3} +(\d+:\d+)", r" \1", without_seconds)
