"""Many questions to an LLM: so many at a time, and a file that they go on with."""

import asyncio
import json
import os
import re
import sqlite3
import threading
from contextlib import aclosing, closing
from decimal import Decimal
from importlib.util import find_spec
from io import BytesIO
from itertools import count, cycle
from pathlib import Path

import fsspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.llms.custom import CustomLLM
from llama_index.llms.openai import OpenAI
from row_files import ids, rows
from systems import makes_links, not_on_windows

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.batch import (
    Answer,
    Question,
    answers,
    arun_batch,
    read_questions,
    run_batch,
)
from llama_index.packs.mixture_of_agents.batch._disk import Claim
from llama_index.packs.mixture_of_agents.batch.asker import Asker
from llama_index.packs.mixture_of_agents.batch.driver import fingerprint
from llama_index.packs.mixture_of_agents.batch.outcomes import answer_of
from llama_index.packs.mixture_of_agents.batch.store import Store
from llama_index.packs.mixture_of_agents.errors import BatchError, Failure, FailureKind, RunError
from llama_index.packs.mixture_of_agents.events import CallFinished, RunStarted, Usage
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.pricing import Cost
from llama_index.packs.mixture_of_agents.result import MixtureResult
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"scripted": (1.0, 2.0)}  # 10 tokens in and 5 out: 0.00002 dollars an answer


def asked(llm: ScriptedLLM) -> list[str | None]:
    return [one.messages[-1].content for one in llm.asked]


def answer_of_length(tokens: int) -> ChatResponse:
    usage = {"prompt_tokens": 2, "completion_tokens": tokens}
    return ChatResponse(message=ChatMessage(role="assistant", content="yes"), raw={"usage": usage})


def echo(messages) -> str:
    return f"{messages[-1].content}!"


def failing_at(*texts: str):
    def reply(messages):
        text = messages[-1].content
        return RuntimeError(f"no {text}") if text in texts else f"{text}!"

    return reply


# --- as a stream -------------------------------------------------------------------------------------------------


async def test_so_many_are_asked_at_once_and_no_more_are_read():
    gate, all_in_flight, read = asyncio.Event(), asyncio.Event(), count()

    async def reply(_):
        if len(llm.asked) == 3:
            all_in_flight.set()
        await gate.wait()
        return "yes"

    llm = ScriptedLLM(reply)
    questions = (f"question {next(read)}" for _ in range(1_000_000))
    async with aclosing(answers(llm, questions, in_flight=3)) as coming:
        first = asyncio.ensure_future(anext(coming))
        await all_in_flight.wait()
        assert next(read) == 3
        gate.set()
        assert (await first).text == "yes"
        async for _ in coming:
            if len(llm.asked) > 10:
                break
    assert llm.high_water == 3
    assert next(read) < 20


async def test_answers_come_as_they_end():
    slow = asyncio.Event()

    async def reply(messages):
        if messages[-1].content == "slow":
            await slow.wait()
        return "done"

    ended = []
    async for answer in answers(ScriptedLLM(reply), ["slow", "quick", "quicker"], in_flight=2):
        ended.append(answer.question.text)
        if len(ended) == 2:
            slow.set()
    assert ended == ["quick", "quicker", "slow"]


@pytest.mark.parametrize("way", ["close", "cancel"])
async def test_closing_or_cancelling_ends_the_questions_in_flight(way):
    begun, ended = asyncio.Event(), []

    async def reply(_):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def read():
        async with aclosing(coming):
            await anext(coming)

    coming = answers(ScriptedLLM("the first", reply), ["one", "two", "three"], in_flight=2)
    reader = asyncio.create_task(read())
    await begun.wait()
    if way == "close":
        await reader
    else:
        reader.cancel()
        await asyncio.wait([reader])
    assert ended == ["cancelled"] * len(ended)
    assert ended
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_the_questions_raise_comes_after_the_answers_that_were_paid_for():
    gate, loop = asyncio.Event(), asyncio.get_running_loop()

    def questions():
        yield "one"
        yield "two"
        loop.call_soon_threadsafe(gate.set)
        raise OSError("the pipe broke")

    async def reply(_):
        await gate.wait()
        return "paid for"

    got = []
    with pytest.raises(OSError, match="the pipe broke"):  # noqa: PT012
        async for answer in answers(ScriptedLLM(reply), questions(), in_flight=5):
            got += [answer.text]
    assert got == ["paid for"] * 2


async def test_answers_come_while_an_iterator_waits_for_more_questions(tmp_path):
    answered = threading.Event()

    def questions():
        yield "one"
        assert answered.wait(timeout=10)
        yield "two"

    def watch(report):
        if report.answered:
            answered.set()

    report = await arun_batch(ScriptedLLM(echo), questions(), tmp_path / "a.jsonl", watch=watch)
    assert report.answered == 2


async def test_a_batch_that_waits_for_questions_can_be_cancelled(tmp_path):
    waiting, goes_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    waited = []

    def questions():
        yield "one"
        loop.call_soon_threadsafe(waiting.set)
        waited.append(goes_on.wait(timeout=10))
        yield "two"

    work = arun_batch(ScriptedLLM(echo), questions(), tmp_path / "answers.jsonl")
    batch = asyncio.create_task(work)
    await waiting.wait()
    batch.cancel()
    await asyncio.wait([batch])
    assert batch.cancelled()
    assert waited == []
    goes_on.set()


async def test_a_batch_that_stopped_does_not_wait_for_more_questions(tmp_path):
    goes_on, waited = threading.Event(), []

    def questions():
        yield "one"
        waited.append(goes_on.wait(timeout=10))
        yield "two"

    llm, out = ScriptedLLM(RuntimeError("no")), tmp_path / "answers.jsonl"
    report = await arun_batch(llm, questions(), out, max_failures=1)
    assert report.stopped.startswith("1 questions failed")
    assert waited == []
    goes_on.set()


async def test_an_iterator_is_read_in_one_thread():
    def questions():
        with closing(sqlite3.connect(":memory:")) as base:  # which no other thread may use
            for (text,) in base.execute("VALUES ('one'), ('two'), ('three')"):
                yield text

    got = [one.text async for one in answers(ScriptedLLM(echo), questions(), in_flight=1)]
    assert got == ["one!", "two!", "three!"]


async def test_an_answer_that_nobody_can_read_is_a_failure_of_its_question_alone():
    class Odd(ScriptedLLM):
        async def achat(self, messages, **kwargs):
            response = await super().achat(messages, **kwargs)
            return None if messages[-1].content == "one" else response

    odd = Odd(echo)  # pyright: ignore[reportCallIssue]
    failed, fine = [one async for one in answers(odd, ["one", "two"], in_flight=1)]
    assert (failed.kind, fine.text) == (FailureKind.BAD_RESPONSE, "two!")
    assert failed.usage.estimated  # it was sent, and is billed perhaps


async def test_a_failure_is_an_answer_too_and_shows_no_key():
    llm = ScriptedLLM(RuntimeError("with api_key=sk-abcdefghijk"), "fine")
    failed, fine = [one async for one in answers(llm, ["one", "two"], in_flight=1)]
    assert (failed.kind, failed.text) == (FailureKind.ERROR, "")
    assert failed.error == "RuntimeError: with api_key=***"
    assert (fine.kind, fine.text, fine.usage) == (None, "fine", Usage(10, 5, requests=1))


async def test_an_llm_that_cancels_its_own_call_does_not_end_the_batch():
    llm = ScriptedLLM(asyncio.CancelledError(), "fine")
    cancelled, fine = [one async for one in answers(llm, ["one", "two"], in_flight=1)]
    assert (cancelled.kind, cancelled.question.id) == (FailureKind.CANCELLED, "1")
    assert fine.text == "fine"


async def test_an_empty_answer_is_a_failure():
    (answer,) = [one async for one in answers(ScriptedLLM(""), ["one"])]
    assert (answer.kind, answer.error) == (FailureKind.EMPTY, "the answer was empty")


class Sync(CustomLLM):
    """Its async methods call its sync ones; two of those must run at the same time."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="sync")

    def complete(self, *_, **__):
        both.wait(timeout=30)
        return CompletionResponse(text="both were asked")

    def stream_complete(self, *_, **__):
        raise NotImplementedError


both = threading.Barrier(2)


async def test_an_llm_that_is_not_async_is_asked_in_threads():
    got = [one.text async for one in answers(Sync(), ["one", "two"], in_flight=2)]
    assert got == ["both were asked"] * 2


def left_alone() -> RunError:
    """A run that failed because an endpoint's circuit is open, after a call that cost something."""
    error = RunError("nobody to ask", [Failure("a", "a", 1, FailureKind.CIRCUIT_OPEN, "later")])
    call = CallFinished(1, 1, "a", "proposer", "a", "scripted", 0, 1, usage=Usage(7, 1))
    error.result = MixtureResult((RunStarted("", 0, "", (), "", {"a": (1, 1)}), call))
    return error


@pytest.mark.parametrize("has_worked", [True, False])
async def test_a_provider_that_has_worked_is_waited_for(has_worked):
    before = ["fine"] if has_worked else []
    llm = ScriptedLLM(*before, left_alone(), left_alone(), "fine again")
    asker = Asker(llm, prices={"scripted": (1, 1)}, waits=[0, 0, 0])
    *_, last = [await asker.ask(Question("1", "Why?")) for _ in range(1 + has_worked)]
    if has_worked:
        assert (last.kind, last.text) == (None, "fine again")
        assert last.cost.usd == Decimal("0.000031")  # with what the runs before it took
        assert last.usage.total_tokens == 31
    else:
        assert last.kind == FailureKind.CIRCUIT_OPEN
        assert len(llm.asked) == 1


class Keyed(ScriptedLLM):
    api_key: str = "open sesame"


async def test_a_key_of_any_look_is_kept_out_of_a_failure():
    llm = Keyed(RuntimeError("open sesame is no good"))  # pyright: ignore[reportCallIssue]
    (answer,) = [one async for one in answers(llm, ["one"])]
    assert answer.error == "RuntimeError: *** is no good"


async def test_texts_records_and_questions_are_questions():
    asked = ["one", {"question": "two", "id": "b"}, Question("c", "three")]
    got = [(one.question.id, one.text) async for one in answers(ScriptedLLM(echo), asked)]
    assert got == [("1", "one!"), ("b", "two!"), ("c", "three!")]


async def test_messages_that_make_no_sense_fail_alone():
    asked = [Question("1", messages=[{"role": "me"}]), "fine"]
    failed, fine = [one async for one in answers(ScriptedLLM(echo), asked, in_flight=1)]
    assert failed.error.startswith("BatchError: a message has the role 'me'")
    assert fine.text == "fine!"


# --- with a file -------------------------------------------------------------------------------------------------


def test_a_batch_goes_on_where_it_was_and_asks_again_what_failed(tmp_path):
    out, texts = tmp_path / "answers.jsonl", ["one", "two", "three", "four"]
    first = ScriptedLLM(failing_at("two"))
    report = run_batch(first, texts, out, limit=3, in_flight=1)
    assert (report.total, report.answered, report.failed, report.skipped) == (4, 2, 1, 0)
    assert ids(out) == ["1", "3"]
    (failed,) = rows(tmp_path / "answers.failed.jsonl")
    assert (failed["id"], failed["error"]) == ("2", "error")
    assert failed["message"] == "RuntimeError: no two"
    second = ScriptedLLM(echo)
    report = run_batch(second, texts, out, in_flight=1)
    assert (report.answered, report.failed, report.skipped) == (2, 0, 2)
    assert asked(second) == ["two", "four"]
    assert ids(out) == ["1", "3", "2", "4"]
    assert [row["answer"] for row in rows(out)] == ["one!", "three!", "two!", "four!"]
    assert not (tmp_path / "answers.failed.jsonl").exists()


def test_a_row_says_who_answered_and_what_it_took(tmp_path):
    out = tmp_path / "answers.jsonl"
    mixture = MixtureOfAgents(
        llm=ScriptedLLM("the answer", model="writer"),
        proposers=[ScriptedLLM("a proposal", model="one"), ScriptedLLM(OSError(), model="two")],
        num_layers=1,
        prices={"one": (1, 1), "writer": (2, 2)},
        call=CallPolicy(retries=0),
    )
    question = Question("q1", "Why?", system="Be brief.", fields={"answer": "42"})
    report = run_batch(mixture, [question], out, details=True)
    (row,) = rows(out)
    assert row.pop("seconds") >= 0
    assert row.pop("degraded")[0].startswith("layer 1 has 1 of 2 proposals")
    calls = row.pop("calls")
    assert [(call["agent"], call["role"], call["failed"]) for call in calls] == [
        ("one", "proposer", False), ("two", "proposer", True), ("writer", "aggregator", False),
    ]  # fmt: skip
    assert [call["cost_usd"] for call in calls] == [0.000015, 0, 0.00003]
    assert [call["requests"] for call in calls] == [1, 1, 1]
    assert row == {
        "id": "q1",
        "question": "Why?",
        "system": "Be brief.",
        "fields": {"answer": "42"},
        "answer": "the answer",
        "model": "writer",
        "finish_reason": "stop",
        "input_tokens": 20,
        "output_tokens": 10,
        "requests": 3,
        "estimated": False,
        "cost_usd": 0.000045,
        "proposals": [{"layer": 1, "agent": "one", "text": "a proposal"}],
    }
    assert (report.degraded, report.cost.usd) == (1, Decimal("0.000045"))


def test_a_cost_that_is_not_known_is_null(tmp_path):
    report = run_batch(ScriptedLLM(), ["one"], tmp_path / "answers.jsonl")
    assert rows(tmp_path / "answers.jsonl")[0]["cost_usd"] is None
    assert str(report.cost) == "unknown (no price for scripted)"


def test_the_part_of_a_row_that_a_failure_of_the_machine_left_is_cut_off(tmp_path):
    out = tmp_path / "answers.jsonl"
    run_batch(ScriptedLLM(echo), ["one", "two"], out)
    whole = out.read_bytes()
    for left in (b'{"id": "3", "ques', b"\0" * 300):
        out.write_bytes(whole + left)
        report = run_batch(ScriptedLLM(echo), ["one", "two"], out)
        assert (report.mended, report.skipped) == (len(left), 2)
        assert out.read_bytes() == whole
    out.write_bytes(whole[:-1])  # an editor, maybe
    assert run_batch(ScriptedLLM(echo), ["one", "two"], out).skipped == 2
    assert out.read_bytes() == whole


def test_a_line_that_is_no_row_is_refused_and_left_alone(tmp_path):
    out = tmp_path / "answers.jsonl"
    run_batch(ScriptedLLM(echo), ["one", "two"], out)
    damaged = out.read_bytes().replace(b'"id"', b'"di"', 1)
    out.write_bytes(damaged)
    with pytest.raises(BatchError, match=r"answers\.jsonl, line 1: this is not a row of a batch"):
        run_batch(ScriptedLLM(echo), ["one", "two"], out)
    assert out.read_bytes() == damaged


def test_a_file_of_something_else_is_not_written_to(tmp_path):
    out = tmp_path / "answers.jsonl"
    out.write_text("mine\n")
    with pytest.raises(BatchError, match=r"no answers\.batch\.json says of what; name another"):
        run_batch(ScriptedLLM(), ["one"], out)
    assert out.read_text() == "mine\n"
    with pytest.raises(BatchError, match=r"written to a \.jsonl or a \.parquet file"):
        run_batch(ScriptedLLM(), ["one"], tmp_path / "answers.csv")


@pytest.mark.parametrize(
    ("llm", "changes"),
    [(ScriptedLLM(model="another"), {}), (ScriptedLLM(), {"system": "Be brief."})],
    ids=["model", "system"],
)
def test_answers_of_another_mixture_are_not_gone_on_with(tmp_path, llm, changes):
    out = tmp_path / "answers.jsonl"
    run_batch(ScriptedLLM(), ["one"], out)
    with pytest.raises(BatchError, match=r"(?s)of another mixture.*before: .*now: .*name another"):
        run_batch(llm, ["one", "two"], out, **changes)
    assert ids(out) == ["1"]


def test_an_llms_settings_are_a_part_of_what_answers_are_of():
    warm = OpenAI("gpt-4.1", temperature=1, api_key="a", timeout=60, max_retries=3)
    again = OpenAI("gpt-4.1", temperature=1, api_key="b", timeout=300, max_retries=0)
    cold = OpenAI("gpt-4.1", temperature=0, api_key="a", timeout=60, max_retries=3)
    elsewhere = OpenAI("gpt-4.1", temperature=1, api_key="a", api_base="http://localhost/v1")
    assert fingerprint(warm) == fingerprint(again)
    assert len({fingerprint(llm) for llm in (warm, cold, elsewhere)}) == 3
    assert fingerprint(warm).startswith("openai_llm gpt-4.1 ")


def test_where_nothing_is_answered_another_mixture_may_begin(tmp_path):
    out = tmp_path / "answers.jsonl"
    with pytest.raises(OSError, match="No such file"):
        run_batch(ScriptedLLM(), tmp_path / "questions.txt", out)
    assert run_batch(ScriptedLLM(model="another"), ["one"], out).answered == 1


def test_a_second_one_that_writes_is_refused(tmp_path):
    out = tmp_path / "answers.jsonl"
    with (
        Store(out, "a mixture"),
        pytest.raises(BatchError, match="another process is writing answers here"),
    ):
        run_batch(ScriptedLLM(), ["one"], out, fingerprint="a mixture")
    assert run_batch(ScriptedLLM(), ["one"], out, fingerprint="a mixture").answered == 1


def test_a_machine_that_shares_the_files_is_refused_while_another_writes(tmp_path):
    path = tmp_path / "answers.claim.json"
    first, second = (Claim(path, host, beat=0.02) for host in ("one", "two"))
    assert first.enter()
    assert not second.enter()
    first.leave()
    third = Claim(path, "three", beat=0.02)
    assert third.enter()
    third.leave()
    assert not path.exists()


def test_a_machine_that_is_gone_keeps_nobody_away(tmp_path):
    path = tmp_path / "answers.claim.json"
    path.write_text('{"host": "gone", "mark": "1", "changes": 3}')
    claim = Claim(path, "here", beat=0.02)
    assert claim.enter()
    claim.leave()


def test_a_machine_whose_place_another_has_taken_writes_nothing_more(tmp_path):
    with Store(tmp_path / "answers.jsonl", "one") as store:
        store._claim._mark = "of another"
        store._claim._beat = 0.0
        store._claim._keep()
        with pytest.raises(BatchError, match="another machine is writing answers here"):
            store.add(Answer(Question("1", "Why?"), "Because."))
    assert not (tmp_path / "answers.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "spark"}, 'say "local" or "ray"'),
        ({"engine": "ray", "via": "batch-api"}, "leave one out"),
        ({"workers": 2}, 'only engine = "ray" has workers'),
        ({"engine": "ray", "workers": 0}, "it must be at least 1"),
    ],
)
def test_an_engine_that_makes_no_sense_is_refused(tmp_path, settings, said):
    with pytest.raises(BatchError, match=said):
        run_batch(ScriptedLLM("fine"), ["Why?"], tmp_path / "answers.jsonl", **settings)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_its_engine_says_what_to_install(tmp_path):
    with pytest.raises(ImportError, match=r"llama-index-packs-mixture-of-agents\[ray\]"):
        run_batch(ScriptedLLM("fine"), ["Why?"], tmp_path / "answers.jsonl", engine="ray")


def test_a_question_that_was_changed_under_its_id_is_refused(tmp_path):
    out = tmp_path / "answers.jsonl"
    run_batch(ScriptedLLM(), ["one", "two"], out)
    llm = ScriptedLLM()
    with pytest.raises(BatchError, match="an answer to another question of the id 2"):
        run_batch(llm, ["one", "new", "two"], out)
    assert llm.asked == ()


@not_on_windows("it cannot limit the size of a file")
def test_a_full_disk_is_told_and_what_was_written_is_whole(tmp_path):
    out, texts = tmp_path / "answers.jsonl", [f"question {number}" for number in range(20)]
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            run_batch(ScriptedLLM(echo), texts, out, in_flight=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(out)
    before = ids(out)
    assert out.read_bytes().endswith(b"}\n")
    assert 5 < len(before) < 12
    llm = ScriptedLLM(echo)
    assert run_batch(llm, texts, out).skipped == len(before)
    assert sorted(ids(out), key=int) == [str(number) for number in range(1, 21)]
    assert len(llm.asked) == 20 - len(before)


@makes_links
def test_what_is_no_file_to_go_on_with_is_refused(tmp_path):
    out = tmp_path / "answers.jsonl"
    out.symlink_to(os.devnull)
    with pytest.raises(BatchError, match="not a file that a batch can continue"):
        run_batch(ScriptedLLM(echo), ["one"], out)


def test_it_stops_when_one_after_the_other_fails(tmp_path):
    llm = ScriptedLLM(RuntimeError("wrong key"))
    texts = [f"question {number}" for number in range(1000)]
    out = tmp_path / "answers.jsonl"
    report = run_batch(llm, texts, out, in_flight=2, max_failures=5)
    assert report.failed == len(llm.asked) < 8
    assert report.stopped == "5 questions failed one after the other: RuntimeError: wrong key"
    llm = ScriptedLLM(failing_at(*texts[::2]))  # every other one
    report = run_batch(llm, texts[:40], out, in_flight=2, max_failures=5)
    assert (report.answered, report.failed, report.stopped) == (20, 20, "")


def test_it_stops_before_it_costs_more_than_it_may(tmp_path):
    out, texts = tmp_path / "answers.jsonl", [f"question {number}" for number in range(100)]
    settings = {"prices": PRICES, "max_cost": 0.00021, "in_flight": 3}
    report = run_batch(ScriptedLLM(echo), texts, out, **settings)
    assert (report.answered, report.spent.usd) == (10, Decimal("0.0002"))
    assert report.stopped == (
        "the next question may cost $0.000020, as the dearest so far, and $0.000010 of $0.00021 is left"
    )
    assert run_batch(ScriptedLLM(echo), texts, out, **settings).answered == 0
    settings["max_cost"] = 0.0003
    assert run_batch(ScriptedLLM(echo), texts, out, **settings).answered == 5


def test_what_a_question_costs_is_learnt_from_one(tmp_path):
    out, texts = tmp_path / "answers.jsonl", ["one", "two", "three"]
    settings = {"prices": PRICES, "max_cost": 0.00002, "in_flight": 3}
    llm = ScriptedLLM("", echo)  # the first one fails, and is paid for
    report = run_batch(llm, texts, out, **settings)
    assert (report.failed, report.answered, len(llm.asked)) == (1, 0, 1)
    settings["max_cost"] = 0.00003
    assert run_batch(ScriptedLLM(echo), texts, out, **settings).answered == 0
    settings["max_cost"] = 0.00004
    llm = ScriptedLLM(echo)
    report = run_batch(llm, texts, out, **settings)
    assert (report.answered, len(llm.asked)) == (1, 1)


@pytest.mark.parametrize("bound", range(1, 12))
def test_where_answers_have_a_limit_a_batch_never_costs_more_than_it_may(tmp_path, bound):
    replies = cycle([*[answer_of_length(1)] * 3, answer_of_length(100)])
    llm = ScriptedLLM(lambda _: next(replies), num_output=100)
    texts = [f"question {number}" for number in range(40)]
    settings = {"prices": PRICES, "max_cost": bound / 5_000, "in_flight": 4}
    report = run_batch(llm, texts, tmp_path / "answers.jsonl", **settings)
    assert report.spent.at_least <= Decimal(str(bound / 5_000))
    assert report.answered == 40 or "the next question may cost up to $0.00020" in report.stopped


@pytest.mark.parametrize("kind", ["mixture", "llm"])
def test_where_the_cheapest_question_does_not_fit_nothing_is_asked(tmp_path, kind):
    llm = ScriptedLLM(echo)
    settings: dict = {"max_cost": 0.000001, "prices": PRICES}
    asks = llm
    if kind == "mixture":
        asks = MixtureOfAgents(llm=llm, proposers=[llm], num_layers=1, prices=PRICES)
    report = run_batch(asks, ["one", "two"], tmp_path / "answers.jsonl", **settings)
    assert llm.asked == ()
    assert re.fullmatch(
        r"the next question costs at least \$0\.0000\d+, and \$0\.0000010 of \$0\.0000010 is left",
        report.stopped,
    )


def test_what_is_answered_needs_no_bound_that_fits(tmp_path):
    out = tmp_path / "answers.jsonl"
    run_batch(ScriptedLLM(echo), ["one", "two"], out, prices=PRICES)
    report = run_batch(ScriptedLLM(echo), ["one", "two"], out, prices=PRICES, max_cost=0.0000001)
    assert (report.skipped, report.stopped) == (2, "")


def test_questions_that_cannot_be_asked_cost_nothing(tmp_path):
    broken = Question("1", messages=[{"role": "nobody", "content": "?"}])
    settings = {"prices": PRICES, "max_cost": 0.0000001}
    report = run_batch(ScriptedLLM(echo), [broken], tmp_path / "answers.jsonl", **settings)
    assert (report.failed, report.stopped) == (1, "")


def test_what_failed_questions_cost_is_not_forgotten(tmp_path):
    out = tmp_path / "answers.jsonl"
    settings = {"prices": PRICES, "in_flight": 1}
    run_batch(ScriptedLLM("fine", ""), ["one", "two"], out, **settings)
    for _ in range(3):
        report = run_batch(ScriptedLLM(""), ["one", "two"], out, **settings)
        assert report.cost.usd == Decimal("0.00002")
    assert report.spent.usd == Decimal("0.0001")
    assert run_batch(ScriptedLLM("fine"), ["one", "two"], out, limit=1, **settings).answered == 1


def test_without_prices_no_cost_can_be_kept_to(tmp_path):
    out, texts = tmp_path / "answers.jsonl", ["one", "two", "three"]
    report = run_batch(ScriptedLLM(echo), texts, out, max_cost=1, in_flight=1)
    assert report.stopped.startswith("what question 1 took cannot be told in US dollars")
    with pytest.raises(BatchError, match=r"what was spent before .* leave the bound out, or name"):
        run_batch(ScriptedLLM(echo), texts, out, max_cost=1)


@pytest.mark.parametrize("name", ["in_flight", "limit", "max_cost", "max_failures"])
def test_numbers_that_make_no_sense_are_refused(tmp_path, name):
    with pytest.raises(BatchError, match=f"{name} = -1: it must be at least"):
        run_batch(ScriptedLLM(), ["one"], tmp_path / "answers.jsonl", **{name: -1})
    with pytest.raises(BatchError, match=f"{name} = nan: it must be at least"):
        run_batch(ScriptedLLM(), ["one"], tmp_path / "answers.jsonl", **{name: float("nan")})
    with pytest.raises(ValueError, match="at least one question"):
        answers(ScriptedLLM(), ["one"], in_flight=0)


async def test_the_sync_way_works_where_a_loop_is_running(tmp_path):
    out = tmp_path / "answers.jsonl"
    mixture = MixtureOfAgents(
        llm=ScriptedLLM(echo), proposers=[ScriptedLLM("proposal")], num_layers=1
    )
    assert run_batch(mixture, ["one"], out).answered == 1
    assert (await arun_batch(mixture, ["one", "two"], out)).answered == 1
    assert [row["answer"] for row in rows(out)] == ["one!", "two!"]


def test_a_question_that_is_none_is_told_before_anything_is_asked(tmp_path):
    llm = ScriptedLLM()
    with pytest.raises(BatchError, match="question 2: the question is empty"):
        run_batch(llm, ["one", " "], tmp_path / "answers.jsonl")
    assert llm.asked == ()


def test_an_id_that_is_there_twice_is_refused_before_anything_is_asked(tmp_path):
    llm, twice = ScriptedLLM(), [Question("a", "one"), Question("b", "two"), Question("a", "three")]
    with pytest.raises(BatchError, match="question 1 and question 3 have the same id, 'a'"):
        run_batch(llm, twice, tmp_path / "answers.jsonl")
    assert llm.asked == ()
    with pytest.raises(BatchError, match="have the same id"):
        run_batch(llm, iter(twice), tmp_path / "answers.jsonl")
    assert len(llm.asked) == 2


# --- files of questions ------------------------------------------------------------------------------------------

FORMATS = {
    "questions.jsonl": '{"id": 7, "question": "Warum\\u2028?", "level": 3}\r\n\n'
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "?"},'
    ' {"role": "user", "content": [{"type": "text", "text": "\u00e9"}]}], "system": "Brief."}',
    "batch.jsonl": '{"custom_id": "c1", "method": "POST", "url": "/v1/chat/completions", "body":'
    ' {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Why?"}], "temperature": 0}}\n',
    "questions.txt": "\ufeffWhy?\r\n\r\n  \u00e9t\u00e9\u2028? \n",
    "questions.csv": '\ufeffid,question,level\r\n7,"Why,\nso?",3\r\n,How?,\r\n',
    "questions.tsv": "question\tlevel\nWhy, so?\t3\n",
    "empty.jsonl": "",
    "empty.txt": "",
    "empty.csv": "",
    "pandas.csv": ",question\n0,Why?\n",
    "padded.csv": "id,question\r\n1,Why?,\r\n2,How?,,\r\n,,,\r\n",
    "unnamed.csv": "id,question,,\r\n1,Why?,,\r\n",
    "semicolons.csv": "\ufeffid;question\r\n7;Why, so?\r\n",
    "tabs.csv": "\ufeffid\tquestion\r\n7\tWhy, so?\r\n",
    "commas.tsv": "id,question\n7,Why?\n",
    "pipes.csv": "id|question\n7|Why?\n",
    "sep.csv": "sep=;\r\nid;question\r\n;Why?\r\n",
    "spaced.csv": "id, question \n7,Why?\n",
    "alone.csv": "question\nWhy; so?\n",
}
READ = {
    "questions.jsonl": [("7", "Warum\u2028?", {"level": 3}), ("3", "\u00e9", {})],
    "batch.jsonl": [
        (
            "c1",
            "Why?",
            {
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "gpt-4.1", "temperature": 0},
            },
        )
    ],
    "questions.txt": [("1", "Why?", {}), ("3", "  \u00e9t\u00e9\u2028? ", {})],
    "questions.csv": [("7", "Why,\nso?", {"level": "3"}), ("4", "How?", {"level": ""})],
    "questions.tsv": [("2", "Why, so?", {"level": "3"})],
    "pandas.csv": [("2", "Why?", {})],
    "padded.csv": [("1", "Why?", {}), ("2", "How?", {})],
    "unnamed.csv": [("1", "Why?", {})],
    "semicolons.csv": [("7", "Why, so?", {})],
    "tabs.csv": [("7", "Why, so?", {})],
    "commas.tsv": [("7", "Why?", {})],
    "pipes.csv": [("7", "Why?", {})],
    "sep.csv": [("3", "Why?", {})],
    "spaced.csv": [("7", "Why?", {})],
    "alone.csv": [("2", "Why; so?", {})],
}


@pytest.mark.parametrize("name", FORMATS)
def test_questions_are_read_from_a_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FORMATS[name].encode())
    found = [(one.id, one.conversation()[-1].content, one.fields) for one in read_questions(path)]
    assert found == READ.get(name, [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["questions.csv", "tabs.csv", "questions.jsonl", "questions.txt"])
def test_questions_are_read_from_utf_16(tmp_path, name, encoding):
    path = tmp_path / name
    path.write_bytes(f"\ufeff{FORMATS[name].removeprefix(chr(0xFEFF))}".encode(encoding))
    found = [(one.id, one.conversation()[-1].content, one.fields) for one in read_questions(path)]
    assert found == READ[name]


def test_nan_and_infinity_of_a_file_are_null_in_the_answers(tmp_path):
    path, out = tmp_path / "q.jsonl", tmp_path / "answers.jsonl"
    path.write_text('{"question": "a", "level": NaN, "deep": [{"x": -Infinity}, 1e999, 1.5]}\n')
    run_batch(ScriptedLLM(echo), path, out)
    assert "NaN" not in out.read_text()
    assert rows(out)[0]["fields"] == {"level": None, "deep": [{"x": None}, None, 1.5]}
    assert run_batch(ScriptedLLM(echo), path, out).skipped == 1

    table, made = tmp_path / "q.parquet", tmp_path / "of_parquet.jsonl"
    pq.write_table(pa.table({"question": ["a"], "level": [float("nan")]}), table)
    run_batch(ScriptedLLM(echo), table, made)
    assert rows(made)[0]["fields"] == {"level": None}
    given = Question("a", "a", fields={"level": (float("inf"),)})
    assert b"Infinity" not in Answer(given).to_json()


def test_questions_are_read_from_parquet_and_answers_written_to_it(tmp_path):
    path, out = tmp_path / "questions.parquet", tmp_path / "answers.parquet"
    messages = [[{"role": "user", "content": "Hi"}], None]
    columns = {"id": [None, 5], "question": [None, "Why?"], "messages": messages, "level": [1, 2]}
    pq.write_table(pa.table(columns), path)
    report = run_batch(ScriptedLLM(echo), path, out, prices=PRICES, in_flight=1)
    assert report.answered == 2
    written = pq.read_table(out).to_pylist()
    assert [(row["id"], row["answer"], row["cost_usd"]) for row in written] == [
        ("1", "Hi!", 0.00002),
        ("5", "Why?!", 0.00002),
    ]
    assert json.loads(written[0]["messages"]) == messages[0]
    assert json.loads(written[1]["fields"]) == {"level": 2}
    assert run_batch(ScriptedLLM(echo), path, out, prices=PRICES).skipped == 2
    assert pq.read_table(out).to_pylist() == written


@pytest.fixture
def memory():
    """The file system ``memory://`` of fsspec, empty."""
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


@pytest.mark.parametrize("name", ["questions.jsonl", "questions.csv", "questions.parquet"])
def test_questions_are_read_from_an_address(memory, tmp_path, name):
    write = {
        ".jsonl": lambda: b'{"question": "Why?"}\n{"question": "How?"}\n',
        ".csv": lambda: "question\nWhy?\nHow?\n".encode("utf-16"),
        ".parquet": lambda: parquet_of(["Why?", "How?"]),
    }[Path(name).suffix]
    memory.pipe(f"/bucket/{name}", write())
    assert [one.text for one in read_questions(f"memory://bucket/{name}")] == ["Why?", "How?"]
    report = run_batch(ScriptedLLM("fine"), f"memory://bucket/{name}", tmp_path / "answers.jsonl")
    assert (report.total, report.answered) == (2, 2)


def parquet_of(questions: list[str]) -> bytes:
    content = BytesIO()
    pq.write_table(pa.table({"question": questions}), content)
    return content.getvalue()


def test_answers_are_copied_to_an_address_when_the_batch_ends(memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_batch(ScriptedLLM("fine"), ["Why?"], "memory://bucket/answers.jsonl")
    assert memory.cat("/bucket/answers.jsonl") == (tmp_path / "answers.jsonl").read_bytes()
    again = run_batch(ScriptedLLM("fine"), ["Why?", "How?"], "memory://bucket/answers.jsonl")
    assert (again.skipped, again.answered) == (1, 1)
    assert memory.cat("/bucket/answers.jsonl").count(b"\n") == 2


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("memory://bucket/none.jsonl", FileNotFoundError, r"memory://bucket/none\.jsonl"),
        ("no-such://bucket/questions.jsonl", BatchError, "it cannot be read"),
        ("memory://bucket/questions.doc", BatchError, "the end of its name says nothing"),
        (
            "no-such://me:pass-word@host/q.jsonl?sig=s3cret",
            BatchError,
            r"^no-such://host/q\.jsonl: ",
        ),
    ],
)
def test_an_address_that_makes_no_sense_is_told_without_its_secrets(
    memory, tmp_path, address, error, said
):
    with pytest.raises(error, match=said) as told:
        run_batch(ScriptedLLM("fine"), address, tmp_path / "answers.jsonl")
    assert "pass-word" not in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_mistake_in_a_file_at_an_address_is_told_with_its_line(memory, tmp_path):
    memory.pipe("/bucket/questions.jsonl", b'{"question": "Why?"}\n{}\n')
    with pytest.raises(BatchError, match=r"^memory://bucket/questions\.jsonl, line 2: "):
        run_batch(ScriptedLLM("fine"), "memory://bucket/questions.jsonl", tmp_path / "a.jsonl")


def test_messages_that_a_data_set_holds_as_columns_are_a_conversation(tmp_path):
    llm = ScriptedLLM("fine")
    columns = {"role": ["system", "user"], "content": ["Be short.", "Why?"]}
    run_batch(llm, [{"messages": columns}], tmp_path / "answers.jsonl")
    (request,) = llm.requests
    assert [(one.role.value, one.content) for one in request.messages] == [
        ("system", "Be short."),
        ("user", "Why?"),
    ]


def test_a_cell_of_a_csv_file_may_be_long(tmp_path):
    path = tmp_path / "questions.csv"
    path.write_text("question\n" + "x" * 200_000)
    assert [len(one.text) for one in read_questions(path)] == [200_000]


def test_what_is_no_parquet_file_is_told(tmp_path):
    path = tmp_path / "questions.parquet"
    path.write_text("no")
    with pytest.raises(BatchError, match="this is not a Parquet file"):
        list(read_questions(path))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.jsonl", b'{"question": "a"}\n{"question"', r"line 2: this is not JSON .*one object a"),
        ("q.jsonl", b"[1]", "line 1: this is not an object; write one that has"),
        ("q.jsonl", b'{"prompt": "a"}', r"line 1: there is no question; .*\(it has: prompt\)"),
        ("q.jsonl", b'{"question": " "}', "line 1: the question is empty"),
        ("q.jsonl", b'{"question": 5}', 'line 1: "question" is not text but 5'),
        ("q.jsonl", b'{"question": "a", "messages": [{}]}', "are both there; leave one out"),
        ("q.jsonl", b'{"question": "a", "id": 1.5}', "id 1.5 is neither a text nor a whole"),
        ("q.jsonl", b'{"messages": ["a"]}', "a message is 'a'; write"),
        ("q.jsonl", b'{"messages": [{"role": "me", "content": "a"}]}', "has the role 'me'"),
        ("q.jsonl", b'{"messages": [{"role": "user"}]}', "the content of a message is None"),
        ("q.jsonl", b'{"messages": [{"role": "user", "content": [{}]}]}', "neither .text. nor"),
        ("q.jsonl", b'{"question": "\\ud83d"}', "half a character"),
        ("q.txt", b"fine\n\xe9t\xe9\n", "line 2: this is not UTF-8"),
        ("q.csv", b"q,id\na,b\n", 'line 1: no column is named "question"; they are: q, id'),
        ("q.csv", b"question\na\nb,c\n", "line 3: it has more cells than"),
        ("q.csv", b'question\na\n"b\n', "line 3: .*are its quotes right"),
        ("q.csv", b'question,id\n"a\nb",1\n,2\n', "line 4: the question is empty"),
        ("q.csv", b"question\nfine\n\xe9t\xe9\n", "line 3: this is not UTF-8 .*CSV UTF-8"),
        ("q.csv", "question\na\n".encode("utf-16-le"), "line 1: .*perhaps UTF-16; save it as"),
        ("q.csv", b"\xff\xfeq", "this is broken UTF-16"),
        ("q.csv", b"question,\nWhy, so?\n", "line 2: it has more cells than"),
        ("q.csv", b"question,question\na,b\n", "more than one column is named"),
        ("q.jsonl", b'{"question": "a", "id": NaN}', "id nan is neither a text nor a whole"),
        ("q.jsonl", b'\n{"question": "a", "id": "3"}\n{"question": "b"}', "line 2 and line 3 have"),
        ("q.csv", b'question,id\n"a\nb",1\nc,1\n', "line 2 and line 4 have the same id, '1'"),
        ("q.doc", b"", "the end of its name says nothing that is known"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_bytes(text)
    llm = ScriptedLLM()
    with pytest.raises(BatchError, match=f"{name}.*{said}"):
        run_batch(llm, path, tmp_path / "answers.jsonl")
    assert llm.asked == ()


def test_a_system_prompt_is_for_questions_that_have_none():
    own = Question("1", "Why?", system="Own.")
    assert [m.content for m in own.conversation("Given.")] == ["Own.", "Why?"]
    assert [m.content for m in Question("2", "Why?").conversation("Given.")] == ["Given.", "Why?"]
    messages = [{"role": "system", "content": "Theirs."}, {"role": "user", "content": "Why?"}]
    both = Question("3", messages=messages).conversation("Given.")
    assert [m.content for m in both] == ["Theirs.", "Why?"]


CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "find", "arguments": '{"city": "Oslo"}'},
}


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
async def test_tool_calls_of_the_history_reach_the_llm_with_their_results(content):
    history = [
        {"role": "developer", "content": "Brief."},
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", **content, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "3 degrees"},
    ]
    llm = ScriptedLLM()
    (answer,) = [one async for one in answers(llm, [{"messages": history}])]
    assert answer.kind is None
    system, _, said, found = llm.asked[0].messages
    assert system.role == "system"
    (call,) = said.blocks
    assert isinstance(call, ToolCallBlock)
    assert (call.tool_call_id, call.tool_name, call.tool_kwargs) == ("c1", "find", {"city": "Oslo"})
    assert (found.content, found.additional_kwargs) == ("3 degrees", {"tool_call_id": "c1"})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "tool", "content": "3"}, "needs .tool_call_id."),
        ({"role": "user", "content": "a", "tool_calls": [CALL]}, "only .assistant. has"),
        ({"role": "assistant", "tool_calls": [{"id": "c1"}]}, "a tool call is"),
        ({"role": "assistant", "tool_calls": "find"}, "write a list of calls"),
        ({"role": "assistant", "content": None}, "the content of a message is None"),
    ],
)
def test_a_tool_call_that_makes_no_sense_is_refused(message, said):
    with pytest.raises(BatchError, match=said):
        Question("1", messages=[message]).conversation()


def test_an_image_of_a_message_reaches_the_llm():
    part = {"type": "image_url", "image_url": {"url": "http://localhost/a.png"}}
    (message,) = Question("1", messages=[{"role": "user", "content": [part]}]).conversation()
    assert str(getattr(message.blocks[0], "url", "")) == "http://localhost/a.png"


texts = some.text(some.characters(exclude_categories=()), max_size=20)
plain = some.recursive(
    some.none() | some.booleans() | some.integers() | texts, some.lists, max_leaves=5
)
questions = some.builds(
    Question, texts, texts, some.just(()), texts, some.dictionaries(texts, plain, max_size=3)
)
usages = some.builds(Usage, some.integers(0, 10**9), some.integers(0, 10**9))
costs = some.decimals(0, 1000, places=7).map(Cost)
good = some.builds(Answer, questions, texts, texts, texts, some.tuples(texts), usages, costs)
bad = some.builds(
    Answer,
    questions,
    usage=usages,
    cost=costs,
    kind=some.sampled_from(FailureKind),
    error=texts,
)


@given(good | bad)
@example(Answer(Question("1", "Why?"), "half a character: \ud83d"))
def test_a_row_tells_all_of_an_answer(answer):
    line = answer.to_json()
    assert b"\n" not in line
    again = answer_of(json.loads(line))
    assert again == answer
    assert again.question.digest() == answer.question.digest()


@not_on_windows("it counts handles in another way")
def test_only_so_many_files_stay_open(tmp_path):
    before = psutil.Process().num_fds()
    for _ in range(5):
        run_batch(ScriptedLLM(RuntimeError()), ["one"], tmp_path / "answers.jsonl")
    assert psutil.Process().num_fds() == before
