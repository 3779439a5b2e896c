"""Ids on disk, and a lock on a file."""

import os
import sqlite3
import sys
from typing import Any


class Ids:
    """Ids with a value for each, in a temporary file that is deleted with this object."""

    def __init__(self) -> None:
        # "" is a temporary file; one thread at a time uses it, but not always the same one
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("CREATE TABLE ids (id BLOB PRIMARY KEY, value) WITHOUT ROWID")
        self._base.execute("BEGIN")

    def get(self, name: str) -> Any:
        """The value of an id; None if it is unknown."""
        query = "SELECT value FROM ids WHERE id = ?"
        found = self._base.execute(query, (_key(name),)).fetchone()
        return found[0] if found else None

    def add(self, name: str, value: Any) -> bool:
        """Store an id with its value. If the id is known, change nothing and return False."""
        query = "INSERT OR IGNORE INTO ids VALUES (?, ?)"
        return self._base.execute(query, (_key(name), value)).rowcount == 1

    def put(self, name: str, value: Any) -> None:
        """Store an id with its value, in place of an earlier one."""
        self._base.execute("INSERT OR REPLACE INTO ids VALUES (?, ?)", (_key(name), value))

    def close(self) -> None:
        """Delete the file."""
        self._base.close()


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # half a character is no text to SQLite


if sys.platform == "win32":
    import msvcrt

    _FAR = 2**62  # a locked byte cannot be read there, so one behind the end of the file is locked

    def lock(file: int) -> bool:
        """Lock an open file; False if another process holds the lock."""
        try:
            os.lseek(file, _FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(file: int) -> bool:
        """Lock an open file; False if another process holds the lock."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
