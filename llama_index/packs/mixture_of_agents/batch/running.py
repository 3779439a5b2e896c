"""A batch from its questions to its files."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.digests import digest
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.llms import model_name
from llama_index.packs.mixture_of_agents.pricing import Prices
from llama_index.packs.mixture_of_agents.threads import iterate_blocking

from .answered import Answer
from .asking import Asker
from .course import Course
from .reading import Questions
from .report import Report
from .store import Store
from .stream import IN_FLIGHT, flowing

T = TypeVar("T")
_A_FEW = 256
"""How many records are read until others on the event loop have their turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a batch is run.

    Attributes:
        in_flight: how many questions are asked at once.
        limit: ask no more than so many, this time.
        max_cost: US dollars that the whole batch may cost, with what was spent before. A question is asked only where
            those in flight and it fit into what is left, if they cost what the others did on average; alone, as long
            as there is no other.
        max_failures: stop when so many failed one after the other, with no answer between; 0 is never.
        system: a system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is no mixture: that has its own.
        details: whether answers carry a mixture's proposals.
        fingerprint: what answers, in words: with another one the batch is not gone on with. By default the LLM's class
            and model, and of a mixture the names of its agents.
        watch: told how far it is: before the first question is asked, and with each that ends.
        threaded: ask an LLM that is no mixture in threads, by its sync client.

    Raises:
        BatchError: a number is too small.
    """

    in_flight: int = IN_FLIGHT
    limit: int | None = None
    max_cost: float | None = None
    max_failures: int = 20
    system: str = ""
    prices: Prices | None = None
    details: bool = False
    fingerprint: str = ""
    watch: Callable[[Report], None] = lambda _: None
    threaded: bool = False

    def __post_init__(self) -> None:
        for name, least in {"in_flight": 1, "limit": 1, "max_cost": 0, "max_failures": 0}.items():
            number = getattr(self, name)
            if number is not None and number < least:
                raise BatchError(f"{name} = {number!r}: it must be at least {least}")


async def arun_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """Ask an LLM many questions, and write their answers to a file as they come.

    Called again with the same file it goes on where it was: what is answered is not asked again, what failed is.

    Args:
        llm: any LLM of LlamaIndex's, a mixture for example.
        questions: a file's path (see ``read_questions``), or the questions. A file or a sequence is checked from its
            beginning to its end before anything is asked; anything else is read as there is room for it.
        out: the file of the answers, ``.jsonl`` or ``.parquet``; docs/batch.md says what is beside it.
        settings: what ``Settings`` takes: in_flight, limit, max_cost, max_failures, system, ...

    Returns:
        What came of it; ``stopped`` says why where it did not come to the end.

    Raises:
        BatchError: the questions or the settings make no sense, or these are answers of another mixture, or another
            process writes them. The message says what to do.
        OSError: a file cannot be read or written. What was written before is there.
    """
    how = Settings(**settings)
    asker = Asker(llm, how.system, how.prices, details=how.details, threaded=how.threaded)
    with Store(out, _fingerprint(llm, how)) as store:
        course = Course(store, how.limit, how.max_cost, how.max_failures)
        async for _ in _with_others(store.read()):
            pass
        async for _ in _with_others(course.look_through(questions)):
            pass
        how.watch(course.report())
        waiting = course.to_ask(questions)
        while course.must_learn_cost:  # from one, rather than from as many as may be in flight
            if not await _take(flowing(asker.ask, islice(waiting, 1), 1), course, how):
                break
        await _take(flowing(asker.ask, waiting, how.in_flight), course, how)
        store.finish()
        return course.report()


async def _take(coming: AsyncGenerator[Answer, None], course: Course, how: Settings) -> int:
    """Write answers down as they come; how many."""
    number = 0
    async with aclosing(coming):
        async for answer in coming:
            number += 1
            course.take(answer)
            how.watch(course.report())
    return number


def run_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """``arun_batch`` for sync code; in a notebook too. Ctrl-C cancels the questions in flight."""

    async def once() -> AsyncGenerator[Report, None]:
        yield await arun_batch(llm, questions, out, **{"threaded": True, **settings})

    (report,) = iterate_blocking(once)
    return report


def _fingerprint(llm: LLM, how: Settings) -> str:
    kind = (
        repr(llm) if isinstance(llm, MixtureOfAgents) else f"{llm.class_name()} {model_name(llm)}"
    )
    prompt = f", system prompt {digest(how.system)[:8]}" if how.system else ""
    return (how.fingerprint or kind) + prompt


async def _with_others(items: Iterable[T]) -> AsyncIterator[T]:
    """What an iterator gives, while others on this event loop have their turn now and then."""
    for number, item in enumerate(items):
        if number % _A_FEW == 0:
            await asyncio.sleep(0)
        yield item
