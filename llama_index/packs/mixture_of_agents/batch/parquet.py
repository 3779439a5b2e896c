"""Rows in Parquet files, by way of pyarrow (extra ``batch``)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.errors import BatchError

_AT_ONCE = 1024
"""Rows in memory."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, some at a time.

    Raises:
        BatchError: it is no Parquet file.
        ImportError: pyarrow is not installed.
        OSError: it cannot be read.
    """
    pq = _pyarrow("parquet")
    with path.open("rb") as file:
        try:
            batches = pq.ParquetFile(file).iter_batches(_AT_ONCE)
        except ValueError as error:
            raise BatchError(f"{path}: this is no Parquet file ({error})") from None
        for batch in batches:
            yield from batch.to_pylist()


def write_rows(
    path: Path, rows: Iterable[dict[str, Any]], columns: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Write rows to a file, which is there when it is whole.

    Args:
        path: the file.
        rows: the rows.
        columns: each column's name and Arrow type ("string", "double", ...); what is no text becomes JSON in a
            "string" column.

    Yields:
        Each row, when it is written, so that others may have their turn.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: it cannot be written.
    """
    pa, pq = _pyarrow(""), _pyarrow("parquet")
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with pq.ParquetWriter(unfinished, schema) as writer:
            for some in _in_batches(rows):
                told = [
                    {name: _told(row.get(name), columns[name]) for name in columns} for row in some
                ]
                writer.write_table(pa.Table.from_pylist(told, schema))
                yield from some
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _in_batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _told(value: Any, kind: str) -> Any:
    if kind != "string" or value is None:
        return value
    text: str = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # a model may say half a character, which no column of texts can hold
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def require_pyarrow() -> None:
    """See that Parquet can be read and written.

    Raises:
        ImportError: pyarrow is not installed; the message says what to do.
    """
    _pyarrow("parquet")


def _pyarrow(part: str) -> Any:
    try:
        import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
        import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        pip = 'pip install "llama-index-packs-mixture-of-agents[batch]"'
        raise ImportError(f"Parquet is read and written by pyarrow: {pip}") from error
    return pq if part else pa
