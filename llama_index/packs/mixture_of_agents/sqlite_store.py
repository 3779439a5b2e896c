"""A key-value store of LlamaIndex's in one SQLite file, for several threads and processes. Nothing to install."""

import asyncio
import json
import os
import sqlite3
import threading
import weakref
from pathlib import Path
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

_TABLE = "CREATE TABLE IF NOT EXISTS entries (collection TEXT, key TEXT, value TEXT, PRIMARY KEY (collection, key))"
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"


class SqliteKVStore(BaseKVStore):
    """Values as JSON text in an SQLite file, with a write-ahead log: readers and a writer do not wait for each other.

    Args:
        path: the file; it is made where there is none.
        timeout: seconds to wait for another process that is writing.

    Raises:
        sqlite3.Error: it is no SQLite file, or cannot be opened.
    """

    def __init__(self, path: str | Path, timeout: float = 10.0) -> None:
        self.path, self._timeout = Path(path), timeout
        self._process = 0
        self._connect()

    def _connect(self) -> None:
        """Open the file, once in each process: a connection must not be carried over a fork."""
        if self._process == os.getpid():
            return
        connection = sqlite3.connect(self.path, timeout=self._timeout, check_same_thread=False)
        self._close = weakref.finalize(self, connection.close)
        self._lock, self._connection, self._process = threading.Lock(), connection, os.getpid()
        with self._lock, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_TABLE)

    def close(self) -> None:
        """Close the file; the store is of no use any more."""
        self._close()

    def _do(self, statement: str, *values: str) -> tuple[list[Any], int]:
        """The rows that it finds and how many it changes, read under the lock: threads share its prepared statement."""
        self._connect()
        with self._lock, self._connection:
            done = self._connection.execute(statement, values)
            return done.fetchall(), done.rowcount

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        self._do(_PUT, collection, key, json.dumps(val, ensure_ascii=False))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        where = "SELECT value FROM entries WHERE collection = ? AND key = ?"
        found, _ = self._do(where, collection, key)
        return json.loads(found[0][0]) if found else None

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        found, _ = self._do("SELECT key, value FROM entries WHERE collection = ?", collection)
        return {key: json.loads(value) for key, value in found}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        where = "DELETE FROM entries WHERE collection = ? AND key = ?"
        return self._do(where, collection, key)[1] > 0

    # In a thread: another process may be writing.

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        await asyncio.to_thread(self.put, key, val, collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return await asyncio.to_thread(self.get, key, collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return await asyncio.to_thread(self.get_all, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return await asyncio.to_thread(self.delete, key, collection)
