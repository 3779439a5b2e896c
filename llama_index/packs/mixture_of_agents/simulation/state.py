"""What the server knows between two requests: behaviours, gates and the log."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from .answers import Model
from .behaviour import Behaviour
from .log import EVERY_MODEL, Ledger, Record


@dataclass(slots=True)
class Gate:
    """Requests held back: before anything (`after` 0), or in a stream after so many chunks."""

    after: int = 0
    skip: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])


class State:
    """Everything that a reset forgets."""

    def __init__(self, *, keep_records: bool, keep_bodies: bool) -> None:
        self.ledger = Ledger(keep_records=keep_records, keep_bodies=keep_bodies)
        self._behaviours: dict[str, Behaviour] = {}
        self._models: dict[str, Model] = {}
        self._gates: dict[str, Gate] = {}

    def configure(self, model: str, behaviour: Behaviour) -> None:
        """Set a model's behaviour, or with "*" that of all models without one of their own."""
        self._behaviours[model] = behaviour
        if model == EVERY_MODEL:
            self._models = {n: m for n, m in self._models.items() if n in self._behaviours}
        else:
            self._models.pop(model, None)

    def model(self, name: str) -> Model:
        """The model of that name."""
        if name not in self._models:
            default = self._behaviours.get(EVERY_MODEL) or Behaviour()
            self._models[name] = Model(name, self._behaviours.get(name, default))
        return self._models[name]

    def known_models(self) -> list[str]:
        """The names of the models that were configured or used."""
        names = {*self._behaviours, *self._models} - {EVERY_MODEL}
        return sorted(name for name in names if not self.model(name).behaviour.missing)

    def hold(self, model: str, *, after: int, skip: int) -> None:
        """Close a gate; requests that already wait at it go on waiting."""
        gate = self._gates.setdefault(model, Gate())
        gate.after, gate.skip = after, skip

    def release(self, model: str, number: int | None) -> int:
        """Let the oldest `number` held requests go, or all of them and open the gate."""
        if model == EVERY_MODEL and number is None:
            return sum(self._open(name) for name in list(self._gates))
        if number is None:
            return self._open(model)
        return self._let_go(self._gates.get(model), number)

    async def pass_gate(self, record: Record, point: int) -> None:
        """Wait here if a gate holds this request at this point of it."""
        gate = self._gates.get(record.model) or self._gates.get(EVERY_MODEL)
        if gate is None or gate.after != point:
            return
        if gate.skip > 0:
            gate.skip -= 1
            return
        released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gate.waiting.append(released)
        self.ledger.held(record, 1)
        try:
            await released
        finally:
            self.ledger.held(record, -1)
            if released in gate.waiting:
                gate.waiting.remove(released)

    def _open(self, model: str) -> int:
        gate = self._gates.pop(model, None)
        return self._let_go(gate, len(gate.waiting) if gate else 0)

    def _let_go(self, gate: Gate | None, number: int) -> int:
        gone = 0
        while gate is not None and gate.waiting and gone < number:
            released = gate.waiting.popleft()
            if not released.done():
                released.set_result(None)
                gone += 1
        return gone
