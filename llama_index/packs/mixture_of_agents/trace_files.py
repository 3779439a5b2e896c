"""Runs in a file: one JSON line each, as ``MixtureResult.to_json`` writes it."""

import os
from pathlib import Path

from .events import AnswerDelta, Event, RunFinished, RunStarted
from .result import MixtureResult


class TraceFile:
    """A listener that appends every run to a file when it ends, however it ends.

    Several threads and processes may write to one file: a line is one write to a file opened for appending.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._runs: dict[str, list[Event]] = {}
        self._append(
            b""
        )  # what cannot be written to is told at once, not when the first run has been paid for

    def __call__(self, run: RunStarted, event: Event) -> None:
        if isinstance(event, AnswerDelta):
            return
        events = self._runs.setdefault(run.run_id, [])
        events.append(event)
        if isinstance(event, RunFinished):
            result = MixtureResult(tuple(self._runs.pop(run.run_id)))
            self._append(f"{result.to_json()}\n".encode())

    def _append(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(line)

    def __repr__(self) -> str:
        return f"trace_to({os.fspath(self.path)!r})"


def trace_to(path: str | Path) -> TraceFile:
    """A listener for ``MixtureOfAgents.listen`` that appends every run to a file.

    ``MixtureResult.load`` reads a run again, and ``replay`` answers from it without a network.

    Raises:
        OSError: the file cannot be written to.
    """
    return TraceFile(path)
