"""Rows in Parquet files, by way of pyarrow (extra ``batch``)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.errors import BatchError

from .remote_file import RemoteFile

_AT_ONCE = 1024
"""Rows in memory."""


def read_rows(path: Path | RemoteFile) -> Iterator[dict[str, Any]]:
    """The rows of a file, read in blocks.

    Raises:
        BatchError: It is no Parquet file.
        ImportError: pyarrow is not installed.
        OSError: It cannot be read.
    """
    pq = _pyarrow("parquet")
    with path.open("rb") as file:
        try:
            batches = pq.ParquetFile(file).iter_batches(_AT_ONCE)
        except ValueError as error:
            raise BatchError(f"{path}: this is not a Parquet file ({error})") from None
        for batch in batches:
            yield from batch.to_pylist()


def write_rows(
    path: Path, rows: Iterable[dict[str, Any]], columns: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Write rows to a file, which appears once it is complete.

    Args:
        path: The file.
        rows: The rows.
        columns: Each column's name and Arrow type ("string", "double", ...). In a "string" column, anything but a text
            becomes JSON.

    Yields:
        Each row once it is written, so that the caller can give other tasks their turn.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: The file cannot be written.
    """
    pa, pq = _pyarrow(""), _pyarrow("parquet")
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with pq.ParquetWriter(unfinished, schema) as writer:
            for some in _in_batches(rows):
                cells = [
                    {name: _cell(row.get(name), columns[name]) for name in columns} for row in some
                ]
                writer.write_table(pa.Table.from_pylist(cells, schema))
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


def _cell(value: Any, kind: str) -> Any:
    if kind != "string" or value is None:
        return value
    text: str = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # half a character, from a model, fits into no column of texts
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def require_pyarrow() -> None:
    """Check that pyarrow is installed.

    Raises:
        ImportError: It is not; the message says what to do.
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
