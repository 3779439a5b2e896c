"""The server's state between two requests: behaviours, gates and the log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .answers import Model
from .batch_service import BatchService
from .behaviour import Behaviour
from .log import EVERY_MODEL, Ledger, Record


@dataclass(slots=True)
class Gate:
    """Holds requests: before their outcome is decided (`after` 0), or in a stream after `after` chunks."""

    after: int = 0
    skip: int = 0


class State:
    """All state that a reset discards."""

    def __init__(self, *, keep_records: bool, keep_bodies: bool) -> None:
        self.ledger = Ledger(keep_records=keep_records, keep_bodies=keep_bodies)
        self.batches = BatchService(self)
        self._behaviours: dict[str, Behaviour] = {}
        self._models: dict[str, Model] = {}
        self._gates: dict[str, Gate] = {}
        self._held: list[tuple[str, asyncio.Future[None]]] = []

    def configure(self, model: str, behaviour: Behaviour) -> None:
        """Set a model's behaviour; with "*", that of all models without their own."""
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

    def hold(self, model: str, gate: Gate) -> None:
        """Close a gate. Requests that are held already keep waiting."""
        self._gates[model] = gate

    def release(self, model: str, number: int | None) -> int:
        """Release the oldest `number` held requests, or all of them and open the gate."""
        every = model == EVERY_MODEL
        if number is None:
            self._gates = {n: g for n, g in self._gates.items() if not every and n != model}
        going = [held for held in self._held if every or held[0] == model][:number]
        for held in going:
            self._held.remove(held)
            held[1].set_result(None)
        return len(going)

    async def pass_gate(self, record: Record, point: int) -> None:
        """Wait if a gate holds this request at this point."""
        gate = self._gates.get(record.model) or self._gates.get(EVERY_MODEL)
        if gate is None or gate.after != point:
            return
        if gate.skip > 0:
            gate.skip -= 1
            return
        held = (record.model, asyncio.get_running_loop().create_future())
        self._held.append(held)
        self.ledger.held(record, 1)
        try:
            await held[1]
        finally:
            self.ledger.held(record, -1)
            if held in self._held:
                self._held.remove(held)
