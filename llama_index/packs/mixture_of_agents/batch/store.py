"""The files of a batch: answers, failures, and a description of the mixture.

::

    answers.jsonl          one row for each answered question
    answers.failed.jsonl   one row for each question that failed when it was last asked; absent if none did
    answers.batch.json     the mixture that answers, and the cost of failures whose rows are deleted
    answers.claim.json     the machine that writes these files; there only while it does
    answers.batches.db     what was handed to providers' batch APIs; there until the run ends

A row is one write, made as soon as there is an answer: no row is lost when the process is killed. Rows are forced to
the disk at most once a second, and at the end, so that a power failure loses one second. Rows of failures whose question
was answered later, or failed again, are deleted when the batch ends.
"""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.pricing import Cost

from ._disk import Claim, Ids, lock
from .outcomes import COLUMNS, Answer, answer_of
from .parquet import require_pyarrow, write_rows
from .question import Question

_FORMAT = "mixture-of-agents-batch/1"
_BY_ANOTHER = "another {} is writing answers here; wait for it, or name another file"
_FORCED_EVERY = 1.0
"""Seconds."""


class Store:
    """The files of a batch, open for writing. A context manager; entering it locks them.

    Args:
        out: The file of the answers: ``.jsonl``; or ``.parquet``, which is made at the end from a ``.jsonl`` beside it.
        fingerprint: The mixture in words; a batch continues only with the same one.

    Attributes:
        path: The file of the answers' rows.
        failures: The file of the failures' rows.
        batches: The file of what was handed to providers' batch APIs.
        rows: How many answers earlier runs have written.
        dearest: US dollars of the dearest question so far, failures included.
        spent: US dollars of earlier runs, failures included.
        mended: Bytes of an unfinished row that were cut off.
    """

    def __init__(self, out: str | Path, fingerprint: str) -> None:
        self.out = Path(out)
        if self.out.suffix not in (".jsonl", ".parquet"):
            raise BatchError(f"{out}: answers are written to a .jsonl or a .parquet file; name one")
        if self.out.suffix == ".parquet":
            require_pyarrow()
        self.path = self.out.with_suffix(".jsonl")
        self.failures = self.out.with_suffix(".failed.jsonl")
        self.batches = self.out.with_suffix(".batches.db")
        self.rows, self.dearest, self.spent, self.mended = 0, Decimal(0), Cost(), 0
        self._description, self._fingerprint = self.out.with_suffix(".batch.json"), fingerprint
        self._tidied = self.failures.with_name(f"{self.failures.name}.part")
        self._gone = Cost()  # what failures have cost whose rows are gone
        self._answered, self._forced = Ids(), time.monotonic()
        self._file = self._failed = -1
        self._claim = Claim(self.out.with_suffix(".claim.json"))

    def __enter__(self) -> "Store":  # noqa: PYI034 - typing has Self from Python 3.11 on
        try:
            self._keep_from_others()
            self._file = _opened(self.path)
            self._lock()
            self._read_description()
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
        self._claim.leave()

    def is_made_of(self, path: Path) -> bool:
        """Whether a path is one of these files."""
        own = (self.out, self.path, self.failures, self._description)
        return path.exists() and any(one.exists() and one.samefile(path) for one in own)

    def read(self) -> Iterator[Answer]:
        """The answers and failures of earlier runs. Must be read to the end once, before any other method is called.

        Raises:
            BatchError: The files hold something else; the message says in which line.
        """
        self.spent = self._gone
        for answer in self._rows(self.path, mend=True):
            self._answered.add(answer.question.id, answer.question.digest())
            self.rows += 1
            self._add_up(answer.cost)
            yield answer
        if self.failures.exists():
            for answer in self._rows(self.failures, mend=True):
                self._add_up(answer.cost)
                yield answer

    def _add_up(self, cost: Cost) -> None:
        self.spent += cost
        self.dearest = max(self.dearest, cost.at_least)

    def has(self, question: Question) -> bool:
        """Whether a question is answered.

        Raises:
            BatchError: Another question with the same id is answered.
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
        """Write an answer or a failure.

        Raises:
            BatchError: Another machine has begun to write here.
            OSError: It cannot be written; what was written before is unchanged.
        """
        if self._claim.is_lost:
            raise BatchError(f"{self.path}: {_BY_ANOTHER.format('machine')}")
        if answer.kind is None:
            _append(self._file, self.path, answer)
            self._answered.add(answer.question.id, answer.question.digest())
        else:
            if self._failed < 0:
                self._failed = _opened(self.failures)
            _append(self._failed, self.failures, answer)
        if time.monotonic() - self._forced >= _FORCED_EVERY:
            self._force()

    def finish(self) -> Iterator[object]:
        """Force everything to the disk, delete outdated failures, and make the Parquet file. Call it last.

        Yields:
            Each row that was dealt with, so that the caller can give other tasks their turn.

        Raises:
            OSError: A file cannot be written.
        """
        self._force()
        if self.failures.exists():
            yield from self._tidy()
        if self.out != self.path:
            yield from write_rows(self.out, (one.row() for one in self._rows(self.path)), COLUMNS)

    def _force(self) -> None:
        for file in (self._file, self._failed):
            if file >= 0:
                os.fsync(file)
        self._forced = time.monotonic()

    def _keep_from_others(self) -> None:
        if self.out != self.path and self.out.exists() and not self._description.exists():
            raise BatchError(self._of_something_else(self.out))

    def _lock(self) -> None:
        for path in (self.path, self.failures):
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                problem = "this is not a file that a batch can continue; name another"
                raise BatchError(f"{path}: {problem} for the answers")
        if not lock(self._file):
            raise BatchError(f"{self.path}: {_BY_ANOTHER.format('process')}")
        if not self._claim.enter():
            raise BatchError(f"{self.path}: {_BY_ANOTHER.format('machine')}")

    def _of_something_else(self, path: Path) -> str:
        problem = f"it holds something already, and no {self._description.name} says of what"
        return f"{path}: {problem}; name another file for the answers"

    def _read_description(self) -> None:
        """Read the description beside the answers, or write it if there is none.

        Raises:
            BatchError: These are answers of another mixture, or no answers at all.
        """
        empty = not os.fstat(self._file).st_size and not self.failures.exists()
        if not self._description.exists():
            if not empty:
                raise BatchError(self._of_something_else(self.path))
            self._describe()
        try:
            found = json.loads(self._description.read_text("utf-8"))
            answers_of, gone = found["answers_of"], found["failures_cost"]
            self._gone = Cost(Decimal(gone["usd"]), tuple(gone["unpriced"]))
        except (ValueError, KeyError, TypeError, ArithmeticError):
            raise BatchError(
                f"{self._description}: this is not a file of a batch; name another"
            ) from None
        if answers_of == self._fingerprint:
            if found.get("tidied"):
                self._put_in_place()
            return
        if not empty:
            problem = "its answers are of another mixture"
            both = f"  before: {answers_of}\n  now:    {self._fingerprint}"
            remedy = "To continue, ask the same as before; or name another file for these answers."
            raise BatchError(f"{self.path}: {problem}.\n{both}\n{remedy}")
        self._gone = Cost()
        self._describe()

    def _describe(self, *, tidied: bool = False) -> None:
        cost = {"usd": str(self._gone.at_least), "unpriced": self._gone.unpriced}
        text = {"format": _FORMAT, "answers_of": self._fingerprint, "failures_cost": cost}
        text |= {"tidied": True} if tidied else {}
        # Written beside the old one and moved over it, so that a crash leaves one of them whole.
        unfinished = self._description.with_name(f"{self._description.name}.part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(f"{json.dumps(text, indent=2)}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._description)

    def _tidy(self) -> Iterator[Answer]:
        """Keep the last failure of each question without an answer; of the others, keep the cost alone.

        Each failure's cost counts once, whenever this process is killed: the tidied file replaces the old one only
        once the description says so, and if the process is killed in between, the next run replaces it.
        """
        if self._failed >= 0:  # Windows replaces no file that is open
            os.close(self._failed)
            self._failed = -1
        gone = self._gone
        with closing(Ids()) as last, self._tidied.open("wb") as file:
            for number, failure in enumerate(self._rows(self.failures)):
                last.put(failure.question.id, number)
                yield failure
            for number, failure in enumerate(self._rows(self.failures)):
                name = failure.question.id
                if last.get(name) == number and self._answered.get(name) is None:
                    file.write(failure.to_json() + b"\n")
                else:
                    gone += failure.cost
                yield failure
            file.flush()
            os.fsync(file.fileno())
        self._gone = gone
        self._describe(tidied=True)
        self._put_in_place()

    def _put_in_place(self) -> None:
        with suppress(FileNotFoundError):  # the process was killed after this step
            self._tidied.replace(self.failures)
        if self.failures.exists() and not self.failures.stat().st_size:
            self.failures.unlink()
        self._describe()

    def _rows(self, path: Path, *, mend: bool = False) -> Iterator[Answer]:
        """The rows of a file. With ``mend``, an unfinished last row is cut off."""
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
        if mend and not whole:  # only the line end is missing
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
