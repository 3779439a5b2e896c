"""`make demo`'s program, as people start it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parent.parent / "examples" / "mixture_of_agents.py"
PROPOSERS = ["gpt-4.1-mini", "mistral-small-latest"]


def environment(**extra: str) -> dict[str, str]:
    without = {"OPENAI_API_KEY", "MISTRAL_API_KEY", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {**kept, "TERM": "xterm", "COLUMNS": "60", **extra}


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        check=False,
        capture_output=True,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        text=True,
    )


def run_in_a_terminal(**extra: str) -> str:
    """What the demo writes to a terminal."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(DEMO), "--simulated"], env=environment(**extra), stdout=its
    ) as demo:
        os.close(its)
        written = b""
        try:
            while piece := os.read(ours, 4096):
                written += piece
        except OSError:  # the terminal's other end is closed
            pass
        os.close(ours)
    assert demo.returncode == 0
    return written.decode()


def test_the_demo_shows_every_layer_and_an_answer_made_from_the_references():
    # With keys, but nobody to ask whether to use them, the models are simulated all the same.
    done = run(OPENAI_API_KEY="a key", MISTRAL_API_KEY="another key")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "The models are SIMULATED" in text
    for layer in (1, 2, 3):
        assert f"Layer {layer}" in text
    for proposer in PROPOSERS:
        assert text.count(f"s {proposer}") == 3
    assert "[simulated gpt-4.1: 2 references received;" in text
    assert "7 calls in " in text
    assert "\033" not in done.stdout


def test_in_a_terminal_the_demo_tells_who_has_not_answered_yet():
    written = run_in_a_terminal()
    assert "waiting for gpt-4.1-mini, mistral-small-latest" in written
    assert "\033[1mLayer 1\033[0m" in written


def test_the_demo_has_no_colours_where_none_are_wanted():
    assert "\033[1m" not in run_in_a_terminal(NO_COLOR="1")


def test_asking_real_models_without_keys_says_which_are_missing():
    done = run("--real", OPENAI_API_KEY="a key")
    assert done.returncode == 2
    assert "MISTRAL_API_KEY" in done.stderr
    assert "OPENAI_API_KEY and" not in done.stderr
