"""``moa`` in a terminal: what it looks like, and what its keys do."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from systems import needs_a_terminal

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

pytestmark = [pytest.mark.slow, needs_a_terminal]

MODULE = "llama_index.packs.mixture_of_agents.cli"
MODELS = ["-p", "openai:gpt-4.1-mini", "-p", "mistral:mistral-small-latest", "-a", "openai:gpt-4.1"]
CTRL_C, CTRL_D = "\x03", "\x04"
PROMPT = r"\r\n> "  # a table of calls has "126 > 8 tokens"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(providers: SimulatedProviders, tmp_path: Path) -> Iterator:
    """Starts ``moa`` in a terminal."""
    started = []

    def start(*arguments: str, columns: int = 80, **environment: str) -> pexpect.spawn:
        kept = {
            name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}
        }
        moa = pexpect.spawn(
            sys.executable,
            ["-m", MODULE, *arguments],
            cwd=str(tmp_path),
            dimensions=(40, columns),
            encoding="utf-8",
            env={**kept, **providers.environment, "TERM": "xterm-256color", **environment},
            timeout=30,
        )
        started.append(moa)
        return moa

    yield start
    for moa in started:
        moa.close(force=True)


def test_ctrl_c_stops_the_answer_and_not_the_conversation(terminal, providers):
    providers.configure("gpt-4.1", reply="one two three four five six seven eight")
    moa = terminal("chat", "--layers", "1", *MODELS)
    moa.expect(r"leaves\.\r\n> ")
    providers.hold("gpt-4.1", after=4)
    moa.sendline("Count.")
    moa.expect("one two three")
    moa.send(CTRL_C)
    moa.expect("Stopped")
    providers.wait_for("gpt-4.1", open=0)  # the request too was given up
    providers.release("gpt-4.1")
    moa.expect(PROMPT)
    moa.sendline("Go on.")
    moa.expect("eight")
    moa.expect(PROMPT)
    moa.send(CTRL_C)  # at the prompt there is nothing to stop
    moa.expect(r"leaves\.\r\n> ")
    moa.send(CTRL_D)
    moa.expect(pexpect.EOF)
    moa.close()
    assert moa.exitstatus == 0
    last = [message["content"] for message in providers.log("gpt-4.1-mini")[-1].body["messages"]]
    assert last == ["Count.", "one two three", "Go on."]


def test_ctrl_c_ends_a_single_question_at_once(terminal, providers):
    providers.hold("gpt-4.1-mini")
    moa = terminal("ask", "Why?", *MODELS)
    providers.wait_for("gpt-4.1-mini", held=1, timeout=30)
    moa.send(CTRL_C)
    moa.expect(pexpect.EOF)
    moa.close()
    assert moa.exitstatus == 130
    assert "Traceback" not in (moa.before or "")
    providers.wait_for(open=0)


@pytest.mark.parametrize("columns", [40, 80])
def test_words_are_not_broken_at_the_end_of_a_line(terminal, providers, columns):
    words = "Several models answer the same question, and one of them writes the answer. " * 4
    providers.configure("gpt-4.1", reply=f"{words}\n\n```\n{'x' * 100}\n```\nEnd.")
    moa = terminal("ask", "Why?", "--layers", "1", *MODELS, columns=columns)
    moa.expect(pexpect.EOF)
    shown = ESCAPES.sub("", moa.before or "").replace("\r", "\n")
    # the terminal breaks a line where it is full: as if it had ended there
    rows = [
        line[at : at + columns] for line in shown.split("\n") for at in range(0, len(line), columns)
    ]
    answer = [row.split() for row in rows if row and set(row.split()) <= set(words.split())]
    assert [word for row in answer for word in row] == words.split()
    assert len(answer) > len(words) // columns
    assert f"\n{'x' * 100}\n" in shown  # code is left as it is
    # the live view has made room for the answer; behind it each call is told once
    assert shown.partition("End.")[2].count("gpt-4.1-mini") == 1


def test_what_a_model_says_cannot_steer_the_terminal(terminal, providers):
    providers.configure("gpt-4.1", reply="\x1b]0;owned\x07\x1b[2Jclean\x9b31m")
    moa = terminal("ask", "Why?", "--layers", "1", *MODELS)
    moa.expect("clean")
    assert "\x1b[2J" not in moa.before
    assert "\x07" not in moa.before
    moa.expect(pexpect.EOF)


def test_no_colour_is_shown_where_none_is_wanted(terminal):
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    shown = {}
    for wish in ({}, {"NO_COLOR": "1"}):
        moa = terminal("ask", "Why?", "--layers", "1", *MODELS, **wish)
        moa.expect(pexpect.EOF)
        shown[bool(wish)] = bool(coloured.search(moa.before or ""))
    assert shown == {False: True, True: False}


@pytest.mark.parametrize("columns", [40, 120])
def test_a_table_fits_the_terminal(terminal, columns):
    moa = terminal("models", *MODELS, columns=columns)
    moa.expect(pexpect.EOF)
    lines = [ESCAPES.sub("", line) for line in (moa.before or "").split("\r\n")]
    assert max(len(line) for line in lines) <= columns
