"""An SQLite file that several processes open at the same moment."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from llama_index.packs.mixture_of_agents._concurrency.shared_file import open_shared


def locked(path: Path) -> sqlite3.Connection:
    """As another process locks the file while it opens it."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_opening_waits_for_another_process_as_long_as_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    other, begun = locked(path), time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_shared(path, timeout=0.2)
    assert time.monotonic() - begun >= 0.2
    other.close()


def test_a_file_that_becomes_free_is_opened(tmp_path: Path) -> None:
    path, modes = tmp_path / "shared.db", list[tuple[str, ...]]()
    other = locked(path)

    def opened() -> None:
        connection = open_shared(path, timeout=60)
        modes.extend(connection.execute("PRAGMA journal_mode").fetchall())
        connection.close()

    opener = threading.Thread(target=opened)
    opener.start()
    other.execute("COMMIT")
    opener.join()
    assert modes == [("wal",)]
    other.close()


def test_what_is_no_sqlite_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("no database, but a long enough text of somebody's" * 20)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_shared(path, timeout=60)
