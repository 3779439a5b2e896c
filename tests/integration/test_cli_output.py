"""What ``moa`` prints where standard output is a pipe, and in encodings that lack some characters."""

import ast
import json
import re

import pytest
from moa_program import KEYLESS, MODELS, QUESTION, Moa

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.simulation import Reply, SimulatedProviders, failure

ENCODINGS = ("ascii", "cp1252", "gbk")
ANSWER = "Begun \u4f60 \u20ac \xe9 \U0001f600 ended."


@pytest.fixture
def moa(providers, tmp_path):
    return Moa(tmp_path, providers)


@pytest.fixture
def foreign(providers: SimulatedProviders) -> str:
    """Every model answers in characters that no test's encoding has all of."""
    for model in ("gpt-4.1-mini", "mistral-small-latest", "gpt-4.1"):
        providers.configure(model, reply=Reply(ANSWER))
    return ANSWER


def is_whole(shown: str) -> bool:
    return "Begun " in shown and " ended." in shown


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("command", "encoding"),
    [*(("ask", encoding) for encoding in ENCODINGS), ("ask -q", "gbk"), ("chat", "ascii")],
)
def test_an_answer_that_the_output_cannot_encode_is_shown_all_the_same(moa, command, encoding):
    question, text = ([], QUESTION) if command == "chat" else ([QUESTION], "")
    arguments = [*command.split(), *MODELS, *question]
    assert is_whole(moa(*arguments, text=text, PYTHONIOENCODING=encoding).stdout)


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_json_loses_no_character_in_an_encoding_that_lacks_some(moa, providers, foreign, encoding):
    done = moa("ask", QUESTION, "--json", *MODELS, PYTHONIOENCODING=encoding)
    assert MixtureResult.from_json(done.stdout).answer == foreign
    providers.configure("gpt-4.1", reply=Reply(foreign), chances=[(failure(400), 1.0)])
    done = moa("ask", QUESTION, "--json", *MODELS, PYTHONIOENCODING=encoding, code=1)
    assert MixtureResult.from_json(done.stdout).proposals[0].text == foreign


def test_json_is_readable_text_where_the_output_can_encode_it(moa, foreign):
    shown = moa("ask", QUESTION, "--json", *MODELS).stdout
    assert json.loads(shown)["answer"] == foreign
    assert "\u4f60" in shown


def test_a_pipe_gets_utf_8_whatever_the_encoding_of_the_terminal(moa, foreign):
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = moa.raw("ask", QUESTION, "-q", *MODELS, **ascii_locale)
    assert done.stdout.decode("utf-8").rstrip("\n") == foreign
    done = moa.raw("ask", QUESTION, "-q", *MODELS, **ascii_locale, PYTHONIOENCODING="utf-16")
    assert done.stdout.decode("utf-16").rstrip("\n") == foreign


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_no_command_fails_in_an_encoding_that_lacks_some_characters(moa, encoding):
    def run(*arguments: str, code: int = 0, text: str = ""):
        return moa(*arguments, code=code, text=text, PYTHONIOENCODING=encoding)

    question = "Why \u4f60 \u20ac \xe9?"
    run("ask", question, "-q", "--trace", "runs.jsonl", *MODELS)
    for command in (["show"], ["replay"], ["replay", question]):
        assert is_whole(run(command[0], "runs.jsonl", *command[1:]).stdout)
    assert "Why " in run("show", "--list", "runs.jsonl").stdout
    run("show", "--html", "r\u4f60n.html", "runs.jsonl")
    run("estimate", question, *MODELS)
    run("models", "--check", *MODELS)
    run("init", "\u4f60.toml")
    line = json.dumps({"question": question}, ensure_ascii=False)
    run("batch", "-", "-o", "\u4f60.jsonl", *MODELS, text=line)
    assert question in (moa.folder / "\u4f60.jsonl").read_text("utf-8")
    line = json.dumps({"question": question, "right": "\u4f60"}, ensure_ascii=False)
    (moa.folder / "questions.jsonl").write_text(line, encoding="utf-8")
    run("eval", "questions.jsonl", "--answers", "right", "--score", "contains", *MODELS)
    run("demo", question)
    run("pack", "mine")
    (moa.folder / "mine" / "README.md").write_text("\u4f60", encoding="utf-8")
    assert "changed by you" in run("pack", "--diff", "mine", code=1).stdout
    assert "No such file" in run("ask", question, "-c", "\u4f60.json", code=2).stderr


def test_a_table_that_goes_into_a_pipe_is_not_cut(moa):
    name = "a-member-whose-name-is-as-long-as-a-line-of-a-terminal-is-wide-and-is-told-in-whole"
    (moa.folder / "moa.toml").write_text(
        f'proposers = [{{ model = "openai:gpt-4.1-mini", name = "{name}" }}]\n'
        'aggregator = "mistral:mistral-large-latest"\nlayers = 1\n'
    )
    shown = moa("models", "--check", COLUMNS="60").stdout
    assert moa.environment["OPENAI_API_BASE"] in shown
    assert "mistral:mistral-large-latest" in shown
    told = moa("ask", QUESTION, "--trace", "runs.jsonl", COLUMNS="60").stderr
    for table in (told, moa("show", "runs.jsonl", COLUMNS="60").stdout):
        assert re.search(rf"^layer 1 +{name} .* +\d\.\d\d\*? +\d+ +\d+ ", table, re.MULTILINE)


def test_what_goes_into_a_pipe_keeps_the_lines_of_the_models(moa, providers):
    words = "Several models answer the same question, and one of them writes the answer. " * 4
    providers.configure("gpt-4.1", reply=words)
    moa("ask", words, "-q", "--trace", "runs.jsonl", *MODELS)
    assert words.strip() in moa("show", "runs.jsonl", COLUMNS="80").stdout
    (line,) = moa("show", "--list", "runs.jsonl", COLUMNS="80").stdout.splitlines()
    assert words.strip() in line


@pytest.mark.parametrize("question", ['say "hi"', "a \\ b", "two\nlines", "it's \xe9"])
def test_the_demo_prints_python_that_asks_the_question(moa, question):
    shown = moa("demo", question, **KEYLESS).stderr
    (line,) = (line for line in shown.splitlines() if line.startswith("make_pack().run("))
    call = ast.parse(line).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert ast.literal_eval(call.value.args[0]) == question


def test_an_empty_question_to_the_demo_is_bad_usage(moa):
    assert moa("demo", "", code=2).stderr == "The question is empty.\n"


@pytest.mark.parametrize("flag", ["-q", "--json"])
def test_a_degraded_answer_is_told_once_on_standard_error_even_where_little_is_shown(
    moa, providers, flag
):
    providers.configure("gpt-4.1-mini", chances=[(failure(401), 1.0)])
    done = moa("ask", QUESTION, *MODELS, "--layers", "1", flag)
    assert done.stderr == (
        "Degraded: layer 1 has 1 of 2 proposals (gpt-4.1-mini: authentication)\n"
    )


@pytest.mark.parametrize("command", ["ask", "chat"])
def test_a_degraded_answer_is_told_once_beside_the_table(moa, providers, command):
    providers.configure("gpt-4.1-mini", chances=[(failure(401), 1.0)])
    done = moa(command, *MODELS, "--layers", "1", text=QUESTION)
    assert done.stderr.count("layer 1 has 1 of 2 proposals") == 1
