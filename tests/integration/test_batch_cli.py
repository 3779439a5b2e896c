"""``moa batch`` as people run it: a process of its own, asking the simulated providers, and stopped in the middle."""

import json
import os
import random
import re
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, TimeoutExpired

import pexpect
import pytest
from programs import interrupt, run_python, start_python
from systems import needs_a_terminal, sends_signals

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure

MODULE = "llama_index.packs.mixture_of_agents.cli"
MODELS = ["-p", "openai:gpt-4.1-mini", "-a", "openai:gpt-4.1", "-l", "1"]
QUESTIONS = [f"What is {number} + 1?" for number in range(1, 21)]


class Folder:
    """A folder with 20 questions, in which ``moa batch`` is run."""

    def __init__(self, path: Path, providers: SimulatedProviders) -> None:
        self.path, self.out, self.providers = path, path / "answers.jsonl", providers
        (path / "questions.txt").write_text("\n".join(QUESTIONS))
        self.environment = {
            **os.environ,
            **providers.environment,
            "HOME": str(path),
            "XDG_CONFIG_HOME": str(path),
        }

    def command(self, *options: str, questions: str = "questions.txt") -> list[str]:
        return ["-m", MODULE, "batch", questions, "--out", self.out.name, *MODELS, *options]

    def run(
        self, *options: str, questions: str = "questions.txt", stdin: str = "", code: int = 0
    ) -> CompletedProcess[str]:
        done = run_python(
            *self.command(*options, questions=questions),
            cwd=self.path,
            env=self.environment,
            stdin=stdin.encode(),
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def start(self, *options: str):
        streams = self.path / "streams"
        streams.mkdir()
        return start_python(
            *self.command(*options), folder=streams, cwd=self.path, env=self.environment
        )

    def ids(self) -> list[str]:
        return [json.loads(line)["id"] for line in self.out.read_text().splitlines()]

    def asked(self) -> Counter[str]:
        """How often each question was put to the aggregator."""
        log = self.providers.log("gpt-4.1")
        return Counter(record.body["messages"][-1]["content"] for record in log)


@pytest.fixture
def folder(tmp_path, providers):
    providers.configure("*", reply="An answer.")
    return Folder(tmp_path, providers)


@pytest.mark.parametrize("interrupted", [False, pytest.param(True, marks=sends_signals)])
def test_a_batch_that_is_stopped_goes_on_and_asks_nothing_again_but_what_was_in_flight(
    folder, providers, interrupted
):
    providers.hold("gpt-4.1", skip=7)
    first = folder.start("--in-flight", "3")
    providers.wait_for("gpt-4.1", held=3, timeout=30)
    assert len(folder.ids()) == 7  # all that was answered, and it still runs
    if interrupted:
        interrupt(first)
    else:
        first.kill()
    first.join()
    assert (first.exitcode == 130) == interrupted
    providers.release("gpt-4.1")
    if interrupted:
        said = (folder.path / "streams" / "stderr").read_text()
        assert "7 answered, 0 failed" in said
        assert "Run it again to continue" in said
        assert "Traceback" not in said
        providers.wait_for(open=0)
    done = folder.run("--in-flight", "3")
    assert "20 questions, 7 of them answered already." in done.stderr
    assert "13 answered, 0 failed, 7 answered before" in done.stderr
    assert sorted(folder.ids(), key=int) == [str(number) for number in range(1, 21)]
    asked = folder.asked()
    assert set(asked) == set(QUESTIONS)
    assert sum(asked.values()) == 20 + 3


def test_a_batch_says_what_it_asks_and_what_came_of_it(folder):
    done = folder.run("--limit", "5", "--system", "Be brief.", "--trace", "runs.jsonl")
    assert done.stdout == ""
    for said in (
        "layer 1: gpt-4.1-mini\n",
        "20 questions, 0 of them answered already.\n",
        "5 answered, 0 failed\n",
        "questions a second\n",
    ):
        assert said in done.stderr
    assert "%|" not in done.stderr  # no bar
    assert re.search(r"They will cost \$0\.00\d+ to \$\d", done.stderr)
    log = folder.providers.log("gpt-4.1-mini")
    sent = {tuple(one["content"] for one in request.body["messages"]) for request in log}
    assert sent == {("Be brief.", question) for question in QUESTIONS[:5]}
    assert len((folder.path / "runs.jsonl").read_text().splitlines()) == 5


def test_a_batch_of_which_some_failed_ends_with_3_and_says_where_the_reasons_are(folder, providers):
    providers.configure("gpt-4.1", script=[failure(400)], reply="An answer.")
    done = folder.run("--in-flight", "1", code=3)
    assert "19 answered, 1 failed" in done.stderr
    assert "answers.failed.jsonl says why; run it again to ask these again." in done.stderr
    assert folder.run().stderr.count("1 answered, 0 failed, 19 answered before") == 1


def test_with_a_wrong_key_it_stops_soon_and_says_why(folder, providers):
    providers.configure("*", chances=[(failure(401), 1.0)])
    done = folder.run("--max-failures", "4", "--in-flight", "2", code=1)
    assert "stopped: 4 questions failed one after the other" in done.stderr
    assert "gpt-4.1-mini: authentication 401" in done.stderr
    assert len(providers.log()) < 8


def test_max_cost_needs_prices(folder, providers):
    own = ["-a", "openai:ft:gpt-4.1-mini:us::x"]  # whose price nobody lists
    done = folder.run(*own, "--max-cost", "1", code=2)
    assert "--max-cost: there is no price for ft:gpt-4.1-mini:us::x" in done.stderr
    assert providers.log() == []
    (remedy,) = re.findall(r"--set '(.*)'", done.stderr)
    done = folder.run(*own, "--max-cost", "1", "--set", remedy)
    assert "20 answered, 0 failed" in done.stderr


def test_a_bound_that_the_cheapest_question_does_not_fit_stops_before_anything_is_asked(
    folder, providers
):
    done = folder.run("--max-cost", "0.0000001", code=1)
    assert "stopped: the next question costs at least $0.0000" in done.stderr
    assert providers.log() == []
    folder.run()
    done = folder.run("--max-cost", "0.0000001")  # nothing is left to ask
    assert "0 answered, 0 failed, 20 answered before" in done.stderr


def test_a_bound_that_the_questions_may_not_fit_is_told_before_they_are_asked(folder, providers):
    done = folder.run("--max-cost", "0.1")
    before, after = done.stderr.split("20 answered, 0 failed")
    assert "That may be more than --max-cost $0.10 allows" in before
    assert "stopped" not in after
    providers.reset()
    (folder.path / "answers.jsonl").unlink()
    done = folder.run("--max-cost", "100")
    assert "That may be more" not in done.stderr


def test_a_batch_goes_on_with_another_deadline_and_not_with_another_temperature(folder):
    folder.run("--limit", "1")
    done = folder.run("--temperature", "0.1", code=2)
    assert "answers.jsonl: its answers are of another mixture." in done.stderr
    folder.run("--deadline", "60", "--limit", "1")
    assert len(folder.ids()) == 2


def test_questions_come_from_standard_input_too(folder):
    lines = "".join(f'{{"id": "q{number}", "question": "Why?"}}\n' for number in range(3))
    folder.run(questions="-", stdin=lines)
    done = folder.run(questions="-", stdin=lines + '{"question": "How?"}\nno\n', code=2)
    assert "-, line 5: this is not JSON" in done.stderr
    assert "1 answered, 0 failed, 3 answered before" in done.stderr
    assert folder.ids()[-1] == "4"  # what was in flight is not lost


@sends_signals
def test_questions_are_asked_while_standard_input_waits_and_ctrl_c_ends_it(folder, providers):
    providers.hold("gpt-4.1")
    command = [sys.executable, *folder.command(questions="-")]
    with Popen(command, cwd=folder.path, env=folder.environment, stdin=PIPE, stderr=PIPE) as moa:
        assert moa.stdin
        moa.stdin.write(b'{"question": "Why?"}\n')
        moa.stdin.flush()
        providers.wait_for("gpt-4.1", held=1, timeout=30)
        moa.send_signal(signal.SIGINT)
        assert moa.wait(timeout=30) == 130  # and more questions might still come
    providers.wait_for(open=0)


def test_a_mistake_in_the_questions_is_told_before_anything_is_asked(folder, providers):
    path = folder.path / "questions.jsonl"
    path.write_text('{"question": "Why?"}\n' * 10 + '{"question": ""}\n')
    done = folder.run(questions=path.name, code=2)
    assert "questions.jsonl, line 11: the question is empty" in done.stderr
    assert providers.log() == []


@needs_a_terminal
def test_in_a_terminal_a_bar_shows_how_far_it_is(folder):
    moa = pexpect.spawn(
        sys.executable,
        folder.command(),
        cwd=str(folder.path),
        dimensions=(40, 100),
        encoding="utf-8",
        env=folder.environment,
        timeout=30,
    )
    moa.expect(pexpect.EOF)
    moa.close()
    assert moa.exitstatus == 0
    assert "20/20" in (moa.before or "")
    assert "0 failed, $0.00" in (moa.before or "")
    assert "20 answered, 0 failed" in (moa.before or "")


# --- by the providers' batch APIs ----------------------------------------------------------------------------------


def test_by_batch_apis_it_says_half_the_price_and_asks_nothing_directly(folder, providers):
    direct = folder.run("--limit", "1")
    (folder.path / "answers.jsonl").unlink()
    providers.reset()
    done = folder.run("--via", "batch-api")
    prices = [
        re.findall(r"They will cost \$([\d.]+) to \$(\d+\.\d+)\.", one.stderr)
        for one in (direct, done)
    ]
    (least, most), (half_least, half_most) = (map(float, found[0]) for found in prices)
    assert half_least < least
    assert half_most == pytest.approx(most / 2, rel=0.1)
    assert "20 answered, 0 failed" in done.stderr
    asked = [record for record in providers.log() if record.model != "batches"]
    assert len(asked) == 40
    assert all(record.batch for record in asked)
    assert len(providers.batches()) == 2


def test_estimate_says_both_prices(folder):
    command = ["-m", MODULE, "estimate", "Why?", *MODELS, "--via", "batch-api"]
    done = run_python(*command, cwd=folder.path, env=folder.environment)
    found = re.findall(
        r"^cost (?:by batch APIs )?\$([\d.]+) to \$([\d.]+)$", done.stdout, re.MULTILINE
    )
    assert float(found[1][1]) == pytest.approx(float(found[0][1]) / 2, rel=0.05)


# The requests to the batch API are: a list of batches; a file, a batch, a look at it, its answers; and these four for the
# aggregator. Each is held before it is carried out, or (1) before its answer is sent.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "after", "options"),
    [
        *((moment, 0, ()) for moment in (1, 2, 4, 8)),
        *((moment, 1, ()) for moment in (2, 3, 4, 6)),
        (8, 1, ("--set", "fence=true", "--set", "shuffle=true")),
    ],
)
def test_killed_at_any_moment_it_goes_on_waiting_and_pays_for_nothing_twice(
    folder, providers, moment, after, options
):
    providers.hold("batches", skip=moment, after=after)
    first = folder.start("--via", "batch-api", *options)
    providers.wait_for("batches", held=1, timeout=30)
    first.kill()
    first.join()
    providers.release("batches")
    done = folder.run("--via", "batch-api", *options)
    assert sorted(folder.ids(), key=int) == [str(number) for number in range(1, 21)]
    asked = [record for record in providers.log() if record.model != "batches"]
    messages = Counter(json.dumps([r.model, r.body["messages"]]) for r in asked if r.status == 200)
    assert set(messages.values()) == {1}, done.stderr
    assert len(messages) == 40
    assert not (folder.path / "answers.batches.db").exists()


@sends_signals
def test_after_ctrl_c_it_says_that_batches_go_on(folder, providers):
    providers.configure("gpt-4.1-mini", batch_seconds=100, reply="An answer.")
    first = folder.start("--via", "batch-api")
    providers.wait_for("batches", closed=4, timeout=30)
    interrupt(first)
    first.join()
    assert first.exitcode == 130
    assert (
        "Open batches continue at the provider" in (folder.path / "streams" / "stderr").read_text()
    )
    providers.advance(100)
    folder.run("--via", "batch-api")
    assert len(folder.ids()) == 20
    assert len(providers.log("gpt-4.1-mini")) == 20


KILLED = int(os.environ.get("BATCH_QUESTIONS", "60"))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_killed_at_twenty_random_moments_it_pays_for_nothing_twice(folder, providers):
    questions = "\n".join(f"What is {n} + 1?" for n in range(KILLED))
    (folder.path / "questions.txt").write_text(questions)
    chance, size = random.Random(7), str(max(25, KILLED // 4))
    options = ["-p", "mistral:mistral-small-latest", "-l", "2", "--batch-size", size]
    command = [sys.executable, *folder.command("--via", "batch-api", *options)]
    for _ in range(20):
        with Popen(command, cwd=folder.path, env=folder.environment, stderr=PIPE) as moa:
            with suppress(TimeoutExpired):
                moa.wait(timeout=chance.uniform(2, 8 + KILLED / 80))
            moa.kill()
    folder.run("--via", "batch-api", *options)
    assert sorted(folder.ids(), key=int) == [str(number) for number in range(1, KILLED + 1)]
    asked = [record for record in providers.log() if record.model != "batches"]
    messages = Counter(json.dumps([one.model, one.body["messages"]]) for one in asked)
    assert (len(messages), set(messages.values())) == (KILLED * 5, {1})
    assert all(record.batch for record in asked)
