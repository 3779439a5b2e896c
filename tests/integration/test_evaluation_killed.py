"""``moa eval`` on 200 questions with six arms: what it asks for, and that being killed changes no number."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from programs import STREAMS, run_python, start_python

from llama_index.packs.mixture_of_agents.simulation import Behaviour

pytestmark = pytest.mark.slow

QUESTIONS = 200
ARMS = [
    "gpt-4.1-mini", "gpt-4o-mini", "gpt-4.1", "mixture", "gpt-4.1-mini, vote of 3",
    "gpt-4.1-mini, Self-MoA of 2",
]  # fmt: skip
COMMAND = (
    "-m", "llama_index.packs.mixture_of_agents.cli", "eval", "questions.jsonl", "-l", "1",
    "-p", "openai:gpt-4.1-mini", "-p", "openai:gpt-4o-mini", "-a", "openai:gpt-4.1",
    "--score", "number", "--equal", "calls", "--json",
)  # fmt: skip


@pytest.fixture
def asked(providers: Any, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The folder with the questions, and the environment in which they are answered."""
    rules = [(rf"^{n} \+ 1\?", str(n + 1)) for n in range(QUESTIONS)]
    settings: Any = {"reply": "none", "input_tokens": 40, "output_tokens": 5, "latency": 0.02}
    providers.configure("gpt-4.1-mini", Behaviour(rules=rules[:150], **settings))
    providers.configure("gpt-4o-mini", Behaviour(rules=rules[100:], **settings))
    providers.configure("gpt-4.1", Behaviour(rules=rules[:170], **settings))
    lines = [json.dumps({"question": f"{n} + 1?", "answer": n + 1}) for n in range(QUESTIONS)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    return tmp_path, {**providers.environment, **home}


def numbers(text: str) -> dict[str, Any]:
    """The evaluation without its times, which no two runs share."""
    found = json.loads(text)["evaluation"]
    for arm in found["arms"]:
        del arm["seconds"], arm["seconds_95"]
    return found


@pytest.fixture
def whole(asked: tuple[Path, dict[str, str]]) -> dict[str, Any]:
    """What an evaluation says that nothing stops."""
    folder, environment = asked
    done = run_python(*COMMAND, "--out", "whole", cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return numbers(done.stdout)


@pytest.mark.timeout(240)
def test_six_arms_share_their_calls_and_none_is_made_twice(whole, providers):
    assert [arm["name"] for arm in whole["arms"]][:-1] == ARMS
    # mini: a vote's three samples and one aggregation; the other member; the aggregator, alone and in the mixture
    assert len(providers.log("gpt-4.1-mini")) == QUESTIONS * 4
    assert len(providers.log("gpt-4o-mini")) == QUESTIONS
    assert len(providers.log("gpt-4.1")) == QUESTIONS * 2


@pytest.mark.chaos
def test_an_evaluation_killed_at_ten_random_moments_ends_with_the_same_numbers(
    whole, asked, providers
):
    folder, environment = asked
    total = len(providers.log())
    for number, moment in enumerate(sorted(random.Random(16).sample(range(total), 10))):
        streams = folder / f"killed-{number}"
        streams.mkdir()
        program = start_python(
            *COMMAND, "--out", "killed", folder=streams, cwd=folder, env=environment
        )
        providers.wait_for(arrived=total + moment, timeout=600)
        assert program.is_alive(), (streams / STREAMS[2]).read_text()
        program.kill()
        program.join()
        assert program.exitcode
    ended = run_python(*COMMAND, "--out", "killed", cwd=folder, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert numbers(ended.stdout) == whole
    in_flight = 16 * 3  # what a kill can lose: the calls of the questions in flight
    assert len(providers.log()) <= 2 * total + 10 * in_flight
