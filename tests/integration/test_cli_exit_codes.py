"""The exit codes of ``moa``, which scripts read: those that docs/cli.md lists."""

import json
import re
import signal
import subprocess
import sys

import pytest
from moa_program import KEYLESS, MODELS, MODULE, QUESTION, ROOT, Moa
from systems import sends_signals

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure

INTERRUPTED = 130
ONE_LAYER = (*MODELS, "--layers", "1")
# What is run, after which preparation, and the code that it ends with.
CASES = {
    "--help": 0,
    "models": 0,
    "init new.toml": 0,
    "models --check, but a model fails": 1,
    "ask x, but a model fails": 1,
    "batch q.jsonl -o a.jsonl --max-failures 1, but a model fails": 1,
    "pack --check mine, but it was changed": 1,
    "": 2,
    "asks": 2,
    "ask --layer 2": 2,
    "ask": 2,
    "ask x -c nowhere.toml": 2,
    "ask x --recipe voet": 2,
    "ask x --trace no/such/folder": 2,
    "ask x, but there is no key": 2,
    "show nowhere.jsonl": 2,
    "replay nowhere.jsonl": 2,
    "show q.jsonl": 2,
    "batch nowhere.jsonl -o a.jsonl": 2,
    "batch q.jsonl -o no/such/a.jsonl": 2,
    "init moa.toml": 2,
    "pack --check .": 2,
    "ask x --strict, but a proposer fails": 3,
    "batch q.jsonl -o a.jsonl, but a model fails": 3,
}


@pytest.fixture
def moa(providers, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": QUESTION}))
    return Moa(tmp_path, providers)


def prepare(what: str, moa: Moa, providers: SimulatedProviders) -> dict[str, str]:
    """Returns variables for the command."""
    if what == "a model fails":
        providers.configure("gpt-4.1", chances=[(failure(400), 1.0)])
    elif what == "a proposer fails":
        providers.configure("gpt-4.1-mini", chances=[(failure(400), 1.0)])
    elif what == "it was changed":
        moa("pack", "mine")
        (moa.folder / "mine" / "README.md").write_text("mine")
    elif what == "there is no key":
        return KEYLESS
    return {}


@pytest.mark.parametrize("case", CASES)
def test_a_command_ends_with_the_code_that_the_page_lists(moa, providers, case):
    command, _, what = case.partition(", but ")
    if command.startswith("init moa"):
        (moa.folder / "moa.toml").touch()
    asks = command.partition(" ")[0] in ("ask", "batch", "models") and "voet" not in command
    arguments = [*command.split(), *(ONE_LAYER if asks else ())]
    done = moa(*arguments, code=CASES[case], **prepare(what, moa, providers))
    assert bool(done.stderr) == (CASES[case] != 0 or asks or command.startswith("init"))


@sends_signals
def test_ctrl_c_ends_a_command_with_130(moa, providers):
    providers.hold("gpt-4.1-mini")
    started = subprocess.Popen(
        [sys.executable, "-m", MODULE, "ask", QUESTION, *ONE_LAYER],
        cwd=moa.folder, env={**moa.environment, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    providers.wait_for("gpt-4.1-mini", held=1, timeout=50)
    started.send_signal(signal.SIGINT)
    _, shown = started.communicate()
    assert started.returncode == INTERRUPTED
    assert b"Traceback" not in shown


def test_the_page_lists_every_code():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {*CASES.values(), INTERRUPTED}
