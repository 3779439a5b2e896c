"""The control interface: plain HTTP under /_control/, so that any process can use it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from .behaviour import Behaviour
from .conversation import Json
from .log import EVERY_MODEL
from .state import Gate

if TYPE_CHECKING:
    from .http_server import Server


class Control:
    """One method for each POST path; they take and give JSON objects."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Do what the path says; 400 with the reason where that is not possible."""
        name = request.path.removeprefix("/_control/")
        action = _ACTIONS.get(name)
        if action is None:
            return web.json_response({"error": f"no such action: {name}"}, status=404)
        try:
            asked: Json = json.loads(await request.read() or b"{}")
            return web.json_response(await action(self, asked))
        except (TypeError, ValueError, KeyError) as wrong:
            return web.json_response({"error": f"{name}: {wrong!r}"}, status=400)

    async def configure(self, asked: Json) -> Json:
        """{"model", "behaviour"}."""
        self._server.state.configure(asked["model"], Behaviour.from_json(asked["behaviour"]))
        return {}

    async def reset(self, asked: Json) -> Json:
        """{"keep_records", "keep_bodies"}, both optional."""
        self._server.reset(**asked)
        return {}

    async def hold(self, asked: Json) -> Json:
        """{"model", "after", "skip"}."""
        model = asked.get("model", EVERY_MODEL)
        self._server.state.hold(model, Gate(asked.get("after", 0), asked.get("skip", 0)))
        return {}

    async def release(self, asked: Json) -> Json:
        """{"model", "number"}; gives {"released"}."""
        model = asked.get("model", EVERY_MODEL)
        return {"released": self._server.state.release(model, asked.get("number"))}

    async def wait(self, asked: Json) -> Json:
        """{"model", "wanted", "seconds"}; gives {"reached", "counts"} when there, or too late."""
        model: str = asked.get("model", EVERY_MODEL)
        ledger = self._server.state.ledger
        reached = await ledger.wait(model, asked["wanted"], asked["seconds"])
        return {"reached": reached, "counts": asdict(ledger.counts(model))}

    async def counts(self, asked: Json) -> Json:
        """{"model"}; gives the counters."""
        return asdict(self._server.state.ledger.counts(asked.get("model", EVERY_MODEL)))

    async def log(self, asked: Json) -> Json:  # noqa: ARG002
        """Gives {"records"}."""
        return {"records": self._server.state.ledger.to_json()}

    async def advance(self, asked: Json) -> Json:
        """{"seconds"}: moves the clock of the batches."""
        self._server.state.batches.advance(asked["seconds"])
        return {}

    async def batches(self, asked: Json) -> Json:  # noqa: ARG002
        """Gives {"batches"}."""
        return {"batches": self._server.state.batches.to_json()}

    async def forget(self, asked: Json) -> Json:
        """{"batch"}: loses it."""
        self._server.state.batches.forget(asked["batch"])
        return {}


_ACTIONS = {
    "configure": Control.configure,
    "reset": Control.reset,
    "hold": Control.hold,
    "release": Control.release,
    "wait": Control.wait,
    "counts": Control.counts,
    "log": Control.log,
    "advance": Control.advance,
    "batches": Control.batches,
    "forget": Control.forget,
}
