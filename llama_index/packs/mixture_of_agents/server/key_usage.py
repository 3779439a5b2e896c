"""What each key has asked and spent, in an SQLite file that outlives the server, or in memory."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from llama_index.packs.mixture_of_agents._concurrency.shared_file import open_shared

_MINUTE, _DAY = 60.0, 86_400.0
"""Seconds."""
_TABLES = """
CREATE TABLE IF NOT EXISTS key_requests (name TEXT, at REAL);
CREATE INDEX IF NOT EXISTS key_requests_by_name ON key_requests (name, at);
CREATE TABLE IF NOT EXISTS key_spending (name TEXT, day INTEGER, usd REAL, PRIMARY KEY (name, day));
"""
_SPEND = """
INSERT INTO key_spending VALUES (?, ?, ?) ON CONFLICT (name, day) DO UPDATE SET usd = usd + excluded.usd
"""


@dataclass(frozen=True, slots=True)
class UsedUp:
    """A limit that is reached.

    Attributes:
        limit: Which one.
        seconds: The seconds until there is room again.
    """

    limit: Literal["requests_per_minute", "usd_per_day"]
    seconds: float


class KeyUsage:
    """Counts requests and US dollars by key. Several processes may share the file.

    One thread of its own does the work, in the order in which it is asked.

    Args:
        path: The SQLite file; None keeps the counts in memory.
        clock: The time in seconds since the epoch.
    """

    def __init__(self, path: str | Path | None = None, clock: Callable[[], float] = time.time) -> None:  # fmt: skip
        self._path, self._clock = path or ":memory:", clock
        self._process = 0

    async def admit(
        self, name: str, requests_per_minute: int | None, usd_per_day: float | None
    ) -> UsedUp | None:
        """Count a request, unless a limit is reached.

        Returns:
            The limit that is reached.

        Raises:
            sqlite3.Error: The file cannot be written to.
        """
        admit = partial(self._admit, name, requests_per_minute, usd_per_day)
        return await asyncio.get_running_loop().run_in_executor(self._thread(), admit)

    def spend(self, name: str, usd: float) -> None:
        """Count US dollars. The next ``admit`` knows of them."""
        self._thread().submit(self._spend, name, usd)

    def _thread(self) -> ThreadPoolExecutor:
        """The thread, in each process one of its own, as neither it nor a connection survives a fork."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._executor = ThreadPoolExecutor(1, "ledger", self._connect)
        return self._executor

    def _connect(self) -> None:
        self._connection = open_shared(self._path, timeout=10.0)
        self._connection.executescript(_TABLES)

    def _admit(self, name: str, requests_per_minute: int | None, usd_per_day: float | None) -> UsedUp | None:  # fmt: skip
        now = self._clock()
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            spent = self._one(
                "SELECT usd FROM key_spending WHERE name = ? AND day = ?", name, now // _DAY
            )
            if usd_per_day and spent and spent[0] >= usd_per_day:
                return UsedUp("usd_per_day", _DAY - now % _DAY)
            self._one("DELETE FROM key_requests WHERE name = ? AND at <= ?", name, now - _MINUTE)
            if requests_per_minute:
                where = (
                    "SELECT at FROM key_requests WHERE name = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
                )
                first = self._one(where, name, requests_per_minute - 1)
                if first:
                    return UsedUp("requests_per_minute", first[0] + _MINUTE - now)
                self._one("INSERT INTO key_requests VALUES (?, ?)", name, now)
        return None

    def _spend(self, name: str, usd: float) -> None:
        self._one(_SPEND, name, self._clock() // _DAY, usd)

    def _one(self, statement: str, *values: object) -> tuple[float, ...] | None:
        """Run a statement; its first row."""
        with closing(self._connection.execute(statement, values)) as rows:
            return rows.fetchone()
