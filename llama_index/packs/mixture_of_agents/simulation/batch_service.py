"""The simulated providers' batch APIs: files, batches, and a clock that tests move.

A batch's requests are executed evenly over its model's ``batch_seconds``. Nothing runs in the background: each request
for a batch first executes everything that is due by the service's clock. The requests for files and batches belong to a
model ``batches``, which can be held and made to fail like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from . import mistral_api, openai_api
from .batch_formats import CHAT, MistralFormat, OpenAIFormat
from .conversation import Json
from .log import Record
from .provider_api import Provider
from .refusals import Problem

if TYPE_CHECKING:
    from .state import State

Ending = Literal["queued", "running", "answered", "expired", "cancelled", "failed"]
BATCHES = "batches"
"""The model to which requests for files and batches belong."""
_OPENAI, _MISTRAL = OpenAIFormat(), MistralFormat()
_PAGE = 100


@dataclass(slots=True)
class StoredFile:
    """An uploaded file, or one with a batch's answers."""

    id: str
    name: str
    content: bytes


@dataclass(slots=True)
class Batch:
    """A batch and its progress."""

    id: str
    provider: Provider
    format: OpenAIFormat
    file: str
    model: str
    rows: list[tuple[str, Json]]
    created: float
    window: float
    metadata: Mapping[str, str] | None = None
    state: Ending = "queued"
    done: int = 0
    code: str = ""
    problem: str = ""
    cancelled: bool = False
    output: list[bytes] = field(default_factory=list[bytes])
    errors: list[bytes] = field(default_factory=list[bytes])
    output_file: str | None = None
    error_file: str | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of answered and of refused requests."""
        return len(self.output), self.done - len(self.output)

    @property
    def is_over(self) -> bool:
        return self.state not in ("queued", "running")


def format_of(path: str) -> OpenAIFormat | None:
    """The format of a path for files or batches; None for any other path."""
    for one in (_OPENAI, _MISTRAL):
        if any(re.match(rf"{start}(/|$)", path) for start in (one.files, one.batches)):
            return one
    return None


def provider_of(path: str) -> Provider | None:
    """The provider of a path for files or batches."""
    known = format_of(path)
    return None if known is None else mistral_api if known is _MISTRAL else openai_api


class BatchService:
    """The files and batches of both providers.

    Attributes:
        now: Seconds on the service's clock.
    """

    def __init__(self, state: State) -> None:
        self.now = 0.0
        self._state = state
        self._files: dict[str, StoredFile] = {}
        self._batches: dict[str, Batch] = {}

    def advance(self, seconds: float) -> None:
        """Move the clock, and execute everything that is due by then."""
        self.now += seconds
        for batch in self._batches.values():
            self._go_on(batch)

    def to_json(self) -> list[Json]:
        """All batches, oldest first."""
        return [
            {
                "id": one.id,
                "model": one.model,
                "state": one.state,
                "rows": len(one.rows),
                "done": one.done,
            }
            for one in self._batches.values()
        ]

    def handle(
        self, method: str, path: str, query: Mapping[str, str], content_type: str, raw: bytes
    ) -> Json | bytes | Problem:
        """The answer to a request: an object, a file's content, or a refusal."""
        known, provider = format_of(path), provider_of(path)
        assert known is not None and provider is not None
        if path == known.files:
            return known.file(self._store(_uploaded(content_type, raw)))
        if path.startswith(known.files):
            file = self._files.get(path.removeprefix(f"{known.files}/").removesuffix("/content"))
            return file.content if file else Problem(404, "No such File object")
        if path == known.batches:
            own = [one for one in self._batches.values() if one.format is known]
            if method == "POST":
                return self._created(known, provider, json.loads(raw))
            return _page(known, own, query)
        name, _, action = path.removeprefix(f"{known.batches}/").partition("/")
        batch = self._batches.get(name)
        if batch is None or batch.format is not known:
            return Problem(404, f"No batch found with id '{name}'.")
        batch.cancelled = batch.cancelled or action == "cancel"
        self._go_on(batch)
        return known.batch(batch)

    def forget(self, batch: str) -> None:
        """Lose a batch, as a provider may."""
        del self._batches[batch]

    def _store(self, content: bytes, name: str = "requests.jsonl") -> StoredFile:
        file = StoredFile(f"file-{len(self._files) + 1}", name, content)
        self._files[file.id] = file
        return file

    def _created(self, known: OpenAIFormat, provider: Provider, request: Json) -> Json | Problem:
        file = self._files.get(known.input_file(request))
        if file is None:
            return Problem(400, "Cannot find the input file, or no access to it.")
        lines = [json.loads(line) for line in file.content.splitlines() if line]
        rows = [(str(row["custom_id"]), *known.model_and_body(row, request)) for row in lines]
        models = {model for _, model, _ in rows}
        batch = Batch(
            f"batch-{len(self._batches) + 1}", provider, known, file.id, min(models),
            [(name, body) for name, _, body in rows], self.now, known.window(request), request.get("metadata"),
        )  # fmt: skip
        self._check(batch, models)
        self._batches[batch.id] = batch
        return known.batch(batch)

    def _check(self, batch: Batch, models: set[str]) -> None:
        """Mark a batch as failed if the provider refuses it as a whole."""
        behaviour = self._state.model(batch.model).behaviour
        open_ones = [one for one in self._batches.values() if not one.is_over]
        enqueued = sum(len(one.rows) for one in open_ones if one.model == batch.model)
        most = behaviour.batch_enqueued
        if len(models) > 1:
            batch.code = "mismatched_model"
            batch.problem = "The provided model does not match the model of the other requests."
        elif len(batch.rows) > behaviour.batch_rows:
            batch.code = "too_many_requests_in_batch"
            batch.problem = f"The file has {len(batch.rows)} requests, and the maximum is {behaviour.batch_rows}."
        elif most is not None and enqueued + len(batch.rows) > most:
            batch.code = "token_limit_exceeded"
            batch.problem = (
                f"Enqueued token limit reached for {batch.model}. Please try again once some in_progress "
                "batches have been completed."
            )
        if batch.problem:
            batch.state = "failed"

    def _go_on(self, batch: Batch) -> None:
        if batch.is_over:
            return
        seconds = self._state.model(batch.model).behaviour.batch_seconds
        elapsed, count = self.now - batch.created, len(batch.rows)
        spent = min(elapsed, batch.window)
        due = count if spent >= seconds else int(count * spent / seconds)
        if not batch.cancelled:
            for name, body in batch.rows[batch.done : due]:
                self._execute(batch, name, body)
            batch.done = max(batch.done, due)
        if batch.done == count:
            self._end(batch, "answered")
        elif batch.cancelled or elapsed >= batch.window:
            self._end(batch, "cancelled" if batch.cancelled else "expired")
        else:
            batch.state = "running" if elapsed else "queued"

    def _execute(self, batch: Batch, name: str, body: Json) -> None:
        provider, state = batch.provider, self._state
        record = Record(0, provider.NAME, CHAT, batch.model, body=body, batch=batch.id)
        state.ledger.arrive(record)
        status, answer = self._answered(batch, body, record)
        record.status = status
        state.ledger.end(record)
        line = batch.format.line(record.number, name, status, answer)
        (batch.output if status == 200 else batch.errors).append(json.dumps(line).encode())

    def _answered(self, batch: Batch, body: Json, record: Record) -> tuple[int, Json]:
        provider, model = batch.provider, self._state.model(batch.model)
        problem = provider.problem_in(body, model.behaviour)
        if model.behaviour.missing:
            problem = provider.unknown_model(model.name)
        outcome = model.next_outcome()
        if problem is None and outcome.kind not in ("ok", "empty_answer"):
            problem = provider.failed(outcome.status, outcome.message)
        if problem is not None:
            record.outcome = "refused"
            return problem.status, provider.error_json(problem)
        replies, tokens = model.answered(body, outcome, record)
        return 200, provider.answer_json(record.number, body, replies, tokens)

    def _end(self, batch: Batch, ending: Ending) -> None:
        batch.state = ending
        for number, (name, _) in enumerate(batch.rows[batch.done :]):
            batch.errors.append(json.dumps(batch.format.undone(number, name, ending)).encode())
        if batch.output:
            batch.output_file = self._store(b"\n".join(batch.output), "output.jsonl").id
        if batch.errors:
            batch.error_file = self._store(b"\n".join(batch.errors), "error.jsonl").id


def _page(known: OpenAIFormat, batches: list[Batch], query: Mapping[str, str]) -> Json:
    newest = batches[::-1]
    after = query.get("after")
    start = next((at + 1 for at, one in enumerate(newest) if one.id == after), 0)
    if "page" in query:
        start = int(query["page"]) * _PAGE
    return known.listed(newest[start : start + _PAGE], more=start + _PAGE < len(newest))


def _uploaded(content_type: str, raw: bytes) -> bytes:
    """The file in a form (multipart/form-data)."""
    boundary = re.findall(r'boundary="?([^";]+)', content_type)
    parts: list[Any] = raw.split(f"--{boundary[0]}".encode()) if boundary else []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return content.removesuffix(b"\r\n")
    return b""
