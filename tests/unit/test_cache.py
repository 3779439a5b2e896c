"""Answers that were paid for once: what counts as the same, what never does, and where they are kept."""

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.tools import FunctionTool
from members import add

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    MixtureOfAgents,
    moa,
)
from llama_index.packs.mixture_of_agents.cache import SqliteKVStore, cached
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


@pytest.fixture
def store() -> SimpleKVStore:
    return SimpleKVStore()


def subtract(a: int, b: int) -> int:
    """Subtract two numbers."""
    return a - b


async def test_tool_calls_are_kept_and_other_tools_are_another_question(store: SimpleKVStore):
    call = ToolSelection(tool_id="call-1", tool_name="add", tool_kwargs={"a": 2, "b": 3})
    boss = ScriptedLLM(call)
    mixture = cached(moa([ScriptedLLM("use add", model="m")], boss, layers=1), store)
    tools = [FunctionTool.from_defaults(add)]
    for _ in range(2):
        response = await mixture.achat_with_tools(tools, user_msg="2 + 3?")
        assert mixture.get_tool_calls_from_response(response) == [call]
    assert len(boss.asked) == 1
    await mixture.achat_with_tools(
        [*tools, FunctionTool.from_defaults(subtract)], user_msg="2 + 3?"
    )
    assert len(boss.asked) == 2


async def test_two_mixtures_as_members_are_told_apart_by_what_is_in_them(store: SimpleKVStore):
    inner = [ScriptedLLM(f"I am {name}", model=name) for name in ("a", "b")]
    answers = [
        (await ask(cached(moa([MixtureOfAgents(moa([one], one))], ScriptedLLM(), layers=1), store)))
        .proposals[0]
        .text
        for one in inner
    ]
    assert answers == ["I am a", "I am b"]


async def test_a_store_that_fails_does_not_break_the_run(caplog: pytest.LogCaptureFixture):
    class Broken(SimpleKVStore):
        async def aget(self, *_: Any, **__: Any) -> Any:
            raise ConnectionError("down")

        async def aput(self, *_: Any, **__: Any) -> None:
            raise ConnectionError("down")

    mixture = cached(moa([ScriptedLLM("a")], ScriptedLLM("b")), Broken())
    assert (await ask(mixture)).answer == "b"
    assert "the cache could not be read: ConnectionError('down')" in caplog.text


async def test_what_is_no_entry_of_ours_is_asked_anew(
    store: SimpleKVStore, caplog: pytest.LogCaptureFixture
):
    boss = ScriptedLLM("b")
    mixture = cached(moa([ScriptedLLM("a", model="m")], boss, layers=1), store)
    await ask(mixture)
    for key in store.get_all("mixture_of_agents"):
        store.put(key, {"something": "else"}, "mixture_of_agents")
    assert (await ask(mixture)).answer == "b"
    assert len(boss.asked) == 2


async def test_the_aggregators_name_is_its_own_even_where_its_answer_is_not_new(
    store: SimpleKVStore,
):
    for name in ("one", "two"):
        boss = Aggregator(ScriptedLLM("b", model="boss"), name=name)
        result = await ask(cached(moa([ScriptedLLM("a")], boss, layers=1), store))
        assert result.answered_by == name
        assert result.calls[-1].proposals[0].agent == name
    assert result.calls[-1].cached


def test_the_sqlite_store_is_a_key_value_store(tmp_path: Path):
    store = SqliteKVStore(tmp_path / "x.sqlite3")
    store.put("a", {"n": 1, "text": "\u00e4\u2028"}, "c1")
    store.put("a", {"n": 2}, "c2")
    store.put_all([("b", {"n": 3})], "c1", batch_size=1)
    store.put("b", {"n": 4}, "c1")
    assert store.get("a", "c1") == {"n": 1, "text": "\u00e4\u2028"}
    assert store.get("missing", "c1") is None
    assert store.get_all("c1") == {"a": {"n": 1, "text": "\u00e4\u2028"}, "b": {"n": 4}}
    assert store.delete("a", "c1")
    assert not store.delete("a", "c1")
    assert store.get("a", "c2") == {"n": 2}
    store.close()
    again = SqliteKVStore(str(tmp_path / "x.sqlite3"))
    assert again.get("b", "c1") == {"n": 4}
    again.close()


async def test_the_sqlite_store_has_the_same_in_async(tmp_path: Path):
    store = SqliteKVStore(tmp_path / "x.sqlite3")
    await store.aput("a", {"n": 1})
    assert await store.aget("a") == {"n": 1}
    assert await store.aget_all() == {"a": {"n": 1}}
    assert await store.adelete("a")
    assert await store.aget("a") is None
    store.close()


def test_threads_that_read_at_once_each_get_what_they_asked_for(tmp_path: Path):
    store = SqliteKVStore(tmp_path / "x.sqlite3")
    keys = [f"k{number}" for number in range(8)]
    for key in keys:
        store.put(key, {"key": key})
    asked = keys * 500
    with ThreadPoolExecutor(8) as threads:
        assert [found and found["key"] for found in threads.map(store.get, asked)] == asked


def use(store: SqliteKVStore) -> None:
    store.put("child", {"n": 2})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_store_that_is_carried_over_a_fork_goes_on_in_both(tmp_path: Path):
    store = SqliteKVStore(tmp_path / "x.sqlite3")
    store.put("parent", {"n": 1})
    child = multiprocessing.get_context("fork").Process(target=use, args=(store,))
    child.start()
    child.join()
    assert child.exitcode == 0
    store.put("parent again", {"n": 3})
    assert set(store.get_all()) == {"parent", "child", "parent again"}
    store.close()


def test_what_is_no_sqlite_file_is_refused(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteKVStore(file)


async def test_an_answer_from_the_store_says_what_it_took_when_it_was_made(store: SimpleKVStore):
    mixture = MixtureOfAgents(
        moa([ScriptedLLM(model="one")], ScriptedLLM(model="two"), layers=1, prices={"one": (1, 1)})
    )
    made = await ask(cached(mixture, store))
    again = await ask(cached(mixture, store))
    assert [call.spared for call in again.calls] == [call.usage for call in made.calls]
    assert [call.spared_seconds for call in again.calls] == [call.elapsed for call in made.calls]
    assert [call.spared for call in made.calls] == [Usage(), Usage()]
    assert again.usage == Usage()
