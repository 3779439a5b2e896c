"""Reading many things on an event loop that goes on meanwhile."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import TypeVar

from llama_index.packs.mixture_of_agents.threads import iterate_in_thread

T = TypeVar("T")
_A_FEW = 256
"""How many are read until others on the event loop have their turn."""


async def in_turns(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """What an iterator gives at once, while others on this event loop have their turn now and then."""
    for number, item in enumerate(items):
        if number % _A_FEW == 0:
            await asyncio.sleep(0)
        yield item


async def as_they_come(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """What an iterator gives that may wait for each, which it does in a thread of its own.

    No item is read before it is asked for. All are in one thread, since what an iterator holds may be bound to the
    first that uses it, as a connection of sqlite3 is. A thread that waits when this is closed is left to itself.
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
