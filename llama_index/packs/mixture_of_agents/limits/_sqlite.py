"""The limits of the processes of one machine, in an SQLite file."""

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from llama_index.packs.mixture_of_agents._concurrency.shared_file import open_shared
from llama_index.packs.mixture_of_agents.errors import LimiterUnavailable
from llama_index.packs.mixture_of_agents.policies import EndpointLimits

from ._limiter import NANO
from ._window import Window

_TABLES = (
    "CREATE TABLE IF NOT EXISTS windows (key TEXT PRIMARY KEY, state TEXT)",
    "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, nanodollars INTEGER)",
)
_SPEND = """INSERT INTO accounts VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET nanodollars = nanodollars + excluded.nanodollars"""


class SqliteLimiter:
    """A ``Limiter`` and a ``Ledger`` for all processes of one machine that open the same file.

    Args:
        path: the file; it is created if there is none. It must be on a disk of this machine, not on a network share.
        endpoints: the limits of each key.
        clock: returns the time in seconds, the same in all processes.
        timeout: seconds to wait for another process that is writing.
    """

    def __init__(
        self,
        path: str | Path,
        endpoints: Mapping[str, EndpointLimits],
        clock: Callable[[], float] = time.time,
        timeout: float = 10.0,
    ) -> None:
        self._path, self._endpoints, self._clock = Path(path).expanduser(), endpoints, clock
        self._timeout, self._process = timeout, 0
        self._lock = threading.Lock()

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        """See ``Limiter.reserve``."""
        limits = self._endpoints.get(key) or EndpointLimits()
        with self._window(key) as window:
            return window.reserve(self._clock(), limits, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        """See ``Limiter.settle``."""
        with self._window(key) as window:
            window.settle(self._clock(), tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        """See ``Limiter.cool_down``."""
        with self._window(key) as window:
            window.cool_down(self._clock(), seconds)

    def spend(self, account: str, usd: Decimal) -> Decimal:
        """See ``Ledger.spend``."""
        total = "SELECT nanodollars FROM accounts WHERE name = ?"
        with self._transaction() as connection:
            connection.execute(_SPEND, (account, round(usd * NANO)))
            ((nanodollars,),) = connection.execute(total, (account,)).fetchall()
            return nanodollars / NANO

    @contextmanager
    def _window(self, key: str) -> Generator[Window, None, None]:
        """The window of a key, which is written back at the end. No other process reads or writes it meanwhile."""
        with self._transaction() as connection:
            found = connection.execute("SELECT state FROM windows WHERE key = ?", (key,)).fetchone()
            window = Window(**json.loads(found[0])) if found else Window()
            yield window
            state = json.dumps({"grants": window.grants, "closed": window.closed})
            connection.execute("INSERT OR REPLACE INTO windows VALUES (?, ?)", (key, state))

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with self._lock:
            try:
                # Within a process the lock orders the threads; SQLite's own lock orders the processes.
                connection = self._connected()
                with connection:  # commits, or rolls back
                    connection.execute("BEGIN IMMEDIATE")  # the lock, before anything is read
                    yield connection
            except sqlite3.Error as error:
                problem = f"the limits in {self._path} cannot be read and written: {error}"
                raise LimiterUnavailable(problem) from error

    def _connected(self) -> sqlite3.Connection:
        """Open the file, once in each process: a connection must not be carried over a fork."""
        if self._process != os.getpid():
            connection = open_shared(self._path, self._timeout)
            self._close = weakref.finalize(self, connection.close)
            for table in _TABLES:
                connection.execute(table)
            self._connection, self._process = connection, os.getpid()
        return self._connection
