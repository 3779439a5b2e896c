"""Reads questions from a file, one at a time: JSON lines, text, CSV or Parquet."""

import codecs
import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import closing, suppress
from io import BufferedReader, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.errors import BatchError

from ._disk import Ids
from .question import Question, question_of
from .remote_file import RemoteFile, is_remote

Questions = str | Path | Iterable[Question | str | Mapping[str, Any]]
"""A file or its address, or the questions themselves, a data set of Hugging Face's for example. A text is one question,
and a mapping is read like an object of a file."""
File = Path | RemoteFile
STDIN = Path("-")
_BOM = "\ufeff"
_SAVE = 'save it as UTF-8 ("CSV UTF-8" in Excel)'
_LONGEST = 2**31 - 1
"""Characters of a cell in a CSV file: the largest limit that works on every system."""


def are_at_hand(questions: Questions) -> bool:
    """Whether the questions can be read more than once, as those of a file, a sequence or a data set."""
    if isinstance(questions, (str, Path)):
        return Path(questions) != STDIN
    return isinstance(questions, Sized) and not isinstance(questions, Iterator)


def each(questions: Questions) -> Iterator[Question]:
    """The questions of a file, or the given ones; a question without an id gets its number.

    Raises:
        BatchError: Something is not a question; the message says which and why.
    """
    return (question for _, question in numbered(questions))


def unique(questions: Questions) -> Iterator[Question]:
    """The same as ``each``, with every id checked.

    Raises:
        BatchError: Two questions have the same id; the message names both lines.
    """
    file = f"{questions}: " if isinstance(questions, (str, Path)) else ""
    place = "line" if file else "question"
    with closing(Ids()) as ids:
        for number, question in numbered(questions):
            if not ids.add(question.id, number):
                both = f"{place} {ids.get(question.id)} and {place} {number}"
                raise BatchError(
                    f"{file}{both} have the same id, {question.id!r}; give each its own"
                )
            yield question


def numbered(questions: Questions) -> Iterator[tuple[int, Question]]:
    """The questions with their numbers: lines of a file, rows of Parquet, places of an iterable, from 1.

    Raises:
        BatchError: Something is not a question; the message says which and why.
    """
    if isinstance(questions, (str, Path)):
        yield from _in_file(_file(questions))
        return
    for number, one in enumerate(questions, 1):
        if isinstance(one, Question):
            yield number, one
            continue
        try:
            made = question_of({"question": one} if isinstance(one, str) else one, number)
        except BatchError as error:
            raise BatchError(f"question {number}: {error}") from None
        yield number, made


def read_questions(path: str | Path) -> Iterator[Question]:
    """Read the questions of a file, each when it is needed.

    The file's extension says what it holds: ``.jsonl`` (or ``.ndjson``) has an object with ``question`` or ``messages``
    in each line, or a line for OpenAI's Batch API; ``.txt`` has a question in each line; ``.csv`` and ``.tsv`` have a
    column ``question``; ``.parquet`` too. The file may be at an address (``s3://...``) that fsspec reads. "-" is standard
    input, as JSON lines. Empty lines are skipped.

    Args:
        path: The file or its address, or "-".

    Yields:
        The questions, in the file's order.

    Raises:
        BatchError: Something in it is not a question; the message says in which line, why, and what to do.
        ImportError: pyarrow is not installed, and the file is Parquet; or a package for such an address.
        OSError: The file cannot be read.
    """
    return (question for _, question in _in_file(_file(path)))


def _file(place: str | Path) -> File:
    return RemoteFile(str(place)) if is_remote(place) else Path(place)


def _in_file(path: File) -> Iterator[tuple[int, Question]]:
    read = _json_lines if path == STDIN else _FORMATS.get(path.suffix.lower())
    if read is None:
        known = ", ".join(_FORMATS)
        raise BatchError(f"{path}: the end of its name says nothing that is known here ({known})")
    for number, record in read(path):
        try:
            question = question_of(record, number)
        except BatchError as error:
            raise BatchError(f"{path}, line {number}: {error}") from None
        yield number, question


def _json_lines(path: File) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            problem = f"this is not JSON ({error}); write one object a line"
            raise BatchError(f"{path}, line {number}: {problem}") from None


def _text(path: File) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        if line.strip():
            yield number, {"question": line.rstrip("\r\n")}


def _csv(path: File, delimiter: str = ",") -> Iterator[tuple[int, Any]]:
    # The default is 128 KiB. Python has one limit for the whole process.
    csv.field_size_limit(_LONGEST)
    lines = (line for _, line in _lines(path))
    header, before = next(lines, ""), 0
    if header.startswith("sep="):  # how Excel names the separator
        delimiter, header, before = header[4:5], next(lines, ""), 1
    delimiter = _delimiter(header, delimiter)
    rows = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    number = before + 1
    try:
        columns = [name.strip() for name in next(rows, list[str]())]
        if any(columns) and columns.count("question") != 1:
            found = "more than one" if "question" in columns else "no"
            problem = f'{found} column is named "question"; they are: {", ".join(columns)}'
            raise BatchError(f"{path}, line {number}: {problem}")
        number = before + rows.line_num + 1
        for cells in rows:
            if any(cells):
                yield number, _row(columns, cells, f"{path}, line {number}")
            number = before + rows.line_num + 1
    except csv.Error as error:
        raise BatchError(f"{path}, line {number}: {error}; are its quotes right?") from None


def _delimiter(header: str, usual: str) -> str:
    """The character that separates the columns: the usual one, or the only one that gives a column "question"."""
    for one in (usual, *";\t,|"):
        with suppress(csv.Error):
            if "question" in (name.strip() for name in next(csv.reader([header], delimiter=one))):
                return one
    return usual


def _row(columns: list[str], cells: list[str], place: str) -> dict[str, str]:
    """The cells of a row by column. Columns without a name are padding, or pandas' index if they come first."""
    for at, cell in enumerate(cells):
        if cell and at and (at >= len(columns) or not columns[at]):
            problem = "it has more cells than there are columns; put quotes around commas"
            raise BatchError(f"{place}: {problem}")
    return {name: cell for name, cell in zip(columns, cells, strict=False) if name}


def _tabs(path: File) -> Iterator[tuple[int, Any]]:
    return _csv(path, "\t")


def _parquet(path: File) -> Iterator[tuple[int, Any]]:
    from .parquet import read_rows

    return enumerate(read_rows(path), 1)


_FORMATS: dict[str, Callable[[File], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".txt": _text,
    ".csv": _csv,
    ".tsv": _tabs,
    ".parquet": _parquet,
}


def _lines(path: File) -> Iterator[tuple[int, str]]:
    r"""The lines of a file, numbered from 1. Only \n ends a line, and none of Unicode's other separators."""
    # Python waits for sys.stdin when it ends, while a thread may still read it.
    with os.fdopen(0, "rb", closefd=False) if path == STDIN else path.open("rb") as file:
        if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            yield from _lines_of_utf_16(file, path)
            return
        for number, data in enumerate(file, 1):
            if number == 1 and b"\0" in data:
                raise BatchError(f"{path}, line 1: this is not UTF-8 but perhaps UTF-16; {_SAVE}")
            try:
                line = data.decode()
            except UnicodeDecodeError as error:
                problem = f"this is not UTF-8 ({error.reason} at byte {error.start + 1}); {_SAVE}"
                raise BatchError(f"{path}, line {number}: {problem}") from None
            yield number, line.removeprefix(_BOM) if number == 1 else line


def _lines_of_utf_16(file: BufferedReader, path: File) -> Iterator[tuple[int, str]]:
    """The lines of what Excel and Notepad call Unicode text."""
    with TextIOWrapper(file, "utf-16", newline="\n") as lines:
        try:
            yield from enumerate(lines, 1)
        except UnicodeDecodeError as error:
            raise BatchError(f"{path}: this is broken UTF-16 ({error.reason}); {_SAVE}") from None
