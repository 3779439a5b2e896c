"""The files of a batch: its answers, what failed, and what it is a batch of.

::

    answers.jsonl          a row for each question that has its answer, never two for one
    answers.failed.jsonl   a row for each question that failed when it was last asked; not there where none did
    answers.batch.json     which mixture the answers are of, and what failed questions have cost so far

A row is one write, made as soon as there is an answer: whoever ends this process loses no row. Once a second what was
written is forced to the disk, which keeps it when the power fails.
"""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.pricing import Cost

from .answered import COLUMNS, Answer, answer_of
from .ids import Ids
from .locking import lock
from .parquet import require_pyarrow, write_rows
from .question import Question

_FORMAT = "mixture-of-agents-batch/1"
_FORCED_EVERY = 1.0
"""Seconds."""


class Store:
    """The files of a batch, open for more. A context manager; entering it locks them.

    Args:
        out: the file of the answers: ``.jsonl``, or ``.parquet``, which is made of a ``.jsonl`` beside it in the end.
        fingerprint: what the answers are of, in words; a batch goes on only with the same.

    Attributes:
        path: the file of the rows.
        failures: the file of the rows that failed.
        spent: US dollars that were spent before.
        rows: how many answers there were before.
        mended: bytes of a row that was cut off, and is gone.
    """

    def __init__(self, out: str | Path, fingerprint: str) -> None:
        self.out = Path(out)
        if self.out.suffix not in (".jsonl", ".parquet"):
            raise BatchError(f"{out}: answers are written to a .jsonl or a .parquet file; say one")
        if self.out.suffix == ".parquet":
            require_pyarrow()
        self.path = self.out.with_suffix(".jsonl")
        self.failures = self.out.with_suffix(".failed.jsonl")
        self.spent, self.rows, self.mended = Cost(), 0, 0
        self._told, self._fingerprint = self.out.with_suffix(".batch.json"), fingerprint
        self._header: dict[str, Any] = {}
        self._answered, self._forced = Ids(), time.monotonic()
        self._file = self._failed = -1

    def __enter__(self) -> "Store":  # noqa: PYI034 - typing has Self from Python 3.11 on
        self._file = _opened(self.path)
        try:
            self._lock()
            self._header = self._told_before()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._force()
        for file in (self._file, self._failed):
            if file >= 0:
                os.close(file)
        self._file = self._failed = -1
        self._answered.close()

    def read(self) -> Iterator[Answer]:
        """The answers that are there, to be gone through once, before anything else is done.

        Raises:
            BatchError: something else is there; the message says in which line.
        """
        for answer in self._rows(self.path, mend=True):
            self._answered.add(answer.question.id, answer.question.digest())
            self.spent += answer.cost
            self.rows += 1
            yield answer
        self.spent += self._failures_written_off()

    def has(self, question: Question) -> bool:
        """Whether a question has its answer.

        Raises:
            BatchError: one of its id has, but was another question.
        """
        known = self._answered.get(question.id)
        if known is not None and known != question.digest():
            problem = (
                f"it has an answer to another question of the id {question.id}. "
                "Was the file of the questions changed? Give its questions ids, or name another file for their answers"
            )
            raise BatchError(f"{self.path}: {problem}")
        return known is not None

    def add(self, answer: Answer) -> None:
        """Write an answer, or a failure, down.

        Raises:
            OSError: it cannot be written; what was written before is as it was.
        """
        if answer.kind is None:
            _append(self._file, self.path, answer)
            self._answered.add(answer.question.id, answer.question.digest())
        else:
            if self._failed < 0:
                self._failed = _opened(self.failures)
            _append(self._failed, self.failures, answer)
        if time.monotonic() - self._forced >= _FORCED_EVERY:
            self._force()

    def finish(self) -> None:
        """Force all to the disk, and make the Parquet file where one is wanted.

        Raises:
            OSError: it cannot be written.
        """
        self._force()
        if self.out.suffix == ".parquet":
            write_rows(self.out, (answer.row() for answer in self._rows(self.path)), COLUMNS)

    def _force(self) -> None:
        for file in (self._file, self._failed):
            if file >= 0:
                os.fsync(file)
        self._forced = time.monotonic()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise BatchError(f"{self.path}: this is no file that a batch can go on with; name one")
        if not lock(self._file):
            problem = "another process is writing answers here; wait for it, or name another file"
            raise BatchError(f"{self.path}: {problem}")

    def _told_before(self) -> dict[str, Any]:
        """What the file beside the answers says; it is written where there is none.

        Raises:
            BatchError: these are answers of another mixture, or no answers at all.
        """
        empty = not os.fstat(self._file).st_size and not self.failures.exists()
        if not self._told.exists():
            if not empty:
                problem = f"it holds something already, and no {self._told.name} says of what"
                raise BatchError(f"{self.path}: {problem}; name another file for the answers")
            self._tell(Cost())
        try:
            said = json.loads(self._told.read_text("utf-8"))
            theirs = said["answers_of"]
        except (ValueError, KeyError, TypeError):
            raise BatchError(f"{self._told}: this is no file of a batch; name another") from None
        if theirs == self._fingerprint:
            return said
        if not empty:
            problem = "its answers are of another mixture"
            both = f"  before: {theirs}\n  now:    {self._fingerprint}"
            remedy = "To go on, ask the same as before; or name another file for these answers."
            raise BatchError(f"{self.path}: {problem}.\n{both}\n{remedy}")
        self._tell(Cost())
        return self._told_before()

    def _tell(self, failures: Cost) -> None:
        cost = {"usd": str(failures.at_least), "unpriced": failures.unpriced}
        said = {"format": _FORMAT, "answers_of": self._fingerprint, "failures_cost": cost}
        unfinished = self._told.with_name(f"{self._told.name}.part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(f"{json.dumps(said, indent=2)}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._told)

    def _failures_written_off(self) -> Cost:
        """What failed questions have cost so far. They are asked again: their rows go, what they cost is kept."""
        before = self._header["failures_cost"]
        cost = Cost(Decimal(before["usd"]), tuple(before["unpriced"]))
        if self.failures.exists():
            cost = sum((one.cost for one in self._rows(self.failures, mend=True)), cost)
            self._tell(cost)
            self.failures.unlink()
        return cost

    def _rows(self, path: Path, *, mend: bool = False) -> Iterator[Answer]:
        """The rows of a file. What a failure of the machine has left of the last one is cut away."""
        place, whole = 0, True
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                whole = line.endswith(b"\n")
                try:
                    answer = answer_of(json.loads(line))
                except ValueError as error:
                    if whole or not mend:
                        problem = f"{error}. Without this line its question is asked again"
                        raise BatchError(f"{path}, line {number}: {problem}") from None
                    self.mended += len(line)
                    os.truncate(path, place)
                    return
                place += len(line)
                yield answer
        if mend and not whole:  # the last one lacks nothing but its end
            with path.open("ab") as more:
                more.write(b"\n")


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)


def _append(file: int, path: Path, answer: Answer) -> None:
    """Write a row whole, or not at all."""
    line, size = answer.to_json() + b"\n", os.fstat(file).st_size
    try:
        written = os.write(file, line)
        while written < len(line):
            written += os.write(file, line[written:])
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise OSError(error.errno, error.strerror, str(path)) from None
