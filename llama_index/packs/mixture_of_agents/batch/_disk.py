"""Ids on disk, a lock on a file, and a claim on it that other machines respect."""

import json
import os
import socket
import sqlite3
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
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


class Claim:
    """A sign for other machines that this one writes a file: a small file beside it that changes all the time.

    On a network's file system a lock need not hold for other machines. No clocks are compared, since they may differ.

    Args:
        path: The small file.
        host: The name of this machine.
        beat: Seconds between two changes.

    Attributes:
        is_lost: Whether another machine has taken the claim over.
    """

    def __init__(self, path: Path, host: str | None = None, beat: float = 5.0) -> None:
        self._path, self._host, self._beat = path, host or socket.gethostname(), beat
        self._mark, self._changes, self.is_lost = uuid.uuid4().hex, 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="claim")

    def enter(self) -> bool:
        """Claim the file. This waits three beats if another machine has claimed it and seems to be gone.

        Returns:
            False if another machine writes the file.
        """
        if not self._create():
            if self._is_of_another_that_lives():
                return False
            self._path.unlink(missing_ok=True)
            if not self._create():
                return False
        self._thread.start()
        return True

    def leave(self) -> None:
        """Give the claim up. Calling this more than once, or without a claim, is safe."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
            if not self.is_lost:
                self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        with suppress(FileExistsError), self._path.open("x", encoding="utf-8") as file:
            file.write(self._content())
            return True
        return False

    def _content(self) -> str:
        return json.dumps({"host": self._host, "mark": self._mark, "changes": self._changes})

    def _read(self) -> str:
        try:
            return self._path.read_text("utf-8")
        except FileNotFoundError:
            return ""

    def _is_of_another_that_lives(self) -> bool:
        first = self._read()
        if (
            f'"host": {json.dumps(self._host)}' in first
        ):  # the lock of this machine's system decides
            return False
        begun = time.monotonic()
        while time.monotonic() - begun < 3 * self._beat:
            time.sleep(self._beat / 5)
            if self._read() not in (first, ""):
                return True
        return False

    def _keep(self) -> None:
        while not self._over.wait(self._beat):
            if self._mark not in self._read():
                self.is_lost = True
                return
            self._changes += 1
            with suppress(OSError):  # a file system that is away for a while
                self._path.write_text(self._content(), "utf-8")


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
