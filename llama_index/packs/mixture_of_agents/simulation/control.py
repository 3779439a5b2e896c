"""The control interface: plain HTTP under /_control/. Any process can use it."""

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
    """The actions: one method for each POST path. Each takes and returns a JSON object."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Perform the action of the path; answer 400 with the reason if it fails."""
        name = request.path.removeprefix("/_control/")
        action = _ACTIONS.get(name)
        if action is None:
            return web.json_response({"error": f"no such action: {name}"}, status=404)
        try:
            body: Json = json.loads(await request.read() or b"{}")
            return web.json_response(await action(self, body))
        except (TypeError, ValueError, KeyError) as wrong:
            return web.json_response({"error": f"{name}: {wrong!r}"}, status=400)

    async def configure(self, body: Json) -> Json:
        """Take {"model", "behaviour"}."""
        self._server.state.configure(body["model"], Behaviour.from_json(body["behaviour"]))
        return {}

    async def reset(self, body: Json) -> Json:
        """Take {"keep_records", "keep_bodies"}, both optional."""
        self._server.reset(**body)
        return {}

    async def hold(self, body: Json) -> Json:
        """Take {"model", "after", "skip"}."""
        model = body.get("model", EVERY_MODEL)
        self._server.state.hold(model, Gate(body.get("after", 0), body.get("skip", 0)))
        return {}

    async def release(self, body: Json) -> Json:
        """Take {"model", "number"}; return {"released"}."""
        model = body.get("model", EVERY_MODEL)
        return {"released": self._server.state.release(model, body.get("number"))}

    async def wait(self, body: Json) -> Json:
        """Take {"model", "wanted", "seconds"}; return {"reached", "counts"} once reached, or after the time."""
        model: str = body.get("model", EVERY_MODEL)
        ledger = self._server.state.ledger
        reached = await ledger.wait(model, body["wanted"], body["seconds"])
        return {"reached": reached, "counts": asdict(ledger.counts(model))}

    async def counts(self, body: Json) -> Json:
        """Take {"model"}; return its counters."""
        return asdict(self._server.state.ledger.counts(body.get("model", EVERY_MODEL)))

    async def log(self, body: Json) -> Json:  # noqa: ARG002
        """Return {"records"}."""
        return {"records": self._server.state.ledger.to_json()}

    async def advance(self, body: Json) -> Json:
        """Take {"seconds"}; move the clock of the batches."""
        self._server.state.batches.advance(body["seconds"])
        return {}

    async def batches(self, body: Json) -> Json:  # noqa: ARG002
        """Return {"batches"}."""
        return {"batches": self._server.state.batches.to_json()}

    async def forget(self, body: Json) -> Json:
        """Take {"batch"}; lose that batch."""
        self._server.state.batches.forget(body["batch"])
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
