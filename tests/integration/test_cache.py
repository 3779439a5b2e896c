"""Answers that were paid for once, over HTTP and in several processes."""

import inspect
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ALL_WAYS, QUESTION, ask
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.storage.kvstore import SimpleKVStore
from programs import run_python

from llama_index.packs.mixture_of_agents import (
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents.cache import SqliteKVStore, cached
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.recipe import Recipe
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure


def recipe(providers: SimulatedProviders, **policies: Any) -> Recipe:
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    return moa(proposers, providers.openai("gpt-4.1"), layers=2, **policies)


@pytest.fixture
def store() -> SimpleKVStore:
    return SimpleKVStore()


@pytest.mark.parametrize("first", ALL_WAYS)
async def test_the_same_question_is_answered_without_a_request_and_costs_nothing(
    providers: SimulatedProviders, tmp_path: Path, first: str
):
    file = tmp_path / "answers.sqlite3"
    paid = await ask(cached(recipe(providers), file), first)
    assert providers.counts().arrived == 5
    assert not any(call.cached for call in paid.calls)
    for way in ALL_WAYS:
        free = await ask(cached(recipe(providers), file), way)
        assert free.answer == paid.answer
        assert [c.proposals for c in free.calls] == [c.proposals for c in paid.calls]
        assert all(call.cached and call.attempts == 0 for call in free.calls)
        assert free.usage == Usage()
        assert free.cost.usd == 0
        assert "cached" in free.summary()
    assert providers.counts().arrived == 5


@pytest.mark.parametrize(
    "changed", ["question", "temperature", "model", "system", "kwargs", "image"]
)
async def test_whatever_changes_the_answer_is_asked_anew(
    providers: SimulatedProviders, store: SimpleKVStore, changed: str
):
    def once(number: int) -> tuple[Recipe, list[ChatMessage]]:
        of = {changed: number}
        model = ("gpt-4.1-mini", "gpt-4o")[of.get("model", 0)]
        proposer = Proposer(
            providers.openai(model),
            name="p",
            system_prompt=("be brief", "be long")[of.get("system", 0)],
            kwargs={"seed": of.get("kwargs", 0)},
        )
        text = TextBlock(text=f"question {of.get('question', 0)}")
        image = ImageBlock(
            image=bytes([137, 80, 78, 71, of.get("image", 0)]), image_mimetype="image/png"
        )
        blocks = [text, image] if changed == "image" else [text]
        temperature = of.get("temperature", 0) / 10
        made = moa([proposer], providers.openai("gpt-4.1"), layers=1, temperature=temperature)
        return made, [ChatMessage(role="user", blocks=blocks)]

    for number in (0, 1, 0, 1):
        made, question = once(number)
        await ask(cached(made, store), asked=question)
    models = [record.model for record in providers.log()]
    assert len([model for model in models if model != "gpt-4.1"]) == 2


async def test_settings_of_the_llm_object_count_and_its_key_does_not(
    providers: SimulatedProviders, store: SimpleKVStore
):
    settings = [
        {},
        {"additional_kwargs": {"user": "a"}},
        {"api_key": "another"},
        {"timeout": 7.0},
        {"max_retries": 9},
    ]
    for more in settings:
        llm = providers.openai("gpt-4.1-mini", **more)
        await ask(cached(moa([llm], providers.openai("gpt-4.1"), layers=1), store))
    assert providers.counts("gpt-4.1-mini").arrived == 2


async def test_samples_and_equal_proposers_stay_different_answers(
    providers: SimulatedProviders, store: SimpleKVStore
):
    many = [f"answer {number}" for number in range(99)]
    providers.configure("mistral-small-latest", reply=many)
    providers.configure("gpt-4o", reply=many)
    proposers = [
        Proposer(providers.mistral("mistral-small-latest"), samples=3),
        providers.openai("gpt-4o"),
        providers.openai("gpt-4o"),
    ]
    made = moa(proposers, providers.openai("gpt-4.1"), layers=1)
    paid = await ask(cached(made, store))
    texts = [proposal.text for proposal in paid.proposals]
    assert len(set(texts[:3])) == 3
    assert texts[3] != texts[4]
    free = await ask(cached(made, store))
    assert [proposal.text for proposal in free.proposals] == texts
    assert all(call.cached for call in free.calls)


async def test_failures_are_not_kept(providers: SimulatedProviders, store: SimpleKVStore):
    providers.configure("gpt-4.1-mini", script=[failure(401)])
    made = moa(
        [providers.openai("gpt-4.1-mini"), providers.openai("gpt-4o")],
        providers.openai("gpt-4.1"),
        layers=1,
    )
    assert (await ask(cached(made, store))).failures
    again = await ask(cached(made, store))
    assert not again.failures
    assert [call.cached for call in again.calls] == [False, True, False]


def test_no_key_and_no_address_of_the_caller_is_in_the_store(
    providers: SimulatedProviders, tmp_path: Path
):
    key = "sk-very-secret-key-1234567890"
    file = tmp_path / "answers.sqlite3"
    llm = providers.openai("gpt-4.1", api_key=key)
    mixture = cached(moa([llm], llm), file)  # while it is there, SQLite does not tidy its files up
    mixture.chat(QUESTION)
    stored = b"".join(part.read_bytes() for part in tmp_path.iterdir())
    assert b"simulated gpt-4.1" in stored
    assert key.encode() not in stored
    assert b"127.0.0.1" not in stored


def fill(path: Path, name: str) -> None:
    store = SqliteKVStore(path)
    for number in range(100):
        store.put(f"{name}-{number}", {"n": number})
        assert store.get(f"{name}-{number}") == {"n": number}
    store.close()


def forked(path: Path, name: str) -> Callable[[], int | None]:
    process = multiprocessing.get_context("fork").Process(target=fill, args=(path, name))
    process.start()

    def wait() -> int | None:
        process.join()
        return process.exitcode

    return wait


def started(path: Path, name: str) -> Callable[[], int | None]:
    code = f"""
import sys
from pathlib import Path
from {SqliteKVStore.__module__} import SqliteKVStore
{inspect.getsource(fill)}
fill(Path(sys.argv[1]), sys.argv[2])
"""
    return subprocess.Popen([sys.executable, "-c", code, str(path), name]).wait


@pytest.mark.parametrize("start", [started, forked])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking is what is tried
def test_several_processes_share_an_sqlite_file(tmp_path: Path, start: Any):
    path = tmp_path / "x.sqlite3"
    ours = SqliteKVStore(path)
    ours.put("before", {"n": 0})
    others = [start(path, f"p{n}") for n in range(3)]
    for number in range(100):
        ours.put(f"ours-{number}", {"n": number})
    assert [wait() for wait in others] == [0, 0, 0]
    assert len(ours.get_all()) == 401
    ours.close()


CLOSE_WHILE_READ = """
import sqlite3, sys, threading
from llama_index.packs.mixture_of_agents.cache import SqliteKVStore
ended = []
def read(store, begun):
    try:
        while True:
            store.get_all()
            begun.set()
    except sqlite3.ProgrammingError:
        ended.append(store)
for number in range(30):
    store = SqliteKVStore(f"{sys.argv[1]}/{number}.sqlite")
    for key in range(50):
        store.put(str(key), {"text": "x" * 500})
    begun = [threading.Event() for _ in range(4)]
    readers = [threading.Thread(target=read, args=(store, one)) for one in begun]
    for reader in readers:
        reader.start()
    for one in begun:
        one.wait()
    store.close()
    for reader in readers:
        reader.join()
print(len(ended))
"""


def test_a_store_that_is_closed_while_threads_read_it_ends_their_reading_and_not_the_process(
    tmp_path: Path,
) -> None:
    done = run_python("-c", CLOSE_WHILE_READ, str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "120\n"), done.stderr
