"""Many questions by the providers' batch APIs: collected, waited for, and never paid for twice."""

import asyncio
import gc
import json
import sqlite3
import sys
import threading
import tracemalloc
from collections import Counter
from decimal import Decimal

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatStartEvent
from llama_index_instrumentation import get_dispatcher

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.batch import arun_batch, run_batch
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.recipe import Aggregator, Layer, Proposer, Recipe
from llama_index.packs.mixture_of_agents.selection import Rank
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

DAY = 86_400
BY_BATCHES = {"via": "batch-api"}
QUESTIONS = [f"What is {number} + 1?" for number in range(8)]


def of_two(providers, **policies) -> MixtureOfAgents:
    """An OpenAI and a Mistral proposer in one layer, and an aggregator."""
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral()]
    aggregator = providers.openai("gpt-4.1")
    return MixtureOfAgents(llm=aggregator, proposers=proposers, num_layers=1, **policies)


def rows(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["id"]: row for row in found}


def chats(providers):
    """The requests to models, those for files and batches left out."""
    return [record for record in providers.log() if record.model != "batches"]


def test_the_answers_are_those_of_direct_requests_and_cost_half(providers, tmp_path):
    direct, batched = tmp_path / "direct.jsonl", tmp_path / "batched.jsonl"
    first = run_batch(of_two(providers), QUESTIONS, direct)
    assert not any(record.batch for record in chats(providers))
    providers.reset()
    second = run_batch(of_two(providers), QUESTIONS, batched, **BY_BATCHES)
    assert (first.answered, second.answered) == (8, 8)
    answers = [
        {name: row["answer"] for name, row in rows(path).items()} for path in (direct, batched)
    ]
    assert answers[0] == answers[1]
    assert all(record.batch for record in chats(providers))
    made = Counter((batch["model"], batch["rows"]) for batch in providers.batches())
    assert made == {("gpt-4.1-mini", 8): 1, ("mistral-small-latest", 8): 1, ("gpt-4.1", 8): 1}
    assert second.cost.at_least == pytest.approx(first.cost.at_least / 2)
    assert sorted(path.name for path in tmp_path.iterdir() if "batched" in path.name) == [
        "batched.batch.json",
        "batched.jsonl",
    ]


async def test_layers_judges_and_selections_work_as_ever(providers, tmp_path):
    providers.configure("gpt-4o", reply="Response 2 > Response 1")
    mini, small = providers.openai("gpt-4.1-mini"), providers.mistral()
    layers = [
        Layer([Proposer(mini, samples=2), Proposer(small)], deadline=1, grace=0),
        Layer([mini, small], select=Rank(providers.openai("gpt-4o"), 1)),
    ]
    call = CallPolicy(timeout=0.5, hedge_after=0.5)
    recipe = Recipe(layers, Aggregator(providers.openai("gpt-4.1")), call=call, deadline=2)
    report = await arun_batch(
        MixtureOfAgents(recipe), QUESTIONS[:3], tmp_path / "answers.jsonl", **BY_BATCHES
    )
    assert (report.answered, report.degraded) == (3, 0)
    assert all(record.batch for record in chats(providers))
    made = Counter(batch["model"] for batch in providers.batches())
    assert made == {"gpt-4.1-mini": 2, "mistral-small-latest": 2, "gpt-4o": 1, "gpt-4.1": 1}


class Started(BaseEventHandler):
    """Counts the calls that LlamaIndex reports."""

    calls: int = 0

    def handle(self, event, **_):
        self.calls += isinstance(event, LLMChatStartEvent)


def test_tracers_see_each_call_once(providers, tmp_path):
    seen = {}
    for via in ("direct", "batch-api"):
        handler = Started()
        get_dispatcher().add_event_handler(handler)
        try:
            run_batch(of_two(providers), QUESTIONS[:2], tmp_path / f"{via}.jsonl", via=via)
        finally:
            get_dispatcher().event_handlers.remove(handler)
        seen[via] = handler.calls
    assert seen["batch-api"] == seen["direct"] > 0


def test_a_callback_handler_of_a_mixture_hears_of_each_question(providers, tmp_path):
    heard = TokenCountingHandler()
    mixture = of_two(providers)
    mixture.callback_manager = CallbackManager([heard])
    run_batch(mixture, QUESTIONS[:3], tmp_path / "answers.jsonl", **BY_BATCHES)
    assert len(heard.llm_token_counts) == 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has larger frames")
def test_a_run_that_waits_takes_less_than_20_kib_beside_its_texts(providers, tmp_path):
    mixture = MixtureOfAgents(
        llm=providers.openai("gpt-4.1"), proposers=[providers.openai("gpt-4.1-mini")], num_layers=1
    )
    run_batch(mixture, QUESTIONS, tmp_path / "before.jsonl", **BY_BATCHES)
    providers.configure("*", batch_seconds=DAY)
    asked, found = [f"What is {number} + 1?" for number in range(300)], []

    def watch(report):
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        elif report.batches and not found:
            gc.collect()
            found.append(tracemalloc.get_traced_memory()[0] / len(asked) / 1024)
            tracemalloc.stop()
            providers.configure("*", batch_seconds=0)
            providers.advance(DAY)
            raise ValueError("it has seen enough")

    settings = {"in_flight": 300, "watch": watch, **BY_BATCHES}
    with pytest.raises(ValueError, match="enough"):
        run_batch(mixture, asked, tmp_path / "answers.jsonl", **settings)
    assert 5 < found[0] < 20


def test_a_full_batch_is_sent_off_before_the_rest_is_there(providers, tmp_path):
    llm = providers.openai("gpt-4.1")
    run_batch(llm, QUESTIONS, tmp_path / "answers.jsonl", in_flight=8, batch_size=3, **BY_BATCHES)
    assert sorted(batch["rows"] for batch in providers.batches()) == [2, 3, 3]


async def test_what_expired_is_asked_again_alone(providers, tmp_path):
    providers.configure("gpt-4.1", echo=True, batch_seconds=2 * DAY)
    llm, out = providers.openai("gpt-4.1"), tmp_path / "answers.jsonl"
    running = asyncio.create_task(arun_batch(llm, QUESTIONS, out, **BY_BATCHES))
    await providers.await_for("batches", closed=3, timeout=30)  # a list, a file, its batch
    await asyncio.to_thread(providers.advance, DAY)
    providers.configure("gpt-4.1", echo=True)
    assert (await running).answered == 8
    assert [batch["state"] for batch in providers.batches()] == ["expired", "answered"]
    assert [batch["rows"] for batch in providers.batches()] == [8, 4]
    asked = Counter(record.body["messages"][-1]["content"] for record in chats(providers))
    assert asked == dict.fromkeys(QUESTIONS, 1)


@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_a_request_that_failed_is_asked_again_alone(providers, tmp_path, provider):
    llm = getattr(providers, provider)()
    providers.configure(llm.model, echo=True, script=[failure(429), failure(500)])
    mixture = MixtureOfAgents(Recipe([llm], None, call=CallPolicy(retries=3, backoff=0.1)))
    report = run_batch(mixture, QUESTIONS, tmp_path / "answers.jsonl", **BY_BATCHES)
    assert (report.answered, report.degraded) == (8, 0)
    assert [batch["rows"] for batch in providers.batches()] == [8, 2]


@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_a_refused_parameter_is_left_out_in_the_next_batch(providers, tmp_path, provider):
    llm = getattr(providers, provider)()
    providers.configure(llm.model, echo=True, refuses=["temperature"])
    mixture = MixtureOfAgents(Recipe([llm], None))
    report = run_batch(mixture, QUESTIONS[:2], tmp_path / "answers.jsonl", **BY_BATCHES)
    assert report.answered == 2
    assert "temperature" not in chats(providers)[-1].body


def test_a_batch_that_is_refused_for_its_size_is_split(providers, tmp_path):
    providers.configure("gpt-4.1", echo=True, batch_rows=3)
    llm = providers.openai("gpt-4.1")
    report = run_batch(llm, QUESTIONS, tmp_path / "answers.jsonl", **BY_BATCHES)
    assert report.answered == 8
    ended = [batch for batch in providers.batches() if batch["state"] == "answered"]
    assert [batch["rows"] for batch in ended] == [2, 2, 2, 2]
    assert len(chats(providers)) == 8


def test_a_batch_that_is_refused_for_what_is_enqueued_waits(providers, tmp_path):
    providers.configure("gpt-4.1", echo=True, batch_enqueued=4)
    llm = providers.openai("gpt-4.1")
    report = run_batch(
        llm, QUESTIONS, tmp_path / "a.jsonl", batch_size=4, in_flight=8, **BY_BATCHES
    )
    assert report.answered == 8
    states = Counter(batch["state"] for batch in providers.batches())
    assert states["answered"] == 2
    assert states["failed"] >= 1
    assert len(chats(providers)) == 8


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_batch_api_that_is_down_is_waited_for(providers, tmp_path, status):
    providers.configure("batches", script=[failure(status)] * 3)
    llm = providers.openai("gpt-4.1")
    assert run_batch(llm, ["Why?"], tmp_path / "answers.jsonl", **BY_BATCHES).answered == 1
    assert len(chats(providers)) == 1


async def test_a_batch_that_the_provider_has_lost_is_asked_again(providers, tmp_path):
    providers.configure("gpt-4.1", echo=True, batch_seconds=DAY)
    llm, out = providers.openai("gpt-4.1"), tmp_path / "answers.jsonl"
    running = asyncio.create_task(arun_batch(llm, QUESTIONS, out, **BY_BATCHES))
    await providers.await_for("batches", closed=3, timeout=30)  # a list, a file, its batch
    providers.forget_batch("batch-1")
    providers.configure("gpt-4.1", echo=True)
    assert (await running).answered == 8


def test_a_wrong_key_is_told_as_ever(providers, tmp_path):
    llm = providers.openai("gpt-4.1", api_key="wrong", max_retries=0)
    out = tmp_path / "answers.jsonl"
    report = run_batch(llm, QUESTIONS[:3], out, **BY_BATCHES)
    assert (report.answered, report.failed) == (0, 3)
    failed = rows(tmp_path / "answers.failed.jsonl")
    assert {row["error"] for row in failed.values()} == {"authentication"}
    assert providers.batches() == []


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_batch_api_is_asked_directly_at_the_usual_price(
    providers, tmp_path, status
):
    providers.configure("batches", script=[failure(status)])
    report = run_batch(of_two(providers), QUESTIONS, tmp_path / "answers.jsonl", **BY_BATCHES)
    asked = Counter((record.model, bool(record.batch)) for record in chats(providers))
    assert asked == {
        ("gpt-4.1-mini", False): 8,
        ("gpt-4.1", False): 8,
        ("mistral-small-latest", True): 8,
    }
    direct = run_batch(of_two(providers), QUESTIONS, tmp_path / "direct.jsonl")
    assert direct.cost.at_least / 2 < report.cost.at_least < direct.cost.at_least


def test_where_no_server_has_a_batch_api_nothing_is_asked(providers, tmp_path):
    providers.configure("batches", script=[failure(404)])
    with pytest.raises(BatchError, match=r"no provider of gpt-4\.1 has a batch API"):
        run_batch(providers.openai("gpt-4.1"), QUESTIONS, tmp_path / "answers.jsonl", **BY_BATCHES)
    assert chats(providers) == []


def test_an_llm_without_a_batch_api_is_asked_directly_in_the_same_run(providers, tmp_path):
    local = ScriptedLLM("a local answer")
    mixture = MixtureOfAgents(
        llm=providers.openai("gpt-4.1"), proposers=[local, providers.mistral()], num_layers=1
    )
    report = run_batch(mixture, QUESTIONS, tmp_path / "answers.jsonl", **BY_BATCHES)
    assert (report.answered, report.degraded, len(local.asked)) == (8, 0, 8)
    assert [batch["rows"] for batch in providers.batches()] == [8, 8]


def test_where_no_provider_has_a_batch_api_it_is_refused(tmp_path):
    with pytest.raises(BatchError, match="no provider of scripted has a batch API"):
        run_batch(ScriptedLLM(), ["Why?"], tmp_path / "answers.jsonl", **BY_BATCHES)
    with pytest.raises(BatchError, match='via = \'pigeon\': say "direct" or "batch-api"'):
        run_batch(ScriptedLLM(), ["Why?"], tmp_path / "answers.jsonl", via="pigeon")


def test_failures_in_a_row_cancel_the_open_batches(providers, tmp_path):
    """The second batch is begun when the clock says 50; at 110 the first has failed whole, the second is at a third."""
    providers.configure("gpt-4.1", chances=[(failure(400), 1.0)], batch_seconds=100)
    first_is_open, moved = threading.Event(), []

    def questions():
        yield from QUESTIONS[:3]
        assert first_is_open.wait(timeout=30)
        yield from QUESTIONS[3:6]

    def watch(report):
        if len(report.batches) > len(moved):
            moved.append(providers.advance(50 if not moved else 60))
            first_is_open.set()

    llm = providers.openai("gpt-4.1", max_retries=0)
    settings = {"watch": watch, "batch_size": 3, "in_flight": 6, "max_failures": 3}
    report = run_batch(llm, questions(), tmp_path / "answers.jsonl", **settings, **BY_BATCHES)
    assert (report.failed, report.answered) == (6, 0)
    assert "3 questions failed one after the other" in report.stopped
    assert [batch["state"] for batch in providers.batches()] == ["answered", "cancelled"]
    assert len(chats(providers)) == 4


def test_the_report_tells_of_open_batches(providers, tmp_path):
    seen = []
    llm = providers.openai("gpt-4.1")
    run_batch(llm, QUESTIONS, tmp_path / "a.jsonl", watch=seen.append, **BY_BATCHES)
    found = [report.batches for report in seen if report.batches]
    assert found
    assert (found[0][0].model, found[0][0].total) == ("gpt-4.1", 8)
    assert seen[-1].batches == ()


def test_the_report_says_when_it_may_end_before_the_first_question_is_answered(providers, tmp_path):
    """With half of the first of two rounds done, three quarters are left."""
    providers.configure("*", batch_seconds=100)
    seen = []

    def watch(report):
        if report.batches and not seen:
            providers.advance(50)
            seen.append(None)
        elif report.batches and report.batches[0].done and len(seen) == 1:
            seen.append(
                (report.answered, report.batches[0].done, report.seconds, report.seconds_left)
            )
            providers.configure("*", batch_seconds=0)
            providers.advance(50)

    mixture = MixtureOfAgents(
        llm=providers.openai("gpt-4.1"), proposers=[providers.openai("gpt-4.1-mini")], num_layers=1
    )
    report = run_batch(mixture, QUESTIONS, tmp_path / "a.jsonl", watch=watch, **BY_BATCHES)
    answered, done, seconds, left = seen[1]
    assert (answered, done) == (0, 4)
    assert left == pytest.approx(3 * seconds, rel=0.1)
    assert (report.answered, report.seconds_left) == (8, 0.0)


def test_the_users_own_prices_and_factors_count(providers, tmp_path):
    llm = providers.openai("gpt-4.1")
    providers.configure("gpt-4.1", input_tokens=1_000_000, output_tokens=1_000_000, reply="yes")
    settings = {"prices": {"gpt-4.1": (2.0, 8.0)}, **BY_BATCHES}
    report = run_batch(llm, ["Why?"], tmp_path / "a.jsonl", **settings)
    assert report.cost.at_least == Decimal(5)
    report = run_batch(
        llm, ["Why?"], tmp_path / "b.jsonl", batch_prices={"openai": 0.25}, **settings
    )
    assert report.cost.at_least == Decimal("2.5")
    report = run_batch(llm, ["Why?"], tmp_path / "c.jsonl", max_cost=0.000001, **settings)
    assert report.stopped.startswith("the next question costs at least")


def test_answers_that_cannot_be_recorded_are_not_asked_for_again_but_fetched_by_the_next_run(
    providers, tmp_path
):
    """Another program holds the journal, as a full disk would."""
    llm, out = providers.openai("gpt-4.1"), tmp_path / "answers.jsonl"
    held = []

    def watch(report):
        if report.batches and not held:
            held.append(sqlite3.connect(tmp_path / "answers.batches.db", check_same_thread=False))
            held[0].execute("BEGIN EXCLUSIVE")

    first = run_batch(llm, QUESTIONS, out, watch=watch, **BY_BATCHES)
    assert (first.answered, first.failed) == (0, 8)
    failed = rows(tmp_path / "answers.failed.jsonl")["1"]
    assert "answers.batches.db: database is locked" in failed["message"]
    held[0].close()
    second = run_batch(llm, QUESTIONS, out, **BY_BATCHES)
    assert (second.answered, second.failed) == (8, 0)
    assert len(chats(providers)) == 8


def test_no_key_and_no_question_is_written_to_the_journal(providers, tmp_path):
    providers.configure("gpt-4.1", batch_seconds=DAY)
    seen = []

    def watch(report):
        if report.batches:
            seen.append((tmp_path / "a.batches.db").read_bytes())
            providers.advance(DAY)

    run_batch(
        providers.openai("gpt-4.1"), QUESTIONS, tmp_path / "a.jsonl", watch=watch, **BY_BATCHES
    )
    assert seen
    assert not any(b"simulated-key" in one or b"What is" in one for one in seen)
