"""Threads go no faster than those who read from them."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from itertools import count

from llama_index.packs.mixture_of_agents._concurrency.threads import (
    iterate_blocking,
    iterate_in_thread,
)

FEW = 20
MANY = 200


async def test_an_iterator_in_a_thread_waits_for_its_reader_and_ends_with_it() -> None:
    made, closed = list[int](), threading.Event()

    def numbers() -> Iterator[int]:
        try:
            for number in count():
                made.append(number)
                yield number
        finally:
            closed.set()

    chunks = iterate_in_thread(numbers)
    read = [await anext(chunks) for _ in range(MANY)]
    assert read == list(range(MANY))
    assert len(made) <= MANY + FEW
    await chunks.aclose()
    assert await asyncio.to_thread(closed.wait, 5)


def test_an_async_iterator_waits_for_its_blocking_reader_and_ends_with_it() -> None:
    made, closed = list[int](), threading.Event()

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in count():
                made.append(number)
                yield number
                await asyncio.sleep(0)
        finally:
            closed.set()

    chunks = iterate_blocking(numbers)
    read = [next(chunks) for _ in range(MANY)]
    assert read == list(range(MANY))
    assert len(made) <= MANY + FEW
    chunks.close()
    assert closed.wait(5)
