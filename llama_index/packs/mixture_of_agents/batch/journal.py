"""A record on disk of the batches at providers' batch APIs. A batch that was paid for is never started twice.

A batch is recorded before it is started, with a mark that the provider stores with it. So it can be found even if this
process ends before the batch's id is known. Answers are kept until the run ends. The file holds answers, but neither
keys nor questions.
"""

import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import randbits

from llama_index.packs.mixture_of_agents.errors import BatchError

_TABLES = """
CREATE TABLE IF NOT EXISTS about (seed INTEGER);
CREATE TABLE IF NOT EXISTS batches (mark TEXT PRIMARY KEY, endpoint TEXT, id TEXT, begun REAL);
CREATE TABLE IF NOT EXISTS requests (
    mark TEXT, name TEXT, digest BLOB, endpoint TEXT, answer BLOB, PRIMARY KEY (mark, name)
);
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """A batch that was open when its process ended.

    Attributes:
        mark: The mark that the provider stores with it.
        id: Its id; None if the process ended before the id was known.
        begun: When it was started, in seconds since the epoch.
        requests: The names and digests of its requests.
    """

    mark: str
    id: str | None
    begun: float
    requests: tuple[tuple[str, bytes], ...]


class Journal:
    """The file. Its methods may be called from any thread.

    Args:
        path: The file.

    Attributes:
        seed: A random number that is the same for all processes of this run.
        is_over: Whether the run has ended, so that no answer is needed any more.

    Raises:
        BatchError: The file cannot be opened, read or written. All methods but ``close`` raise this.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock, self.is_over = path, threading.Lock(), False
        with self._failing_in_words():
            self._base = sqlite3.connect(path, check_same_thread=False)
            try:
                self.seed, self._kept = self._begin()
            except sqlite3.Error:
                self._base.close()
                raise

    def _begin(self) -> tuple[int, dict[tuple[str, bytes], list[int]]]:
        """Make the tables unless they exist. Returns the seed, and the rows with answers that nobody has taken."""
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.executescript(_TABLES)
        found = self._base.execute("SELECT seed FROM about").fetchone()
        seed: int = found[0] if found else randbits(62)
        if not found:
            with self._base:
                self._base.execute("INSERT INTO about VALUES (?)", (seed,))
        kept: dict[tuple[str, bytes], list[int]] = {}
        query = "SELECT endpoint, digest, rowid FROM requests WHERE answer IS NOT NULL"
        for endpoint, digest, row in self._base.execute(query):
            kept.setdefault((endpoint, digest), []).append(row)
        return seed, kept

    def take(self, endpoint: str, digest: bytes) -> bytes | None:
        """Take an earlier process's answer to such a request. Each answer is returned once; None if there is none."""
        rows = self._kept.get((endpoint, digest))
        if not rows:
            return None
        with self._transaction():
            query = "SELECT answer FROM requests WHERE rowid = ?"
            return self._base.execute(query, (rows.pop(),)).fetchone()[0]

    def open(self, endpoint: str) -> list[Noted]:
        """The batches of an endpoint that an earlier process left open."""
        with self._transaction():
            found = self._base.execute(
                "SELECT mark, id, begun FROM batches WHERE endpoint = ?", (endpoint,)
            ).fetchall()
            query = "SELECT name, digest FROM requests WHERE mark = ?"
            return [
                Noted(mark, name, begun, tuple(self._base.execute(query, (mark,)).fetchall()))
                for mark, name, begun in found
            ]

    def intend(self, mark: str, endpoint: str, requests: Sequence[tuple[str, bytes]]) -> None:
        """Record that a batch is about to be started."""
        rows = [(mark, name, digest, endpoint) for name, digest in requests]
        with self._transaction():
            self._base.execute(
                "INSERT INTO batches VALUES (?, ?, NULL, ?)", (mark, endpoint, time.time())
            )
            self._base.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, NULL)", rows)

    def begun(self, mark: str, batch: str) -> None:
        """Record the id of a batch that was started."""
        with self._transaction():
            self._base.execute("UPDATE batches SET id = ? WHERE mark = ?", (batch, mark))

    def keep(self, mark: str, answers: Iterable[tuple[str, bytes]]) -> None:
        """Store the answers of a finished batch, so that they are not fetched again. Its other requests are forgotten."""
        rows = [(answer, mark, name) for name, answer in answers]
        with self._transaction():
            self._base.executemany(
                "UPDATE requests SET answer = ? WHERE mark = ? AND name = ?", rows
            )
            self._base.execute("DELETE FROM requests WHERE mark = ? AND answer IS NULL", (mark,))
            self._base.execute("DELETE FROM batches WHERE mark = ?", (mark,))

    def forget(self, mark: str) -> None:
        """Forget a batch that was never started, or that the provider has lost."""
        self.keep(mark, ())

    def close(self) -> None:
        """Close the file; delete it if the run is over and no batch is open."""
        left = 1
        with self._lock, suppress(sqlite3.Error):  # if it cannot be read, it is kept
            left = self._base.execute("SELECT count(*) FROM batches").fetchone()[0]
        self._base.close()
        if self.is_over and not left:
            self._path.unlink(missing_ok=True)

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        """All or nothing, and no other thread meanwhile."""
        with self._lock, self._failing_in_words(), self._base:
            yield

    @contextmanager
    def _failing_in_words(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.Error as error:
            problem = "the batches at providers are recorded here, so nothing is sent without it"
            raise BatchError(f"{self._path}: {error}; {problem}") from error
