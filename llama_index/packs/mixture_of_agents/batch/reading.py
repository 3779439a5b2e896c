"""Questions out of a file, one at a time: JSON lines, text, CSV, Parquet."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from llama_index.packs.mixture_of_agents.errors import BatchError

from .question import Question, question_of

Questions = str | Path | Iterable[Question | str | Mapping[str, Any]]
"""A file, or the questions themselves; a text is a question, a mapping what an object of a file is."""
STDIN = Path("-")
_BOM = "\ufeff"
_LONGEST = 2**31 - 1
"""Characters of a cell in a CSV file; more than this its reader takes on no system."""


def are_at_hand(questions: Questions) -> bool:
    """Whether they can be read without waiting, and more than once: those of a file or a sequence."""
    if isinstance(questions, (str, Path)):
        return Path(questions) != STDIN
    return isinstance(questions, Sequence)


def each(questions: Questions) -> Iterator[Question]:
    """The questions of a file, or those that are given; one that has no id gets its number.

    Raises:
        BatchError: something is no question; the message says which and why.
    """
    if isinstance(questions, (str, Path)):
        yield from read_questions(questions)
        return
    for number, one in enumerate(questions, 1):
        if isinstance(one, Question):
            yield one
            continue
        try:
            yield question_of({"question": one} if isinstance(one, str) else one, number)
        except BatchError as error:
            raise BatchError(f"question {number}: {error}") from None


def read_questions(path: str | Path) -> Iterator[Question]:
    """The questions of a file, read as they are asked for.

    The end of its name says what it is: ``.jsonl`` (or ``.ndjson``), an object with ``question`` or ``messages`` in each
    line, also as OpenAI's Batch API takes them; ``.txt``, a question in each line; ``.csv`` and ``.tsv`` with a column
    ``question``; ``.parquet``. "-" is standard input, as JSON lines. Empty lines of JSON lines and text are passed over.

    Raises:
        BatchError: it holds something that is no question; the message says in which line, why, and what to do.
        ImportError: Parquet, without pyarrow.
        OSError: it cannot be read.
    """
    path = Path(path)
    read = _json_lines if path == STDIN else _FORMATS.get(path.suffix.lower())
    if read is None:
        known = ", ".join(_FORMATS)
        raise BatchError(f"{path}: the end of its name says nothing that is known here ({known})")
    for number, record in read(path):
        try:
            yield question_of(record, number)
        except BatchError as error:  # noqa: PERF203 - it names the line
            raise BatchError(f"{path}, line {number}: {error}") from None


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            problem = f"this is no JSON ({error}); write one object a line"
            raise BatchError(f"{path}, line {number}: {problem}") from None


def _text(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        if line.strip():
            yield number, {"question": line.rstrip("\r\n")}


def _csv(path: Path, delimiter: str = ",") -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(
        _LONGEST
    )  # not 128 KiB; it holds for all of this process, there is no other way
    rows = csv.DictReader(
        (line for _, line in _lines(path)), delimiter=delimiter, restkey="", strict=True
    )
    number = 1
    try:
        columns = rows.fieldnames or ()
        if columns and "question" not in columns:
            problem = f'no column is named "question"; they are: {", ".join(columns)}'
            raise BatchError(f"{path}, line 1: {problem}")
        number = rows.line_num + 1
        for row in rows:
            if row.pop("", None):
                problem = "it has more cells than there are columns; put quotes around commas"
                raise BatchError(f"{path}, line {number}: {problem}")
            yield number, row
            number = rows.line_num + 1
    except csv.Error as error:
        raise BatchError(f"{path}, line {number}: {error}; are its quotes right?") from None


def _tabs(path: Path) -> Iterator[tuple[int, Any]]:
    return _csv(path, "\t")


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    from .parquet import read_rows

    return enumerate(read_rows(path), 1)


_FORMATS: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".txt": _text,
    ".csv": _csv,
    ".tsv": _tabs,
    ".parquet": _parquet,
}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""The lines of a file, numbered from 1. They end with \n and nothing else that Unicode calls a line's end."""
    # not sys.stdin, which Python waits for when it ends, while a thread may still read it
    file: BinaryIO = os.fdopen(0, "rb", closefd=False) if path == STDIN else path.open("rb")
    with file:
        for number, data in enumerate(file, 1):
            try:
                line = data.decode()
            except UnicodeDecodeError as error:
                problem = f"this is no UTF-8 ({error.reason} at byte {error.start + 1}); save it so"
                raise BatchError(f"{path}, line {number}: {problem}") from None
            yield number, line.removeprefix(_BOM) if number == 1 else line
