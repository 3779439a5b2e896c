"""The files of a batch: what is in them is kept, whatever comes, and counted once."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from row_files import ids, rows
from systems import makes_links

from llama_index.packs.mixture_of_agents.batch import Question, arun_batch, run_batch
from llama_index.packs.mixture_of_agents.batch.flow import in_turns
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

A_CENT = {"scripted": (1000.0, 0.0)}  # 10 tokens in: 0.01 dollars a question
TEXTS = [f"question {number}" for number in range(1, 101)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "answers.jsonl"


@pytest.fixture
def failures(tmp_path):
    return tmp_path / "answers.failed.jsonl"


# --- answers that are there when it ends -------------------------------------------------------------------------


async def test_answers_that_are_there_are_written_when_it_is_cancelled(out):
    gate, all_asked, answered = asyncio.Event(), asyncio.Event(), []

    async def reply(_):
        if len(llm.asked) == 3:
            all_asked.set()
        await gate.wait()
        answered.append("paid for")
        if len(answered) == 3:
            batch.cancel()  # before anybody has seen one of them
        return "paid for"

    llm = ScriptedLLM(reply)
    batch = asyncio.create_task(arun_batch(llm, TEXTS, out, in_flight=3))
    await all_asked.wait()
    gate.set()
    await asyncio.wait([batch])
    assert batch.cancelled()
    assert ids(out) == ["1", "2", "3"]
    assert (await arun_batch(ScriptedLLM(), TEXTS[:4], out)).skipped == 3


@makes_links
async def test_answers_that_are_there_are_written_when_another_one_cannot_be(out, failures):
    gate, all_asked = asyncio.Event(), asyncio.Event()

    async def reply(messages):
        if len(llm.asked) == 3:
            all_asked.set()
        await gate.wait()
        return "" if messages[-1].content == "question 1" else "paid for"

    failures.symlink_to(out.parent / "nowhere" / "file")
    llm = ScriptedLLM(reply)
    batch = asyncio.create_task(arun_batch(llm, TEXTS[:3], out, in_flight=3))
    await all_asked.wait()
    gate.set()
    with pytest.raises(FileNotFoundError, match=r"answers\.failed\.jsonl"):
        await batch
    assert sorted(ids(out)) == ["2", "3"]


async def test_who_watches_may_fall_over_and_what_is_in_flight_is_written(out):
    both_asked, told = asyncio.Event(), asyncio.Event()

    async def reply(messages):
        if len(llm.asked) == 2:
            both_asked.set()
        await (both_asked if messages[-1].content == "question 1" else told).wait()
        return "paid for"

    def watch(report):
        if report.answered:
            told.set()
            raise BrokenPipeError("nobody looks")

    llm = ScriptedLLM(reply)
    with pytest.raises(BrokenPipeError, match="nobody looks"):
        await arun_batch(llm, TEXTS, out, in_flight=2, watch=watch)
    assert ids(out) == ["1", "2"]
    assert len(llm.asked) == 2


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failure_stays_in_its_file_until_its_question_is_asked_again(out, failures):
    run_batch(ScriptedLLM(RuntimeError("no")), TEXTS[:3], out, in_flight=1)
    with pytest.raises(BatchError, match="the question is empty"):
        run_batch(ScriptedLLM(), ["question 1", " "], out)
    assert ids(failures) == ["1", "2", "3"]
    run_batch(ScriptedLLM("fine"), TEXTS[:3], out, limit=1)
    assert ids(failures) == ["2", "3"]
    run_batch(ScriptedLLM(""), TEXTS[:3], out, limit=1)
    assert [(row["id"], row["error"]) for row in rows(failures)] == [("3", "error"), ("2", "empty")]
    run_batch(ScriptedLLM("fine"), TEXTS[:3], out)
    assert not failures.exists()


@pytest.mark.parametrize("moment", ["before it is told", "before it is put in place", "after that"])
def test_what_failures_cost_is_counted_once_wherever_tidying_was_ended(out, failures, moment):
    run_batch(ScriptedLLM("fine", ""), TEXTS[:2], out, prices=A_CENT, in_flight=1)
    told, tidied = out.with_suffix(".batch.json"), Path(f"{failures}.part")
    if moment == "before it is told":
        tidied.write_text('{"id": "2", "ques')
    else:
        gone = {"usd": "0.01", "unpriced": []}
        told.write_text(json.dumps({**json.loads(told.read_text()), "failures_cost": gone, "tidied": True}))  # fmt: skip
        if moment == "before it is put in place":
            tidied.write_text("")
        else:
            failures.unlink()
    for _ in range(2):
        report = run_batch(ScriptedLLM("fine"), TEXTS[:2], out, prices=A_CENT)
        assert report.spent.usd == Decimal("0.03")
    assert not failures.exists()
    assert not tidied.exists()


def test_failures_that_cost_nothing_do_not_make_answers_look_cheap(out):
    llm = ScriptedLLM(*[RuntimeError("refused")] * 15, "fine")
    report = run_batch(llm, TEXTS, out, prices=A_CENT, max_cost=0.02, in_flight=16)
    assert (report.failed, report.answered, report.spent.usd) == (15, 2, Decimal("0.02"))


def test_failures_that_cost_something_do_not_make_answers_look_dear(out):
    first = ScriptedLLM("fine", "")
    report = run_batch(first, TEXTS[:20], out, prices=A_CENT, in_flight=1, max_failures=0)
    assert (report.answered, report.failed, report.spent.usd) == (1, 19, Decimal("0.20"))
    report = run_batch(ScriptedLLM("fine"), TEXTS, out, prices=A_CENT, max_cost=1.0)
    assert (report.answered, report.spent.usd) == (80, 1)


# --- what is no file of a batch ----------------------------------------------------------------------------------


def test_a_parquet_file_of_something_else_is_not_written_over(tmp_path):
    out = tmp_path / "table.parquet"
    pq.write_table(pa.table({"question": ["Why?"]}), out)
    before = out.read_bytes()
    for questions in (out, ["Why?"]):
        with pytest.raises(BatchError, match=r"no table\.batch\.json says of what; name another"):
            run_batch(ScriptedLLM(), questions, out)
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", ["answers.parquet", "answers.jsonl", "answers.failed.jsonl"])
def test_a_batch_does_not_ask_what_it_has_written(tmp_path, name):
    own, llm = tmp_path / name, ScriptedLLM()
    run_batch(ScriptedLLM("fine", ""), TEXTS[:2], tmp_path / "answers.parquet", in_flight=1)
    before = own.read_bytes()
    with pytest.raises(BatchError, match=f"{name}: the answers of .* are written to this file"):
        run_batch(llm, own, tmp_path / "answers.parquet")
    assert own.read_bytes() == before
    assert llm.asked == ()


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("answers.batch.json", "failures_cost", "x", "json: this is not a file of a batch"),
        ("answers.batch.json", '"usd": "0"', '"usd": "x"', "json: this is not a file of a batch"),
        ("answers.jsonl", '"cost_usd": null', '"cost_usd": "x"', "line 1: this is not a row"),
    ],
)
def test_odd_values_in_its_files_are_told(out, name, before, after, said):
    run_batch(ScriptedLLM(), TEXTS[:1], out)
    path = out.with_name(name)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(BatchError, match=said):
        run_batch(ScriptedLLM(), TEXTS[:2], out)


def test_a_folder_in_the_place_of_its_failures_is_told(out, failures):
    failures.mkdir()
    with pytest.raises(
        BatchError, match=r"answers\.failed\.jsonl: this is not a file that a batch"
    ):
        run_batch(ScriptedLLM(""), TEXTS[:1], out)


def test_a_question_with_a_text_beside_its_messages_is_the_same_again(out):
    questions = [Question("1", "beside", [{"role": "user", "content": "Why?"}])]
    run_batch(ScriptedLLM(), questions, out)
    assert run_batch(ScriptedLLM(), questions, out).skipped == 1


def test_half_a_character_is_written_to_parquet_as_a_mark_of_its_place(tmp_path):
    out = tmp_path / "answers.parquet"
    question = Question("\ud83d", "Why?", fields={"half": "\ud83d"})
    run_batch(ScriptedLLM("half \ud83d, whole \ud83d\ude00"), [question], out)
    (row,) = pq.read_table(out).to_pylist()
    assert (row["id"], row["answer"]) == ("\ufffd", "half \ufffd, whole \U0001f600")
    assert json.loads(row["fields"]) == {"half": "\ufffd"}
    assert not list(tmp_path.glob("*.part"))
    assert run_batch(ScriptedLLM(), [question], out).skipped == 1


async def test_others_have_their_turn_while_much_is_read():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert [number async for number in in_turns(range(2000))] == list(range(2000))
    assert turns > 3
    task.cancel()
