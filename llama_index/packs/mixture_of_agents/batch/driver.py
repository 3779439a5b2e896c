"""A batch from its questions to its files."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import iterate_blocking
from llama_index.packs.mixture_of_agents._messages.digests import digest
from llama_index.packs.mixture_of_agents._providers.descriptions import (
    NO_SETTINGS,
    address,
    settings_of,
)
from llama_index.packs.mixture_of_agents._providers.facts import model_name
from llama_index.packs.mixture_of_agents.config import to_data
from llama_index.packs.mixture_of_agents.errors import BatchError, ConfigError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices

from .asker import Asker
from .course import Course
from .flow import IN_FLIGHT, flowing, in_turns
from .input_files import Questions
from .outcomes import Report
from .store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a batch is run.

    Attributes:
        in_flight: how many questions are asked at once.
        limit: ask no more than so many, this time.
        max_cost: US dollars that the whole batch may cost, with what was spent before. A question is asked only where
            those in flight and it fit into what is left, if they cost what answers did on average; alone, as long
            as there is no answer.
        max_failures: stop when so many failed one after the other, with no answer between; 0 is never.
        system: a system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is no mixture: that has its own.
        details: whether answers carry a mixture's proposals.
        fingerprint: what answers, in words: with another one the batch is not gone on with. By default the LLM's class
            and model, and all that decides how a mixture of LlamaIndex's LLM classes answers.
        watch: told how far it is: before the first question is asked, and with each that ends. If it raises, no more
            questions are asked; the error is raised when those in flight have their answers.
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
            if number is not None and not number >= least:  # not a number neither
                raise BatchError(f"{name} = {number!r}: it must be at least {least}")


async def arun_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """Ask an LLM many questions, and write their answers to a file as they come.

    Called again with the same file it goes on where it was: what is answered is not asked again, what failed is.

    Args:
        llm: any LLM of LlamaIndex's, a mixture for example.
        questions: a file's path (see ``read_questions``), or the questions. A file or a sequence is checked from its
            beginning to its end before anything is asked; anything else is read as there is room for it,
            in a thread, since it may wait.
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
    with Store(out, _answers_of(llm, how)) as store:
        if isinstance(questions, (str, Path)) and store.is_made_of(Path(questions)):
            problem = (
                f"this is what the answers of {out} are written to; name another file for them"
            )
            raise BatchError(f"{questions}: {problem}")
        course = Course(store, how.limit, how.max_cost, how.max_failures, how.watch)
        await _go_through(store.read())
        await _go_through(course.look_through(questions))
        how.watch(course.report())

        def in_flight() -> int:
            return 1 if course.must_learn_cost else how.in_flight

        coming = flowing(asker.ask, course.to_ask(questions), in_flight, course.take)
        async with aclosing(coming):
            async for answer in coming:
                course.take(answer)
                if course.is_over:  # rather than wait for a question that is not asked any more
                    break
        await _go_through(store.finish())
        if course.trouble:
            raise course.trouble
        return course.report()


def run_batch(llm: LLM, questions: Questions, out: str | Path, **settings: Any) -> Report:
    """``arun_batch`` for sync code; in a notebook too. Ctrl-C cancels the questions in flight."""

    async def once() -> AsyncGenerator[Report, None]:
        yield await arun_batch(llm, questions, out, **{"threaded": True, **settings})

    (report,) = iterate_blocking(once)
    return report


def _answers_of(llm: LLM, how: Settings) -> str:
    prompt = f", system prompt {digest(how.system)[:8]}" if how.system else ""
    return (how.fingerprint or fingerprint(llm)) + prompt


async def _go_through(items: Iterable[object]) -> None:
    async for _ in in_turns(items):
        pass


_NO_MATTER = NO_SETTINGS | {"budget", "call", "deadline", "limits", "name", "prices", "reserve"}
"""Settings that decide whether and when there is an answer, and not which: a batch may go on with others."""


def fingerprint(llm: LLM) -> str:
    """An LLM in words, a mixture by its agents; and a hash of the settings that decide how they answer."""
    if isinstance(llm, MixtureOfAgents):
        words = repr(llm.recipe)
        try:
            said = to_data(llm.recipe)
        except (
            ConfigError
        ):  # an LLM class that is none of LlamaIndex's, whose settings nobody knows
            return words
    else:
        words = f"{llm.class_name()} {model_name(llm)}"
        said = {"address": address(llm), **settings_of(llm)}
    matters = {name: value for name, value in said.items() if name not in _NO_MATTER}
    return f"{words} {digest(matters)[:8]}"
