"""The log of received requests: one record per request, counters, and ways to wait for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, fields
from typing import Any

EVERY_MODEL = "*"


@dataclass(slots=True)
class Record:
    """One request as the server saw it.

    Times are `time.monotonic()` seconds of the machine, so they compare with those of other
    processes on it. No key ever enters a record.

    Attributes:
        number: its place among all requests, from 1.
        provider: "openai" or "mistral".
        path: the path of its address.
        model: the model's name.
        stream: whether a stream was requested.
        body: the request's body.
        headers: the names of its headers.
        user_agent: the header User-Agent.
        arrived: when it arrived.
        first_byte: when the first byte of the answer was sent, or None.
        ended: when it ended, or None.
        hung_up: whether the client closed the connection before the end.
        status: the HTTP status of the answer, or None.
        outcome: what the behaviour's script made of it.
        answer: the text of the answer.
        chunks: the number of chunks of a stream.
        input_tokens: the tokens of the request.
        output_tokens: the tokens of the answer, reasoning included.
        reasoning_tokens: the part of them that was reasoning.
        cached_tokens: the part of the request's tokens that came from a cache.
        in_flight: the requests that were open when it arrived, itself included.
        in_flight_of_model: the same for its model alone.
        batch: the id of its batch; "" outside a batch.
    """

    number: int
    provider: str
    path: str
    model: str
    stream: bool = False
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: tuple[str, ...] = ()
    user_agent: str = ""
    arrived: float = 0.0
    first_byte: float | None = None
    ended: float | None = None
    hung_up: bool = False
    status: int | None = None
    outcome: str = "ok"
    answer: str = ""
    chunks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    in_flight: int = 0
    in_flight_of_model: int = 0
    batch: str = ""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """Return the record of JSON data.

        Args:
            data: the data.
        """
        values: dict[str, Any] = {**data, "headers": tuple(data["headers"])}
        return cls(**values)


@dataclass(slots=True)
class Counts:
    """The numbers of requests.

    Attributes:
        arrived: all of them.
        open: those without an end yet.
        held: those that wait to be released.
        started: those whose answer has begun.
        closed: those that have ended.
        hung_up: those whose client left before the end.
        high_water: the most that were open at once.
    """

    arrived: int = 0
    open: int = 0
    held: int = 0
    started: int = 0
    closed: int = 0
    hung_up: int = 0
    high_water: int = 0

    def reached(self, wanted: dict[str, int]) -> bool:
        """Return whether every counter is at least as high as wanted. `open=0` and `held=0` mean exactly 0.

        Args:
            wanted: the numbers by the counters' names.
        """
        return all(
            getattr(self, name) >= number
            if number or name not in ("open", "held")
            else getattr(self, name) == 0
            for name, number in wanted.items()
        )


class Ledger:
    """The log of all requests between two resets."""

    def __init__(self, *, keep_records: bool = True, keep_bodies: bool = True) -> None:
        self.keep_records = keep_records
        self.keep_bodies = keep_bodies
        self.records: list[Record] = []
        self.total = Counts()
        self.of_model: dict[str, Counts] = {}
        self._number = 0
        self._waiting: list[tuple[str, dict[str, int], asyncio.Future[None]]] = []

    def counts(self, model: str = EVERY_MODEL) -> Counts:
        """The counters of one model, or of all models together."""
        return self.total if model == EVERY_MODEL else self.of_model.setdefault(model, Counts())

    def arrive(self, record: Record) -> None:
        """Add the record of a request that has just arrived."""
        self._number += 1
        record.number = self._number
        if self.keep_records:
            self.records.append(record)
        for counts in (self.total, self.counts(record.model)):
            counts.arrived += 1
            counts.open += 1
            counts.high_water = max(counts.high_water, counts.open)
        record.in_flight = self.total.open
        record.in_flight_of_model = self.counts(record.model).open
        self._wake_waiters()

    def held(self, record: Record, change: int) -> None:
        """Count one more (1) or one less (-1) request held at a gate."""
        self.total.held += change
        self.counts(record.model).held += change
        self._wake_waiters()

    def first_byte(self, record: Record) -> None:
        """Note that the first byte of the answer is sent."""
        record.first_byte = time.monotonic()
        self.total.started += 1
        self.counts(record.model).started += 1
        self._wake_waiters()

    def end(self, record: Record, *, hung_up: bool = False) -> None:
        """Note that the request is over. Only the first call counts."""
        if record.ended is not None:
            return
        record.ended = time.monotonic()
        record.hung_up = hung_up
        for counts in (self.total, self.counts(record.model)):
            counts.open -= 1
            counts.closed += 1
            counts.hung_up += hung_up
        self._wake_waiters()

    async def wait(self, model: str, wanted: dict[str, int], seconds: float) -> bool:
        """Wait until the counters of a model reach the wanted numbers; False after `seconds`."""
        if self.counts(model).reached(wanted):
            return True
        reached = asyncio.get_running_loop().create_future()
        entry = (model, wanted, reached)
        self._waiting.append(entry)
        try:
            await asyncio.wait_for(reached, seconds)
        except asyncio.TimeoutError:  # Python 3.10 has two
            return False
        finally:
            self._waiting.remove(entry)
        return True

    def to_json(self) -> list[dict[str, Any]]:
        """All records as plain data."""
        names = [one.name for one in fields(Record)]
        return [{name: getattr(record, name) for name in names} for record in self.records]

    def _wake_waiters(self) -> None:
        for model, wanted, reached in self._waiting:
            if not reached.done() and self.counts(model).reached(wanted):
                reached.set_result(None)
