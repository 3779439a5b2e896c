"""Files of JSON: written for a test, and read back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def ids(path: Path) -> list[str]:
    """The ids of its rows."""
    return [row["id"] for row in rows(path)]


def written(path: Path, records: Sequence[Any]) -> Path:
    """A file of these records: a list if its name ends in ``.json``, else lines."""
    lines = "".join(f"{json.dumps(one)}\n" for one in records)
    path.write_text(json.dumps(records) if path.suffix == ".json" else lines)
    return path
