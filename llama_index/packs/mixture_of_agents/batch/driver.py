"""Runs a batch, from its questions to its files."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread, iterate_blocking
from llama_index.packs.mixture_of_agents._messages.digests import digest
from llama_index.packs.mixture_of_agents._providers.descriptions import NO_SETTINGS, settings_of
from llama_index.packs.mixture_of_agents._providers.facts import address, model_name
from llama_index.packs.mixture_of_agents.config import to_data
from llama_index.packs.mixture_of_agents.errors import BatchError, ConfigError
from llama_index.packs.mixture_of_agents.limits import Ledger
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices

from .asker import Asker
from .course import Course
from .flow import IN_FLIGHT, flowing, in_turns
from .forecast import rounds_of
from .input_files import Questions
from .outcomes import Answer, Report
from .outlay import foreseer
from .purse import purse_of
from .question import Question
from .remote_file import RemoteFile, is_remote
from .store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a batch is run.

    Attributes:
        in_flight: The largest number of questions in flight, with Ray by each worker. None for 16, or with
            ``via="batch-api"`` for ``batch_size``.
        limit: The largest number of questions to ask in this run.
        max_cost: US dollars that the whole batch may cost, earlier parts included. A question is asked only while the
            most that it may cost fits into what is left, beside the questions in flight. If answers have no limit of
            length, the dearest question so far stands for the most, and the first question is asked alone.
        account: The name of an account that ``max_cost`` bounds, instead of this batch alone: batches of other processes
            and machines that use it too are counted. It is kept in the store of the mixture's limits.
        ledger: Where the account is kept instead.
        max_failures: Stop after this many failures in a row; 0 for never.
        system: A system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is not a mixture: that has its own.
        details: Whether answers carry a mixture's proposals and calls.
        fingerprint: What answers, in words; a batch continues only with the same one. By default the LLM's class and
            model, and all that decides how a mixture of LlamaIndex's LLM classes answers.
        watch: Called with a report before the first question is asked, and after each question. If it raises, no more
            questions are asked; the error is raised when those in flight have their answers.
        threaded: Ask an LLM that is not a mixture in threads, by its sync client.
        via: "batch-api" asks LLMs by their providers' batch APIs, in which an answer takes up to a day and costs less.
            LLMs whose provider has none are asked directly, 16 at once.
        batch_size: How many requests a batch of a provider's has.
        batch_prices: The part of the usual price that a provider's batch API costs, by the short name of its LlamaIndex
            integration, instead of ``pricing.BATCH_PRICES``.
        engine: "ray" asks by the workers of a Ray cluster: the one that is connected, or that RAY_ADDRESS names, or a
            new one on this machine. Each worker takes keys from its own environment.
        workers: The number of workers; by default one for each CPU of the cluster.

    Raises:
        BatchError: A number is too small, there is no such way, or two settings exclude each other.
    """

    in_flight: int | None = None
    limit: int | None = None
    max_cost: float | None = None
    account: str = ""
    ledger: Ledger | None = None
    max_failures: int = 20
    system: str = ""
    prices: Prices | None = None
    details: bool = False
    fingerprint: str = ""
    watch: Callable[[Report], None] = lambda _: None
    threaded: bool = False
    via: Literal["direct", "batch-api"] = "direct"
    batch_size: int = 5_000
    batch_prices: Mapping[str, float] | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.via not in ("direct", "batch-api"):
            raise BatchError(f'via = {self.via!r}: say "direct" or "batch-api"')
        if self.engine not in ("local", "ray"):
            raise BatchError(f'engine = {self.engine!r}: say "local" or "ray"')
        if self.engine == "ray" and self.via != "direct":
            problem = "one process asks the providers' batch APIs, so a cluster does not help"
            raise BatchError(f'engine = "ray", via = {self.via!r}: {problem}; leave one out')
        if self.engine != "ray" and self.workers is not None:
            raise BatchError(f'workers = {self.workers!r}: only engine = "ray" has workers')
        for name, least in _LEAST.items():
            number = getattr(self, name)
            if number is not None and not number >= least:  # not a number neither
                raise BatchError(f"{name} = {number!r}: it must be at least {least}")


_LEAST = {
    "in_flight": 1, "limit": 1, "max_cost": 0, "max_failures": 0, "batch_size": 1, "workers": 1
}  # fmt: skip


async def arun_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """Ask an LLM many questions, and write their answers to a file as they come.

    Called again with the same file it continues where it was: what is answered is not asked again, what failed is.

    Args:
        llm: Any LLM of LlamaIndex's, a mixture for example.
        questions: A file's path (see ``read_questions``), or the questions. A file or a sequence is checked from its
            beginning to its end before anything is asked; anything else is read as there is room for it,
            in a thread, since it may wait.
        out: The file of the answers, ``.jsonl`` or ``.parquet``; docs/batch.md lists the files beside it. If it is an
            address (``s3://...``), the files are in the current folder, and the answers are copied there at the end.
        settings: What ``Settings`` takes: in_flight, limit, max_cost, max_failures, system, ...

    Returns:
        The outcome; ``stopped`` says why the batch ended early, if it did.

    Raises:
        BatchError: The questions or the settings are not valid, or these are answers of another mixture, or another
            process writes them. The message says what to do.
        OSError: A file cannot be read or written. What was written before is there.
    """
    how = Settings(**settings)
    there = RemoteFile(str(out)) if is_remote(out) else None
    with Store(there.name if there else out, _answers_of(llm, how)) as store:
        _refuse_own_answers(questions, store)
        if how.via == "direct":
            report = await _run(llm, questions, store, _course(llm, store, how), how)
        else:
            report = await _run_by_batches(llm, questions, store, how)
        if there:
            await in_thread(partial(there.receive, store.out))
        return report


def _course(llm: LLM, store: Store, how: Settings) -> Course:
    foresee = foreseer(llm, how.system, how.prices)
    purse = purse_of(llm, how.account, how.ledger)
    bounds = how.limit, how.max_cost, how.max_failures
    return Course(store, foresee, *bounds, how.watch, purse, rounds_of(llm))


async def _run(
    llm: LLM, questions: Questions, store: Store, course: Course, how: Settings
) -> Report:
    ask = _way(llm, course, how)
    await _go_through(store.read())
    await _go_through(course.look_through(questions))
    how.watch(course.report())
    coming = ask(course.to_ask(questions))
    async with aclosing(coming):
        async for answer in coming:
            course.take(answer)
            if course.is_over:  # waiting for another question would be in vain
                break
    await _go_through(store.finish())
    if course.purse:
        await course.purse.close()
    if course.trouble:
        raise course.trouble
    return course.report()


def _way(
    llm: LLM, course: Course, how: Settings
) -> Callable[[AsyncGenerator[Question, None]], AsyncGenerator[Answer, None]]:
    """What yields the answers to questions: tasks of this process, or the workers of a cluster."""
    settings: dict[str, Any] = {"system": how.system, "prices": how.prices, "details": how.details}
    if how.engine == "ray":
        from .fleet import Fleet  # it imports Ray

        fleet = Fleet(llm, settings, how.in_flight, how.workers)
        course.give_up = fleet.stop
        return fleet.answers
    asker = Asker(llm, **settings, threaded=how.threaded)
    at_once = how.in_flight or IN_FLIGHT
    return lambda questions: flowing(asker.ask, questions, at_once, course.take)


async def _run_by_batches(llm: LLM, questions: Questions, store: Store, how: Settings) -> Report:
    """Run with the requests collected into batches; see ``Settings.via``."""
    from .journal import Journal
    from .route import BatchRoute, prices_by_batch_api, servers_without  # they import httpx

    with closing(Journal(store.batches)) as journal:
        directly = await servers_without(llm)
        prices = prices_by_batch_api(llm, how.prices, how.batch_prices, directly)
        patient = llm.patient(prices, journal.seed) if isinstance(llm, MixtureOfAgents) else llm
        at_once = how.in_flight or how.batch_size
        how = replace(how, prices=prices, threaded=False, in_flight=at_once)
        course = _course(patient, store, how)
        async with BatchRoute(journal, how.batch_size, IN_FLIGHT, course.notify, directly) as route:
            course.batches, course.give_up = lambda: route.batches, route.stop
            course.forecast.received = lambda: route.received
            report = await _run(patient, questions, store, course, how)
        journal.is_over = True
    return report


def run_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """Like ``arun_batch``, for sync code; in a notebook too. Ctrl-C cancels the questions in flight.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents.batch import run_batch

        print(run_batch(OpenAI("gpt-4.1-mini"), ["Why?", "How?"], "answers.jsonl", max_cost=1.0))
        ```
    """

    async def once() -> AsyncGenerator[Report, None]:
        yield await arun_batch(llm, questions, out, **{"threaded": True, **settings})

    (report,) = iterate_blocking(once)
    return report


def _refuse_own_answers(questions: Questions, store: Store) -> None:
    if isinstance(questions, (str, Path)) and store.is_made_of(Path(questions)):
        problem = f"the answers of {store.out} are written to this file; name another file for them"
        raise BatchError(f"{questions}: {problem}")


def _answers_of(llm: LLM, how: Settings) -> str:
    prompt = f", system prompt {digest(how.system)[:8]}" if how.system else ""
    return (how.fingerprint or fingerprint(llm)) + prompt


async def _go_through(items: Iterable[object]) -> None:
    async for _ in in_turns(items):
        pass


_NO_MATTER = NO_SETTINGS | {"budget", "call", "deadline", "limits", "name", "prices", "reserve"}
"""Settings that may change between two runs: they decide whether and when there is an answer, but not which one."""


def fingerprint(llm: LLM) -> str:
    """Describe an LLM in words, with a hash of the settings that decide how it answers."""
    if isinstance(llm, MixtureOfAgents):
        words = repr(llm.recipe)
        try:
            data = to_data(llm.recipe)
        except ConfigError:  # the settings of a class that is not LlamaIndex's are unknown
            return words
    else:
        words = f"{llm.class_name()} {model_name(llm)}"
        data = {"address": address(llm), **settings_of(llm)}
    kept = {name: value for name, value in data.items() if name not in _NO_MATTER}
    return f"{words} {digest(kept)[:8]}"
