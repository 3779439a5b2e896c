"""The server. It takes a request, lets the model's behaviour decide, and sends the answer."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

from aiohttp import web

from . import embeddings, mistral_api, openai_api, sending
from .batch_service import BATCHES, provider_of
from .behaviour import Outcome
from .control import Control
from .conversation import Json
from .log import Record
from .provider_api import Provider
from .refusals import Problem
from .state import State

WRONG_KEY = "wrong"
# To add a provider, write a module with the same functions, and list its paths here.
_CHAT: dict[str, Provider] = {
    "/v1/chat/completions": openai_api,
    "/v1/completions": openai_api,
    "/mistral/v1/chat/completions": mistral_api,
}
_EMBEDDINGS: dict[str, Provider] = {
    "/v1/embeddings": openai_api,
    "/mistral/v1/embeddings": mistral_api,
}
_MODELS: dict[str, Provider] = {"/v1/models": openai_api, "/mistral/v1/models": mistral_api}
_PROVIDERS = {**_CHAT, **_EMBEDDINGS, **_MODELS}


class Server:
    """One simulated server with both providers and the control interface."""

    def __init__(self) -> None:
        self.state = State(keep_records=True, keep_bodies=True)
        self._open: dict[int, web.BaseRequest] = {}
        self._control = Control(self)

    def reset(self, *, keep_records: bool = True, keep_bodies: bool = True) -> None:
        """Forget everything, and reset the connections of open requests."""
        self.state = State(keep_records=keep_records, keep_bodies=keep_bodies)
        for request in list(self._open.values()):
            sending.abort(request)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request to any path."""
        path = request.path
        provider = _PROVIDERS.get(path) or provider_of(path)
        if provider is None:
            if path.startswith("/_control/"):
                return await self._control.handle(request)
            return web.json_response({"error": {"message": f"no such path: {path}"}}, status=404)
        state = self.state
        arrived = time.monotonic()
        # Not request.read(), which refuses more than a megabyte.
        raw = await request.content.read()
        is_batch = path not in _PROVIDERS
        body = _parsed(raw) if request.method == "POST" and not is_batch else {}
        record = _record(request, provider, body or {}, arrived, bodies=state.ledger.keep_bodies)
        if is_batch:
            record.model = BATCHES
        state.ledger.arrive(record)
        self._open[id(request)] = request
        try:
            if is_batch:
                return await self._answer_batch(request, state, provider, record, raw)
            return await self._answer(request, state, provider, record, body)
        except (asyncio.CancelledError, ConnectionError) as gone:
            state.ledger.end(record, hung_up=True)
            if isinstance(gone, asyncio.CancelledError):
                raise
            return web.Response()  # nobody receives this: the connection is closed
        finally:
            self._open.pop(id(request), None)
            state.ledger.end(record)

    async def _answer_batch(
        self,
        request: web.BaseRequest,
        state: State,
        provider: Provider,
        record: Record,
        raw: bytes,
    ) -> web.StreamResponse:
        send = sending.Sender(request, state, record)
        refused = _refused_key(request, provider)
        if refused is not None:
            return await send.problem(provider, refused)
        await state.pass_gate(record, 0)
        outcome = state.model(BATCHES).next_outcome()
        record.outcome = outcome.kind
        early = await _end_early(send, provider, outcome, streaming=False)
        if early is not None:
            return early
        answer = state.batches.handle(
            request.method,
            request.path,
            request.query,
            request.headers.get("Content-Type", ""),
            raw,
        )
        await state.pass_gate(record, 1)
        if isinstance(answer, Problem):
            return await send.problem(provider, answer)
        return await (
            send.raw(200, answer) if isinstance(answer, bytes) else send.json(200, answer)
        )

    async def _answer(
        self,
        request: web.BaseRequest,
        state: State,
        provider: Provider,
        record: Record,
        body: Json | None,
    ) -> web.StreamResponse:
        send = sending.Sender(request, state, record)
        problem = _refusal(request, provider, state, body)
        if problem is not None or body is None:
            return await send.problem(provider, problem or provider.not_json())
        if request.path in _MODELS:
            return await send.json(200, _model_list(state))
        await state.pass_gate(record, 0)
        model = state.model(record.model)
        outcome = model.next_outcome()
        record.outcome = outcome.kind
        await asyncio.sleep(model.latency(streaming=record.stream))
        early = await _end_early(send, provider, outcome, streaming=record.stream)
        if early is not None:
            return early
        if request.path in _EMBEDDINGS:
            return await send.json(200, embeddings.answer_json(body), outcome)
        replies, tokens = model.answered(body, outcome, record)
        if record.stream:
            words = model.behaviour.chunk_words
            parts = list(provider.chunks(record.number, body, replies, tokens, words))
            return await send.stream(provider, parts, outcome, model.behaviour.per_token)
        whole = provider.answer_json(record.number, body, replies, tokens)
        return await send.json(200, whole, outcome)


async def _end_early(
    send: sending.Sender, provider: Provider, outcome: Outcome, *, streaming: bool
) -> web.StreamResponse | None:
    """End a request whose outcome sends no part of an answer; return None for all others."""
    if outcome.kind == "hang":
        await asyncio.Event().wait()
    if outcome.kind == "reset":
        return send.reset()
    if outcome.kind == "empty_body":
        return await send.raw(200, b"")
    if outcome.kind == "status" or (outcome.kind == "error_in_stream" and not streaming):
        return await send.failure(provider, outcome)
    return None


def _refusal(
    request: web.BaseRequest, provider: Provider, state: State, body: Json | None
) -> Problem | None:
    if (refused := _refused_key(request, provider)) is not None:
        return refused
    if body is None or request.path in _MODELS:
        return None
    name = body.get("model")
    if not name or not isinstance(name, str):
        return Problem(400, "you must provide a model parameter")
    behaviour = state.model(name).behaviour
    if behaviour.missing:
        return provider.unknown_model(name)
    return provider.problem_in(body, behaviour) if request.path in _CHAT else None


def _refused_key(request: web.BaseRequest, provider: Provider) -> Problem | None:
    key = request.headers.get("Authorization", "").removeprefix("Bearer").strip()
    wrong = not key or key == WRONG_KEY
    return provider.unauthorized(has_key=bool(key)) if wrong else None


def _parsed(raw: bytes) -> Json | None:
    try:
        body: Any = json.loads(raw)
    except ValueError:
        return None
    return cast("Json", body) if isinstance(body, dict) else None


def _record(
    request: web.BaseRequest, provider: Provider, body: Json, arrived: float, *, bodies: bool
) -> Record:
    return Record(
        number=0,
        provider=provider.NAME,
        path=request.path,
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        body=body if bodies else {},
        headers=tuple(name.lower() for name in request.headers) if bodies else (),
        user_agent=request.headers.get("User-Agent", ""),
        arrived=arrived,
    )


def _model_list(state: State) -> Json:
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "simulation"}
            for name in state.known_models()
        ],
    }
