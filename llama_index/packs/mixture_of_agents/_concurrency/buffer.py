"""A small queue between a task and its one reader, which lets the task go no faster than the reader."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
_FEW = 8
"""Items that may wait. It is also how many a task puts before anything else has its turn on the loop."""


class Buffer(Generic[T]):
    """Holds what a task has produced until its reader takes it.

    ``put`` never waits, so synchronous code can call it. A task that produces much awaits ``room`` after each ``put``.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._filled, self._taken = asyncio.Event(), asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._filled.set()

    async def room(self) -> None:
        """Wait until the reader has taken enough."""
        while len(self._items) >= _FEW:
            self._taken.clear()
            await self._taken.wait()

    async def filled(self) -> None:
        """Wait until there is an item, and leave it there."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()

    async def get(self) -> T:
        """Wait for the next item and take it."""
        await self.filled()
        self._taken.set()
        return self._items.popleft()

    async def get_all(self) -> list[T]:
        """Wait for an item, and take all that are there."""
        await self.filled()
        items = list(self._items)
        self._items.clear()
        self._taken.set()
        return items
