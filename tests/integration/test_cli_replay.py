"""Runs that ``moa`` keeps, shows and replays."""

import re

import pytest
from moa_program import KEYLESS, MODELS, QUESTION, Moa

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.simulation import failure

ENSEMBLES = {
    "moa": (),
    "council": ("--recipe", "council"),
    "self_moa": ("--recipe", "self_moa", "--set", "samples=3"),
    "cascade": ("--recipe", "cascade"),
    "vote": ("--recipe", "vote"),
}


@pytest.fixture
def moa(providers, tmp_path):
    return Moa(tmp_path, providers)


@pytest.mark.parametrize("recipe", ENSEMBLES)
def test_a_trace_brings_its_recipe_and_needs_no_key_no_file_and_no_network(moa, providers, recipe):
    keys = dict.fromkeys(("OPENAI_API_KEY", "MISTRAL_API_KEY"), "sk-secret-of-mine-1234")
    answer = moa("ask", QUESTION, "--trace", "runs.jsonl", *ENSEMBLES[recipe], **keys).stdout
    assert "secret-of-mine" not in (moa.folder / "runs.jsonl").read_text()
    asked = len(providers.log())
    (moa.folder / "moa.toml").write_text("broken")  # the trace's recipe counts, not the folder's
    done = moa("replay", "runs.jsonl", **KEYLESS, MOA_LAYERS="7")
    assert done.stdout == answer
    assert len(providers.log()) == asked


def test_replayed_calls_are_marked_and_cost_nothing(moa, providers):
    providers.configure("gpt-4.1-mini", script=[failure(500)])
    paid = moa("ask", QUESTION, "--trace", "runs.jsonl", "--set", "call.backoff=0", *MODELS)
    assert re.search(r"^total +\d\S+ +\S+ +\S+ +0\.00\d*[1-9]", paid.stderr, re.MULTILINE)
    done = moa("replay", "runs.jsonl", **KEYLESS)
    table = done.stderr.splitlines()
    calls = [line for line in table if re.search(r" (gpt|mistral)-\S+ +\d", line)]
    assert len(calls) == 5
    assert all("replayed" in line for line in calls)
    assert sum("2 attempts, replayed" in line for line in calls) == 1
    (total,) = (line for line in table if line.startswith("total"))
    assert total.split()[-1] == "0.00000"
    assert "0 requests" in done.stderr
    assert "Models from runs.jsonl" not in done.stdout


def test_what_json_prints_is_replayed_too(moa):
    done = moa("ask", QUESTION, "--json", *MODELS)
    (moa.folder / "result.json").write_text(done.stdout)
    answer = MixtureResult.from_json(done.stdout).answer
    assert moa("replay", "result.json", **KEYLESS).stdout.rstrip("\n") == answer


def test_a_run_with_a_system_prompt_or_a_history_is_replayed_without_retelling_it(moa, providers):
    providers.configure("gpt-4.1", reply=("42", "43", "44"))
    moa("ask", QUESTION, "-s", "Be brief.", "--trace", "runs.jsonl", *MODELS)
    moa("chat", "--trace", "runs.jsonl", *MODELS, text="One\nTwo\n")
    assert moa("replay", "runs.jsonl", **KEYLESS).stdout == "44\n"
    assert moa("replay", "runs.jsonl", "-n", "1", **KEYLESS).stdout == "42\n"
    assert moa("replay", "runs.jsonl", QUESTION, "-s", "Be brief.", **KEYLESS).stdout == "42\n"
    missing = moa("replay", "runs.jsonl", QUESTION, **KEYLESS, code=1).stderr
    assert "holds no run of this conversation" in missing
    assert "no run 4" in moa("replay", "runs.jsonl", "-n", "4", code=2).stderr


def test_options_change_the_recipe_that_a_trace_brings(moa):
    moa("ask", QUESTION, "--trace", "runs.jsonl", *MODELS, "--layers", "1")
    missing = moa("replay", "runs.jsonl", "--layers", "2", code=1, **KEYLESS).stderr
    assert "runs.jsonl lacks a call: proposer" in missing
    without = moa("replay", "runs.jsonl", "-p", "openai:gpt-4.1-mini", **KEYLESS).stderr
    assert "mistral" not in without


def test_a_trace_without_a_recipe_says_how_to_give_one(moa):
    done = moa("ask", QUESTION, "--json", *MODELS)
    result = MixtureResult.from_json(done.stdout)
    bare = MixtureResult((type(result.run)(**{
        name: getattr(result.run, name) for name in type(result.run).__slots__ if name != "recipe"
    }), *result.events[1:]))  # fmt: skip
    (moa.folder / "bare.json").write_text(bare.to_json())
    said = moa("replay", "bare.json", code=2, **KEYLESS).stderr
    assert (
        "bare.json does not hold its recipe: name one with --config, or models with -p and -a"
        in said
    )
    assert moa("replay", "bare.json", *MODELS, **KEYLESS).stdout.rstrip("\n") == result.answer


def test_the_question_is_shown_with_its_run(moa):
    moa("ask", QUESTION, "-q", "--trace", "runs.jsonl", *MODELS)
    assert moa("show", "runs.jsonl").stdout.splitlines()[0] == QUESTION
    moa("show", "runs.jsonl", "--html", "run.html")
    page = (moa.folder / "run.html").read_text("utf-8")
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert f"<title>{QUESTION}</title>" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert page.index(QUESTION, page.index("<body")) < page.index("LlamaIndex is")
    assert page.rstrip().endswith("</html>")
