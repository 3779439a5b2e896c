"""An SQLite file that several processes of one machine open, perhaps all at the same moment."""

import sqlite3
import time
from pathlib import Path

_PAUSE = 0.005
"""Seconds."""


def open_shared(path: str | Path, timeout: float) -> sqlite3.Connection:
    """Open the file in WAL mode, in which readers and a writer don't wait for each other.

    Args:
        path: the file; it is created if there is none.
        timeout: seconds to wait for other processes, now and at each statement.

    Returns:
        A connection in autocommit mode, for any thread. It must not be carried over a fork.

    Raises:
        sqlite3.Error: the file is no SQLite file, or it cannot be opened, or it was locked all the time.
    """
    connection = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        _into_wal_mode(connection, time.monotonic() + timeout)
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _into_wal_mode(connection: sqlite3.Connection, end: float) -> None:
    """Change the mode. Here SQLite does not wait: two processes that do it at once would wait for each other."""
    while not _is_in_wal_mode(connection, end):
        time.sleep(_PAUSE)


def _is_in_wal_mode(connection: sqlite3.Connection, end: float) -> bool:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error) or time.monotonic() > end:
            raise
        return False
    return True
