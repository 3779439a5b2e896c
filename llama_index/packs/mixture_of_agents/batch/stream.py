"""The answers to many questions as they come, so many at a time and no more."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from itertools import islice
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.failures import FailureKind
from llama_index.packs.mixture_of_agents.pricing import Prices

from .answered import Answer
from .asking import Asker
from .question import Question
from .reading import Questions, each

IN_FLIGHT = 16
"""How many questions are asked at once, where nobody says."""


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
        questions: the questions, or a file of them; each is read when there is room for it.
        in_flight: how many are asked at once.
        system: a system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model, for an LLM that is no mixture: that has its own.
        details: whether answers carry a mixture's proposals.

    Returns:
        An answer for each question, in the order in which they end. A failure is one too: it has a ``kind``. Whatever
        ``questions`` raises is raised once the questions in flight are answered.

    Raises:
        ValueError: ``in_flight`` is less than 1.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight = {in_flight!r}: at least one question must be asked at once")
    asker = Asker(llm, system, prices, details=details)
    return flowing(asker.ask, each(questions), in_flight)


async def flowing(
    ask: Callable[[Question], Coroutine[Any, Any, Answer]],
    questions: Iterator[Question],
    in_flight: int,
) -> AsyncGenerator[Answer, None]:
    """What ``answers`` does, with any way to ask."""
    running: dict[asyncio.Task[Answer], Question] = {}
    ended: asyncio.Queue[asyncio.Task[Answer]] = asyncio.Queue()
    trouble: Exception | None = None
    try:
        while True:
            try:
                # as soon as one has ended: its place is not kept empty while its answer is made use of
                for question in islice(questions, in_flight - len(running)):
                    task = asyncio.create_task(ask(question))
                    running[task] = question
                    task.add_done_callback(ended.put_nowait)
            except Exception as error:  # noqa: BLE001 - what is in flight is paid for, so it comes first
                trouble, questions = error, iter(())
            if not running:
                break
            task = await ended.get()
            question = running.pop(task)
            if task.cancelled():  # and not by us
                stray = "the LLM cancelled its own call"
                yield Answer(question, kind=FailureKind.CANCELLED, error=stray)
            else:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if trouble is not None:
        raise trouble
