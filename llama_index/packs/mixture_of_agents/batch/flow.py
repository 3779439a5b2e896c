"""Yields the answers to many questions as they arrive, with a limit on the questions in flight."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import iterate_in_thread
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.pricing import Prices

from .asker import Asker
from .input_files import Questions, are_at_hand, each
from .outcomes import Answer
from .question import Question

T = TypeVar("T")
IN_FLIGHT = 16
"""The default number of questions in flight."""


def answers(
    llm: LLM,
    questions: Questions,
    *,
    in_flight: int = IN_FLIGHT,
    system: str = "",
    prices: Prices | None = None,
    details: bool = False,
) -> AsyncGenerator[Answer, None]:
    """Ask an LLM many questions.

    Closing the iterator (``contextlib.aclosing`` does) cancels the questions in flight, and their requests with them.

    Args:
        llm: any LLM of LlamaIndex's, a mixture for example.
        questions: the questions, or a file of them. Each is read when there is room for it. An iterator is read in a
            thread, since it may block.
        in_flight: the largest number of questions in flight.
        system: a system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is not a mixture: that has its own.
        details: whether answers carry a mixture's proposals and calls.

    Returns:
        An answer for each question, in the order in which they end. A failure is an answer with a ``kind``. If
        ``questions`` raises, the exception is raised once the questions in flight are answered.

    Raises:
        ValueError: ``in_flight`` is less than 1.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight = {in_flight!r}: at least one question must be asked at once")
    asker = Asker(llm, system, prices, details=details)
    fetched = in_turns if are_at_hand(questions) else as_they_come
    return flowing(asker.ask, fetched(each(questions)), in_flight)


async def flowing(
    ask: Callable[[Question], Coroutine[Any, Any, Answer]],
    questions: AsyncGenerator[Question, None],
    in_flight: int,
    left: Callable[[Answer], None] = lambda _: None,
) -> AsyncGenerator[Answer, None]:
    """Yield answers as ``answers`` does, with any function that answers a question.

    Args:
        ask: Answers a question. It raises only if it is cancelled.
        questions: The questions. The iterator is closed at the end.
        in_flight: The largest number of questions in flight.
        left: Takes each finished answer that is not yielded, because this iterator is closed or cancelled.
    """
    running: dict[asyncio.Task[Answer], Question] = {}
    ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    places = asyncio.Semaphore(in_flight)

    async def feed() -> None:
        await places.acquire()
        async for question in questions:
            running[_begun(ask(question), ended)] = question
            await places.acquire()

    feeding = _begun(feed(), ended)
    try:
        while running or not feeding.done():
            task = await ended.get()
            if task is not feeding:
                places.release()  # the next question starts while the caller uses this answer
                yield _outcome(task, running.pop(task))
    finally:
        await _end(feeding, running, questions, left)
    feeding.result()  # raises the questions' exception, after the paid answers in flight


async def _end(
    feeding: asyncio.Task[None],
    running: dict[asyncio.Task[Answer], Question],
    questions: AsyncGenerator[Question, None],
    left: Callable[[Answer], None],
) -> None:
    for task in (feeding, *running):
        task.cancel()
    try:
        await asyncio.gather(feeding, *running, return_exceptions=True)
        await questions.aclose()
    finally:
        _hand_over(running, left)


def _begun(
    work: Coroutine[Any, Any, T], ended: asyncio.Queue[asyncio.Task[Any]]
) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    task.add_done_callback(ended.put_nowait)
    return task


def _outcome(task: asyncio.Task[Answer], question: Question) -> Answer:
    if task.cancelled():  # and not by us
        stray = "the LLM cancelled its own call"
        return Answer(question, kind=FailureKind.CANCELLED, error=stray)
    return task.result()


def _hand_over(
    running: dict[asyncio.Task[Answer], Question], left: Callable[[Answer], None]
) -> None:
    with ExitStack() as every_one:  # all are handed over, even if one cannot be written
        for task in reversed(running):  # of a stack the last comes first
            if task.done() and not task.cancelled() and not task.exception():
                every_one.callback(left, task.result())


_A_FEW = 256
"""The number of items that are read before other tasks get a turn."""


async def in_turns(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items of an iterator that never blocks. Other tasks get a turn now and then."""
    for number, item in enumerate(items):
        if number % _A_FEW == 0:
            await asyncio.sleep(0)
        yield item


async def as_they_come(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items of an iterator that may block. It is read in its own thread.

    An item is read only when it is needed. All items are read in the same thread, since an iterator may be bound to its
    thread, as a connection of sqlite3 is. A thread that is still blocked when this is closed is abandoned.
    """
    wanted, over = threading.Semaphore(0), False

    def paced() -> Iterator[T]:
        for item in items:
            yield item
            wanted.acquire()
            if over:
                return

    coming = iterate_in_thread(paced)
    try:
        async for item in coming:
            yield item
            wanted.release()
    finally:
        over = True
        wanted.release()
        await coming.aclose()
