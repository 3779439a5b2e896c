"""Thousands of runs against providers that fail in every way: each ends in an answer or in a typed error, in time.

`make chaos` runs 2,000 of them, which takes a few minutes; the suite runs 100.
"""

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from asking import ask
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    RunError,
    moa,
)
from llama_index.packs.mixture_of_agents._concurrency.private_loops import close_idle_loops
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents._providers.connections import with_shared_clients
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import CallRetried
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import (
    BROKEN_JSON,
    EMPTY_ANSWER,
    HANG,
    RESET_MIDWAY,
    Record,
    SimulatedProviders,
    failure,
)

PROPOSERS = (
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "mistral-small-latest",
    "mistral-medium-latest",
    "mistral-large-latest",
)
WRITERS = ("gpt-4.1", "gpt-4o-mini")
CHAOS = (
    (failure(500), 0.10),
    (failure(429, retry_after=0.05), 0.05),
    (HANG, 0.03),
    (RESET_MIDWAY, 0.02),
    (BROKEN_JSON, 0.02),
    (EMPTY_ANSWER, 0.02),
)
DEADLINE = 30.0
TOLERANCE = 0.25
BATCH = 50
AT_ONCE = 10


@dataclass
class Tally:
    """What came of all runs so far."""

    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    requests: int = 0


def mixture_of(providers: SimulatedProviders) -> MixtureOfAgents:
    def llm(model: str) -> Any:
        return providers.mistral(model) if "mistral" in model else providers.openai(model)

    recipe = moa(
        [Proposer(llm(model)) for model in PROPOSERS],
        Aggregator(llm(WRITERS[0])),
        layers=2,
        fallbacks=(Aggregator(llm(WRITERS[1])),),
        call=CallPolicy(timeout=5.0, backoff=0.05),
        deadline=DEADLINE,
    )
    return MixtureOfAgents(recipe)


def unleash(providers: SimulatedProviders, seed: int) -> None:
    providers.reset()
    for model in (*PROPOSERS, *WRITERS):
        said = f"{model} says that four follows three."
        providers.configure(
            model, reply=said, chances=CHAOS, seed=seed, latency=0.005, latency_sigma=0.5
        )


async def run_once(mixture: MixtureOfAgents, number: int, way: str) -> tuple[MixtureResult, bool]:
    """The result of one run, and whether it is an answer."""
    begun = time.perf_counter()
    try:
        result, answered = await ask(mixture, way, f"Run {number}: what follows three?"), True
    except RunError as error:
        result, answered = error.result, False
    assert time.perf_counter() - begun < DEADLINE + TOLERANCE
    assert result.elapsed < DEADLINE + TOLERANCE
    return result, answered


def faults_of(result: MixtureResult) -> list[tuple[str, FailureKind]]:
    """Everything that went wrong with an attempt: the model, and what it was."""
    retried = [event.failure for event in result.events if isinstance(event, CallRetried)]
    return [(failure.model, failure.kind) for failure in (*retried, *result.failures)]


def check_record(result: MixtureResult, log: list[Record], *, answered: bool) -> None:
    """The result says what the provider saw: every request, every answer, every reference."""
    asked = Counter[str]()
    for call in result.calls:
        asked[call.model] += call.attempts
        assert call.attempts == call.usage.requests
        assert bool(call.proposals) != bool(call.failure)
    seen = Counter(record.model for record in log)
    assert not seen - asked, "nothing reached the wire that is not on record"
    # An attempt that ran out of time may have done so before it could be sent.
    late = Counter(model for model, kind in faults_of(result) if kind == FailureKind.TIMEOUT)
    assert not (asked - seen) - late
    for call in result.calls:
        answers = {record.answer for record in log if record.model == call.model}
        assert all(proposal.text in answers for proposal in call.proposals)
    for number in (1, 2):
        references = [
            p.text for layer in result.layers[:2] for p in layer.references if layer.layer == number
        ]
        listed = "".join(f"\n{i}. {text}" for i, text in enumerate(references, 1))
        prompt = AGGREGATE_AND_SYNTHESIZE + listed
        models = PROPOSERS if number == 1 else WRITERS
        shown = [r for r in log if r.model in models and r.body["messages"][0]["role"] == "system"]
        assert all(text_of(record.body["messages"][0]) == prompt for record in shown)
        assert shown or not references
    if answered:
        assert result.answered_by in WRITERS
        assert result.answer in {r.answer for r in log if r.model == result.answered_by}
        assert bool(result.failures) == bool(result.degraded)
    else:
        assert result.failures
        assert result.error


def text_of(message: dict[str, Any]) -> str:
    """The text of a message as it was sent: MistralAI's class sends a list of parts."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def number_of(record: Record) -> int:
    """Which run a request belongs to."""
    question = text_of(record.body["messages"][-1])
    return int(question.removeprefix("Run ").partition(":")[0])


async def wreak(
    providers: SimulatedProviders,
    runs: int,
    ways: Callable[[int], str],
    pause: Callable[[int], None],
) -> Tally:
    """All runs, in batches; after each batch the provider's log is compared with the results."""
    mixture, tally = mixture_of(providers), Tally()
    for first in range(0, runs, BATCH):
        numbers = range(first, min(first + BATCH, runs))
        unleash(providers, seed=first)
        free = asyncio.Semaphore(AT_ONCE)

        async def limited(
            number: int, free: asyncio.Semaphore = free
        ) -> tuple[MixtureResult, bool]:
            async with free:
                return await run_once(mixture, number, ways(number))

        results = await asyncio.gather(*(limited(number) for number in numbers))
        await providers.await_for(open=0, timeout=5)
        log: dict[int, list[Record]] = {number: [] for number in numbers}
        for record in providers.log():
            log[number_of(record)].append(record)
        for number, (result, answered) in zip(numbers, results, strict=True):
            check_record(result, log[number], answered=answered)
            tally.answers += answered
            tally.errors.update([] if answered else [f"{ways(number)}: {result.error}"])
            tally.failures.update(one.kind for one in result.failures)
            tally.requests += len(log[number])
        pause(numbers[-1] + 1)
    return tally


def in_async_code(number: int) -> str:
    """One run in forty streams: what breaks after its first token cannot be asked for again."""
    return "astream_chat" if number % 40 == 0 else "achat"


def in_blocking_code(number: int) -> str:
    return "stream_chat" if number % 40 == 0 else "chat"


class Leftovers:
    """What this process holds: tasks, threads, sockets, file descriptors."""

    def __init__(self) -> None:
        self.tasks = len(asyncio.all_tasks())
        self.threads = sum(not t.name.startswith("asyncio_") for t in threading.enumerate())
        self.files = psutil.Process().num_fds()

    def __le__(self, other: "Leftovers") -> bool:
        return (
            self.tasks <= other.tasks
            and self.threads <= other.threads
            and self.files <= other.files
        )

    def __repr__(self) -> str:
        return f"{self.tasks} tasks, {self.threads} threads, {self.files} files"


def _shared_connections() -> Any:
    """The connections that all mixtures of this process share."""
    llm: Any = with_shared_clients(OpenAI(api_key="none"))
    return llm._async_http_client.connections


async def leftovers_at_most(before: Leftovers) -> Leftovers:
    """What is left over when the LLMs' own clients had time to close, and idle shared connections are closed."""
    await _shared_connections().aclose()
    await asyncio.to_thread(close_idle_loops)
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.05)
        if (now := Leftovers()) <= before:
            break
    return now


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ways", [in_async_code, in_blocking_code])
async def test_a_hundred_runs_survive(providers: SimulatedProviders, ways: Any) -> None:
    await wreak(providers, 2, ways, lambda _: None)
    before = await leftovers_at_most(Leftovers())
    tally = await wreak(providers, 100 if ways is in_async_code else 40, ways, lambda _: None)
    assert tally.answers >= (97 if ways is in_async_code else 38)
    left = await leftovers_at_most(before)
    assert left <= before, f"{left}, before: {before}"


@pytest.mark.chaos
async def test_two_thousand_runs_survive(
    providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    def show(line: str) -> None:  # to whoever waits for it
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")

    await wreak(providers, 20, in_async_code, lambda _: None)
    before = await leftovers_at_most(Leftovers())
    memory: dict[int, int] = {}

    def measure(number: int) -> None:
        gc.collect()
        memory[number] = psutil.Process().memory_info().rss
        show(f"{number} runs, {memory[number] / 2**20:.0f} MiB")

    tally = await wreak(providers, 2000, in_async_code, measure)
    show(f"{tally.requests} requests, {dict(tally.failures)}")
    show(f"{tally.answers} answers, {dict(tally.errors)}")
    assert tally.answers >= 0.995 * 2000
    assert memory[2000] <= 1.05 * memory[500]
    left = await leftovers_at_most(before)
    assert left <= before, f"{left}, before: {before}"


@pytest.mark.chaos
async def test_two_hundred_blocking_runs_survive(providers: SimulatedProviders) -> None:
    await wreak(providers, 10, in_blocking_code, lambda _: None)
    before = await leftovers_at_most(Leftovers())
    tally = await wreak(providers, 200, in_blocking_code, lambda _: None)
    assert tally.answers >= 198
    left = await leftovers_at_most(before)
    assert left <= before, f"{left}, before: {before}"
