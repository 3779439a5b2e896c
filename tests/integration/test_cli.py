"""``moa`` as people run it: a process of its own, asking the simulated providers."""

import json
import os
import re
import shlex
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from jsonschema import Draft7Validator
from moa_program import KEYS, MODELS, MODULE, QUESTION, ROOT, Moa

from llama_index.packs.mixture_of_agents import ConfigError, MixtureResult
from llama_index.packs.mixture_of_agents.cli.command import Flags
from llama_index.packs.mixture_of_agents.cli.init import EXAMPLE
from llama_index.packs.mixture_of_agents.cli.sources import find, user_file
from llama_index.packs.mixture_of_agents.config import load, read_text
from llama_index.packs.mixture_of_agents.events import RunStarted
from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe._recipe import DEFAULT_LAYERS
from llama_index.packs.mixture_of_agents.simulation import (
    Record,
    failure,
)


def said(record: Record) -> list[str]:
    """The texts of a request's messages; Mistral's class sends them in pieces."""
    contents = [message["content"] for message in record.body["messages"]]
    return [one if isinstance(one, str) else "".join(c["text"] for c in one) for one in contents]


@pytest.fixture
def moa(providers, tmp_path):
    return Moa(tmp_path, providers)


def test_help_imports_neither_llama_index_nor_rich():
    look = f"""
import sys
from {MODULE} import main
sys.argv = ["moa", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {{"llama_index.core", "pydantic", "rich", "httpx", "aiohttp", "asyncio"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert "Ask several LLMs at once" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_question_is_asked_without_most_of_llama_index_and_of_the_openai_sdk(moa):
    models = ("-p", "openai:gpt-4.1-mini", "-a", "openai:gpt-4.1")
    done = moa.raw("ask", "--quiet", *models, QUESTION, PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr.decode(), re.MULTILINE))
    assert {"llama_index.core.llms.llm", "llama_index.llms.openai.utils"} <= imported
    unneeded = {"llama_index.core.indices.base", "openai.types.beta.thread", "nltk", "sqlalchemy"}
    assert not unneeded & imported


def test_the_openai_sdk_writes_its_log_where_it_is_wanted(moa):
    models = ("-p", "openai:gpt-4.1-mini", "-a", "openai:gpt-4.1")
    done = moa.raw("ask", "--quiet", *models, QUESTION, OPENAI_LOG="debug")
    assert b"DEBUG] HTTP Response: POST" in done.stderr


def test_without_its_extra_moa_says_in_one_line_what_to_install():
    look = f"import sys; sys.modules['typer'] = None; from {MODULE} import main; main()"
    done = subprocess.run([sys.executable, "-c", look], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        'moa needs more: pip install "llama-index-packs-mixture-of-agents[cli]"\n'
    )


def test_a_mixture_of_the_file_is_asked_by_its_name(moa, providers):
    (moa.folder / "moa.toml").write_text("""
[mixtures.fast]
proposers = ["openai:gpt-4.1-mini"]
aggregator = "openai:gpt-4.1"
layers = 1
[mixtures.other]
proposers = ["mistral:mistral-small-latest"]
aggregator = "mistral:mistral-large-latest"
layers = 1
""")
    for model in ("gpt-4.1", "mistral-large-latest"):
        providers.configure(model, reply=model)
    assert moa("ask", "-q", "--mixture", "other", QUESTION).stdout == "mistral-large-latest\n"
    assert moa("ask", "-q", QUESTION, MOA_MIXTURE="fast").stdout == "gpt-4.1\n"
    (moa.folder / "q.txt").write_text("Why?\n")
    moa("batch", "q.txt", "-o", "a.jsonl", "-m", "fast")
    assert json.loads((moa.folder / "a.jsonl").read_text())["answer"] == "gpt-4.1"
    said = moa("ask", QUESTION, code=2).stderr
    assert "moa.toml has several mixtures: name one with --mixture (fast, other)" in said


def test_the_answer_goes_to_standard_output_and_everything_else_to_standard_error(moa, providers):
    providers.configure("gpt-4.1", reply="An answer\nof two lines.")
    done = moa("ask", QUESTION, "--system", "Be brief.", *MODELS)
    assert done.stdout == "An answer\nof two lines.\n"
    for agent in ("gpt-4.1-mini", "mistral-small-latest"):
        assert agent in done.stderr
    assert "An answer" not in done.stderr
    assert said(providers.log("gpt-4.1-mini")[0]) == ["Be brief.", QUESTION]


def test_a_question_comes_from_standard_input_too_and_quiet_says_nothing_else(moa, providers):
    providers.configure("gpt-4.1", reply="42")
    for arguments in (["ask", "-q"], ["ask", "-", "-q"]):
        done = moa(*arguments, text=f"{QUESTION}\n")
        assert (done.stdout, done.stderr) == ("42\n", "")
    assert said(providers.log("gpt-4.1-mini")[0]) == [f"{QUESTION}\n"]


def test_json_is_the_whole_result(moa, providers):
    providers.configure("gpt-4.1", reply="42")
    result = MixtureResult.from_json(moa("ask", QUESTION, "--json", *MODELS).stdout)
    assert result.answer == "42"
    assert result.question == QUESTION
    assert len(result.calls) == 5


def test_strict_tells_a_degraded_answer_by_its_exit_code(moa, providers):
    providers.configure("gpt-4.1", reply="42")
    providers.configure("gpt-4.1-mini", chances=[(failure(400), 1.0)])
    done = moa("ask", QUESTION, *MODELS, "--layers", "1", "--strict", code=3)
    assert done.stdout == "42\n"
    assert "layer 1 has 1 of 2 proposals (gpt-4.1-mini: bad_request)" in done.stderr
    assert moa("ask", QUESTION, *MODELS, "--layers", "1").stdout == "42\n"


def test_a_question_of_two_megabytes_arrives_whole(moa, providers):
    providers.configure("*", reply="42")
    question = "All work and no play. " * 95_000
    assert moa("ask", "-q", "--layers", "1", *MODELS, text=question).stdout == "42\n"
    assert [said(one) for one in providers.log()[:2]] == [[question]] * 2


def test_a_closed_pipe_is_no_error(moa, providers):
    providers.configure("gpt-4.1", reply="a line\n" * 20_000)
    command = [sys.executable, "-m", MODULE, "ask", "-q", "Why?"]
    streams: Any = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    with subprocess.Popen(
        command, cwd=moa.folder, env=moa.environment, text=True, **streams
    ) as asking:
        assert asking.stdout
        assert asking.stdout.readline() == "a line\n"
        asking.stdout.close()
        assert asking.stderr
        assert asking.stderr.read() == ""


@pytest.mark.parametrize("arguments", [["ask", ""], ["ask", " \n"], ["ask"]], ids=str)
def test_an_empty_question_is_bad_usage(moa, arguments):
    assert moa(*arguments, code=2).stderr == "The question is empty.\n"


@pytest.mark.parametrize("command", ["ask", "estimate", "demo", "replay nowhere.jsonl"])
def test_a_question_without_quotes_says_that_it_needs_some(moa, command):
    said = moa(*command.split(), "Why", "is", "it", "blue?", code=2).stderr
    assert said == 'Put the question in quotes: "Why is it blue?"\n'


def test_a_model_that_is_only_a_providers_name_gets_an_example_that_works(moa):
    said = moa("ask", QUESTION, "-p", "openai", "-a", "openai:gpt-4.1", code=2).stderr
    assert said.endswith('is written "provider:name", such as "openai:gpt-4.1-mini"\n')


def test_moa_knows_its_version(moa):
    assert moa("--version").stdout == "1.0.0\n"


def test_a_wrong_option_is_bad_usage(moa):
    assert "--layers" in moa("ask", QUESTION, "--layer", "2", code=2).stderr


def test_without_models_the_ways_to_name_some_are_told(moa):
    said = moa("ask", QUESTION, code=2, OPENAI_API_KEY="", MISTRAL_API_KEY="").stderr
    for way in ("an option", "./moa.toml", "for all folders", "OPENAI_API_KEY", "moa demo"):
        assert way in said


def test_a_model_without_its_key_says_which_variable_is_missing(moa):
    said = moa("ask", QUESTION, *MODELS, code=2, MISTRAL_API_KEY="").stderr
    assert said.startswith("--proposer: mistral:mistral-small-latest: ")
    assert "the environment has no MISTRAL_API_KEY" in said


def test_a_wrong_key_is_told_with_advice_and_never_shown(moa, providers):
    providers.configure("*", chances=[(failure(401), 1.0)])
    done = moa("ask", QUESTION, *MODELS, code=1, OPENAI_API_KEY="sk-wrong-key-123")
    assert done.stderr.count("authentication 401") == 2
    assert "Is the key right? moa models shows which one is used" in done.stderr
    assert "wrong-key" not in done.stderr


def test_an_unreachable_server_is_told_with_advice(moa):
    nowhere = "http://127.0.0.1:1/v1"
    arguments = ["-p", "openai:gpt-4.1-mini", "-a", "openai:gpt-4.1", "--set", "call.retries=0"]
    done = moa("ask", QUESTION, *arguments, code=1, OPENAI_API_BASE=nowhere)
    assert "gpt-4.1-mini: connection after 1 attempt" in done.stderr
    assert "Is the server running, and its address right?" in done.stderr


def test_a_traceback_is_shown_only_where_it_is_wanted(moa):
    assert "Traceback" not in moa("ask", QUESTION, "-c", "nowhere.toml", code=2).stderr
    shown = subprocess.run(
        [sys.executable, "-m", MODULE, "ask", QUESTION, "-c", "nowhere.toml", "--debug"],
        check=False, capture_output=True, cwd=moa.folder, env=moa.environment, text=True,
    )  # fmt: skip
    assert shown.returncode != 0
    assert "Traceback" in shown.stderr


def test_models_shows_what_is_asked_where_and_with_whose_key(moa):
    (moa.folder / "nested.toml").write_text(
        'aggregator = "openai:gpt-4.1"\nproposers = [{ mixture = { aggregator = "openai:gpt-4.1",'
        ' proposers = ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"] } }]'
    )
    done = moa("models", "-c", "nested.toml", COLUMNS="200", MISTRAL_API_KEY="")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert moa.environment["OPENAI_API_BASE"] in lines["openai:gpt-4.1-mini"]
    assert lines["openai:gpt-4.1"].split()[-1] == "$OPENAI_API_KEY"
    assert "$MISTRAL_API_KEY is not set" in lines["mistral:mistral-small-latest"]
    assert "simulated-key" not in done.stdout + done.stderr


def test_models_check_asks_each_model_for_one_token(moa, providers):
    providers.configure("mistral-small-latest", chances=[(failure(401), 1.0)])
    done = moa("models", *MODELS, "--check", code=1, COLUMNS="200")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "answers, " in lines["openai:gpt-4.1-mini"]
    assert "answers, " in lines["openai:gpt-4.1"]
    assert "authentication" in lines["mistral:mistral-small-latest"]
    assert [one.body["max_tokens"] for one in providers.log()] == [1, 1, 1]


def test_estimate_asks_nobody_and_needs_no_key(moa, providers):
    done = moa("estimate", QUESTION, *MODELS, MISTRAL_API_KEY="", OPENAI_API_KEY="")
    assert "5 calls (2, 2, 1 by layer)" in done.stdout
    assert "cost $" in done.stdout
    assert providers.log() == []


def test_the_demo_shows_every_layer_and_an_answer_made_from_the_references(moa, providers):
    done = moa("demo", OPENAI_API_KEY="", MISTRAL_API_KEY="")
    shown = " ".join(done.stderr.split())
    assert "The models are SIMULATED" in shown
    assert 'make_pack().run("What is LlamaIndex?")' in shown
    for layer in (1, 2, 3):
        for proposer in ("gpt-4.1-mini", "mistral-small-latest"):
            assert f"layer {layer}, {proposer}, " in shown
    assert "[simulated gpt-4.1: 2 references received;" in " ".join(done.stdout.split())
    assert "7 requests" in shown
    assert providers.log() == []  # it starts providers of its own


def test_the_demo_asks_real_models_only_with_their_keys(moa):
    said = moa("demo", "--real", code=2, MISTRAL_API_KEY="").stderr
    assert said == "--real needs MISTRAL_API_KEY in the environment.\n"
    done = moa("demo", "--real", "Why?")  # their addresses are the simulated ones here
    assert "The models are real" in done.stderr
    assert "know nothing about that" in done.stdout


def test_init_writes_a_file_that_works(moa, providers):
    providers.configure("gpt-4.1", reply="42")
    said = moa("init").stderr
    assert "Written to moa.toml. Its models are those of the environment" in said
    assert moa("ask", QUESTION).stdout == "42\n"
    assert "moa.toml exists already. --force replaces it." in moa("init", code=2).stderr
    (moa.folder / "moa.toml").write_text("broken")
    said = moa("ask", QUESTION, code=2).stderr
    assert (
        said
        == "moa.toml:1: this is not TOML: Expected '=' after a key in a key/value pair\n    broken\n"
    )
    moa("init", "--force")
    assert load(moa.folder / "moa.toml", need_keys=False).deadline == 200.0


def test_init_writes_a_schema_beside_its_file_for_editors(moa):
    moa("init", "--schema")
    schema = json.loads((moa.folder / "moa.schema.json").read_text())
    text = (moa.folder / "moa.toml").read_text()
    assert text.startswith("#:schema ./moa.schema.json\n")
    assert list(Draft7Validator(schema).iter_errors(read_text(text).data)) == []
    (moa.folder / "moa.toml").unlink()
    said = moa("init", "--schema", code=2).stderr
    assert "moa.schema.json exists already. --force replaces it." in said
    assert not (moa.folder / "moa.toml").exists()


def test_init_takes_the_models_that_the_keys_are_for(moa):
    moa("init", "mine.toml", OPENAI_API_KEY="")
    recipe = load(moa.folder / "mine.toml", need_keys=False)
    assert {agent.model for agent in recipe.agents} == {
        "mistral-small-latest",
        "mistral-large-latest",
    }


def test_every_line_of_the_first_file_that_can_be_uncommented_works(tmp_path):
    text = EXAMPLE.read_text()
    assert text.count("\n#: ") > 10
    # a class that is not installed here is looked for in vain, and a table of models may stay unused
    path = tmp_path / "moa.toml"
    path.write_text(text.replace("#: ", ""))
    recipe = load(path, need_keys=False)
    assert (recipe.layers[0].quorum, recipe.layers[0].grace) == (2, 5.0)
    assert recipe.call.timeout == 120.0
    assert recipe.budget is not None
    assert recipe.budget.usd == 0.5


def test_pack_lays_down_the_source_and_tells_what_was_changed(moa):
    assert "mine/README.md says how to use" in moa("pack", "mine").stderr
    assert "Nothing differs." in moa("pack", "--check", "mine").stderr
    source = moa.folder / "mine" / "llama_index/packs/mixture_of_agents/_messages/prompts.py"
    source.write_text("# mine\n")
    done = moa("pack", "--diff", "mine", code=1)
    assert "prompts.py: changed by you" in done.stdout
    assert "+# mine" in done.stdout
    assert "--force replaces it" in moa("pack", "mine", code=2).stderr


def test_a_conversation_keeps_its_history_and_obeys_commands(moa, providers):
    providers.configure("gpt-4.1", reply=("First answer.", "Second answer."))
    lines = [QUESTION, "", "/cost", "And then?", "/layers", "/modl", "/model nope:x", "/save said.md",
             "/model openai:gpt-4.1-mini", "/help", '"""', "A question", "of two lines", '"""', "/new", "Again", "/quit", "unheard"]  # fmt: skip
    done = moa("chat", "--layers", "1", *MODELS, text="\n".join(lines))
    answers = done.stdout.splitlines()
    assert answers[:2] == ["First answer.", "Second answer."]
    assert [said(one) for one in providers.log("mistral-small-latest")] == [
        [QUESTION],
        [QUESTION, "First answer.", "And then?"],
        [QUESTION, "First answer.", "And then?", "Second answer.", "A question\nof two lines"],
        ["Again"],
    ]
    assert done.stderr.count("3 calls, ") == 5  # /cost says so too
    assert "There is no /modl. Did you mean /model?" in done.stderr
    assert 'there is no provider "nope"' in done.stderr
    assert "/save FILE" in done.stderr
    assert "## assistant\n\nSecond answer." in (moa.folder / "said.md").read_text()
    assert len(providers.log("gpt-4.1")) == 2  # then gpt-4.1-mini writes the answers


def test_what_fails_in_a_conversation_leaves_no_trace_in_it(moa, providers):
    providers.configure("mistral-small-latest", script=[failure(401)], reply="Fine.")
    done = moa(
        "chat",
        "-p",
        "mistral:mistral-small-latest",
        "-a",
        "openai:gpt-4.1",
        "--layers",
        "1",
        text="One\nTwo\n",
    )
    assert "No answer: " in done.stderr
    assert [said(one) for one in providers.log("mistral-small-latest")] == [["One"], ["Two"]]


def test_a_trace_is_shown_listed_written_for_a_browser_and_replayed(moa, providers):
    providers.configure("gpt-4.1", reply=("42", "43"))
    for question in (QUESTION, "Why?"):
        moa("ask", question, "-q", "--trace", "runs.jsonl", "--layers", "1", *MODELS)
    asked = len(providers.log())
    listed = moa("show", "runs.jsonl", "--list").stdout.splitlines()
    assert [line.split(" s  ")[1] for line in listed] == [QUESTION, "Why?"]
    shown = moa("show", "runs.jsonl", "--run", "1").stdout
    assert "layer 1, proposer gpt-4.1-mini\n" in shown
    assert "aggregator gpt-4.1\n42\n" in shown
    assert "43" in moa("show", "runs.jsonl").stdout
    moa("show", "runs.jsonl", "--html", "run.html")
    assert "43" in (moa.folder / "run.html").read_text()
    keyless = {"OPENAI_API_KEY": "", "MISTRAL_API_KEY": ""}
    arguments = ["replay", "runs.jsonl", *MODELS, "--layers"]
    assert moa(*arguments, "1", **keyless).stdout == "43\n"
    assert moa(*arguments, "1", QUESTION, **keyless).stdout == "42\n"
    missing = moa(*arguments, "2", code=1, **keyless).stderr
    assert "runs.jsonl lacks a call: proposer" in missing
    assert len(providers.log()) == asked


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runs.jsonl", "-n", "3"], 2, "runs.jsonl holds 1 run, but no run 3; --list lists them."),
        (["broken.jsonl"], 2, "broken.jsonl, line 1: "),
        (["empty.jsonl"], 2, "empty.jsonl holds no run."),
        (["nowhere.jsonl"], 2, "nowhere.jsonl: No such file or directory"),
    ],
)
def test_what_is_no_trace_is_said_to_be_none(moa, arguments, code, said):
    result = MixtureResult((RunStarted("1", 0.0, "Why?", (), ""),))
    (moa.folder / "runs.jsonl").write_text(result.to_json())
    (moa.folder / "broken.jsonl").write_text("broken")
    (moa.folder / "empty.jsonl").write_text("")
    assert said in moa("show", *arguments, code=code).stderr


def test_the_help_in_the_documents_is_what_moa_says():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "cli_help.py"), "--check"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def blocks_of_commands() -> list[list[str]]:
    """Those of the documents, the longest first, without those whose every command is in another one."""
    text = "\n".join((ROOT / page).read_text() for page in ("README.md", "docs/cli.md"))
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = ([one for one in block.splitlines() if one.startswith("moa ")] for block in blocks)
    kept: list[list[str]] = []
    for block in sorted(commands, key=len, reverse=True):
        if not set(block) <= {command for other in kept for command in other}:
            kept.append(block)
    return kept


@pytest.mark.parametrize("commands", blocks_of_commands(), ids="; ".join)
def test_every_command_of_the_documents_runs(moa, providers, commands):
    providers.configure("gpt-4.1", reply="42")
    (moa.folder / "moa").write_text(f'#!/bin/sh\nexec {sys.executable} -m {MODULE} "$@"\n')
    (moa.folder / "moa").chmod(0o700)
    (moa.folder / "questions.jsonl").write_text(json.dumps({"question": QUESTION}))
    for command in commands:
        if not set("|<>") & set(command):
            moa(*shlex.split(command, comments=True)[1:])
            continue
        if sys.platform == "win32":
            pytest.skip("the documents show a POSIX shell's pipes and files")
        done = subprocess.run(
            command, shell=True, check=False, capture_output=True, cwd=moa.folder,
            env={**moa.environment, "PATH": f"{moa.folder}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder without a recipe file, and an environment without keys and settings."""
    for name in os.environ:
        if name in KEYS or name.startswith("MOA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_go_before_the_environment_and_that_before_the_file(here, monkeypatch):
    (here / "moa.toml").write_text(
        'proposers = "openai:gpt-4o"\naggregator = "openai:gpt-4o"\nlayers = 1\ntemperature = 0.1\nmax_tokens = 10\n'
    )
    monkeypatch.setenv("MOA_AGGREGATOR", "openai:gpt-4.1")
    monkeypatch.setenv("MOA_TEMPERATURE", "0.2")
    monkeypatch.setenv("MOA_PROPOSERS", "openai:gpt-4.1-mini, openai:gpt-4.1-nano")
    recipe = find(Flags(temperature=0.0, values=["quorum=2", "call.timeout=5"])).recipe(
        need_keys=False
    )
    assert (recipe.temperature, recipe.max_tokens) == (0.0, 10)
    assert [p.model for p in recipe.layers[0].proposers] == ["gpt-4.1-mini", "gpt-4.1-nano"]
    assert recipe.aggregator is not None
    assert recipe.aggregator.model == "gpt-4.1"
    assert (recipe.layers[0].quorum, recipe.call.timeout) == (2, 5.0)


def test_the_file_is_the_one_that_is_named_or_the_folders_or_the_users(here, monkeypatch):
    def written(path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'name = "{name}"\nproposers = "openai:gpt-4.1"\naggregator = "none"\nlayers = 1\n'
        )

    written(user_file(), "the user's")
    assert find(Flags()).recipe(need_keys=False).name == "the user's"
    written(here / "moa.toml", "the folder's")
    assert find(Flags()).recipe(need_keys=False).name == "the folder's"
    written(here / "named.toml", "named")
    monkeypatch.setenv("MOA_CONFIG", "named.toml")
    assert find(Flags()).recipe(need_keys=False).name == "named"
    assert find(Flags(config=Path("moa.toml"))).recipe(need_keys=False).name == "the folder's"


@pytest.mark.parametrize(
    ("keys", "proposers", "aggregator"),
    [
        (["OPENAI_API_KEY"], ["gpt-4.1-mini", "gpt-4o-mini"], "gpt-4.1"),
        (["MISTRAL_API_KEY"], ["mistral-small-latest"], "mistral-large-latest"),
        (
            ["OPENAI_API_KEY", "MISTRAL_API_KEY"],
            ["gpt-4.1-mini", "gpt-4o-mini", "mistral-small-latest"],
            "gpt-4.1",
        ),
    ],
)
def test_keys_in_the_environment_make_a_mixture(here, monkeypatch, keys, proposers, aggregator):
    for key in keys:
        monkeypatch.setenv(key, "a-key")
    source = find(Flags())
    recipe = source.recipe()
    assert source.origin == f"the environment ({', '.join(keys)})"
    assert [p.model for p in recipe.layers[0].proposers] == proposers
    assert recipe.layers[0].samples >= 2
    assert len(recipe.layers) == DEFAULT_LAYERS
    assert recipe.aggregator is not None
    assert recipe.aggregator.model == aggregator


def test_a_key_whose_integration_is_not_installed_says_what_to_install(here, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    with pytest.raises(ConfigError, match="pip install llama-index-llms-anthropic"):
        find(Flags()).recipe()


class Ollama(BaseHTTPRequestHandler):
    """Lists an embedding model first; of the last one it does not say what it can do, as an older Ollama."""

    capabilities: ClassVar = {
        "nomic-embed-text": ["embedding"],
        "llama3.1:8b": ["completion", "tools"],
    }

    def do_GET(self) -> None:
        self.answer({"models": [{"name": name} for name in (*self.capabilities, "qwen3")]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.capabilities.get(asked["model"])
        self.answer({"capabilities": known} if known else {})

    def answer(self, body: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_without_keys_the_models_of_a_running_ollama_that_can_chat_make_a_mixture(
    here, monkeypatch
):
    with HTTPServer(("127.0.0.1", 0), Ollama) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{server.server_port}")
        source = find(Flags())
        server.shutdown()
    assert source.origin == f"the Ollama at http://127.0.0.1:{server.server_port}"
    assert source.document.data["proposers"] == ["ollama:llama3.1:8b", "ollama:qwen3"]
    assert source.document.data["aggregator"] == "ollama:llama3.1:8b"
    assert source.document.data["limits"] == {"one_model_at_a_time": True}


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_can_be_had_by_its_name_alone(here, monkeypatch, name):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("MISTRAL_API_KEY", "a-key")
    recipe = find(Flags(recipe=name)).recipe()
    assert recipe.name.startswith(name)
    if name in ("self_moa", "self_moa_seq", "best_of_n"):
        assert {agent.model for agent in recipe.agents} == {"gpt-4.1"}
    else:
        assert {agent.model for agent in recipe.agents} >= {"gpt-4.1", "gpt-4.1-mini"}


def test_a_recipe_by_its_name_takes_the_models_of_the_options(here, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    flags = Flags(recipe="self_moa", proposers=["openai:gpt-4o"], aggregator="openai:gpt-4o-mini")
    recipe = find(flags).recipe()
    assert [p.model for p in recipe.layers[0].proposers] == ["gpt-4o"]
    assert recipe.aggregator is not None
    assert recipe.aggregator.model == "gpt-4o-mini"
    with pytest.raises(ConfigError, match="self_moa asks one model several times: give one"):
        find(Flags(recipe="self_moa", proposers=["openai:gpt-4o", "openai:gpt-4.1"])).recipe()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (Flags(aggregator="openai:GPT-4"), r"^--aggregator: .*did you mean gpt-4\?"),
        (Flags(temperature=-1), r"^--temperature: temperature = -1"),
        (Flags(recipe="voet"), r'^--recipe: .*did you mean "vote"\?'),
        (
            Flags(values=["quorm=2"]),
            r'^--set: quorm: there is no such field; did you mean "quorum"\?',
        ),
        (Flags(values=["quorum"]), "say NAME=VALUE"),
        (Flags(values=["a b=2"]), "this is not TOML"),
        (Flags(config=Path()), "is a folder; give a file, such as moa.toml"),
        (Flags(config=Path("nowhere.toml")), r"nowhere\.toml: No such file"),
    ],
)
def test_a_mistake_in_an_option_names_the_option(here, monkeypatch, flags, said):
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    with pytest.raises(ConfigError, match=said):
        find(flags).recipe()


def test_a_mistake_in_the_environment_names_the_variable(here, monkeypatch):
    monkeypatch.setenv("MOA_LAYERS", "two")
    with pytest.raises(ConfigError, match=r"^MOA_LAYERS: Input should be a valid integer"):
        find(Flags())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            Flags(aggregator="openai:gpt-4.1"),
            r"^There is an aggregator but no proposer\. Name one or more: -p openai",
        ),
        (
            Flags(proposers=["openai:gpt-4.1"]),
            r"^There are proposers but no aggregator, which writes the answer\. Name it: -a openai",
        ),
        (Flags(recipe="vote", aggregator="openai:gpt-4.1"), r"no proposer.* -p openai"),
        (Flags(), r"^There are no models to ask\. Say which in one of four ways"),
    ],
)
@pytest.mark.usefixtures("here")
def test_where_only_some_models_are_named_the_missing_option_is_named(flags, said):
    with pytest.raises(ConfigError, match=said):
        find(flags)


@pytest.mark.usefixtures("here")
def test_a_variable_that_names_only_the_aggregator_is_no_other_case(monkeypatch):
    monkeypatch.setenv("MOA_AGGREGATOR", "openai:gpt-4.1")
    with pytest.raises(ConfigError, match=r"no proposer.* MOA_PROPOSERS"):
        find(Flags())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["self_moa", "best_of_n", "vote"])
def test_a_recipe_that_needs_no_aggregator_is_made_of_proposers_alone(name):
    recipe = find(Flags(recipe=name, proposers=["openai:gpt-4o"])).recipe(need_keys=False)
    assert {agent.model for agent in recipe.agents} == {"gpt-4o"}


def test_a_shell_completes_commands_and_options(moa):
    assert "--install-completion" in moa("--help").stdout
    asked = {"_MOA_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert moa(COMP_WORDS="moa es", **asked).stdout.split() == ["estimate"]
    asked["COMP_CWORD"] = "2"
    assert "--proposer" in moa(COMP_WORDS="moa ask --", **asked).stdout.split()
