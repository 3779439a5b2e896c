"""The answers to many questions as they come, with a bound on the questions in flight."""

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
"""How many questions are asked at once by default."""


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
        questions: the questions, or a file of them; each is read when there is room for it. An iterator, which may
            wait for them, is read in a thread.
        in_flight: how many are asked at once.
        system: a system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is no mixture: that has its own.
        details: whether answers carry a mixture's proposals and calls.

    Returns:
        An answer for each question, in the order in which they end. A failure is one too: it has a ``kind``. Whatever
        ``questions`` raises is raised once the questions in flight are answered.

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
    """Yield the answers as ``answers`` does, with any function that asks.

    Args:
        ask: Asks a question; raises only if it is cancelled.
        questions: The questions; closed at the end.
        in_flight: How many are asked at once.
        left: Takes each answer that is there, but not yielded, when this iterator is closed or cancelled.
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
                places.release()  # its place is not kept empty while its answer is made use of
                yield _outcome(task, running.pop(task))
    finally:
        await _end(feeding, running, questions, left)
    feeding.result()  # what the questions raised: what was in flight is paid for, so it came first


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
    with ExitStack() as every_one:  # also where one of them cannot be written
        for task in reversed(running):  # of a stack the last comes first
            if task.done() and not task.cancelled() and not task.exception():
                every_one.callback(left, task.result())


_A_FEW = 256
"""How many items are read before other tasks have their turn."""


async def in_turns(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items of an iterator that never waits. Other tasks have their turn now and then."""
    for number, item in enumerate(items):
        if number % _A_FEW == 0:
            await asyncio.sleep(0)
        yield item


async def as_they_come(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items of an iterator that may wait. It is read in a thread of its own.

    No item is read before it is asked for. All are read in one thread, since an iterator may hold something that is bound
    to its thread, as a connection of sqlite3 is. A thread that still waits when this is closed is abandoned.
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
