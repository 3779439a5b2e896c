"""OpenAI's batch API: https://platform.openai.com/docs/guides/batch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import httpx
from llama_index.core.llms.llm import LLM

from .batch_wire import Exchange, Sent, Stage, Wire
from .openai_client import plain_clients

_PATH = "/v1/chat/completions"
_OVER = frozenset({"completed", "expired", "cancelled"})
_PAGES = 10
"""The number of pages, of a hundred batches each, that are searched for a mark. The newest come first."""


class OpenAIBatches:
    """OpenAI's batch API, as ``BatchAPI``."""

    name: ClassVar[str] = "openai"
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 100_000_000

    async def is_offered(self, llm: LLM) -> bool:
        """Ask the server for its batches: LLMs of OpenAI's class may ask any server that speaks OpenAI's language."""
        from openai import APIStatusError, AsyncOpenAI, OpenAIError

        known: Any = llm
        settings: Any = known._get_credential_kwargs(is_async=True)  # noqa: SLF001
        async with httpx.AsyncClient(follow_redirects=True) as http:
            own: Any = {"http_client": http, "max_retries": 0, "timeout": 30}
            client = AsyncOpenAI(**{**settings, **own})
            try:
                await client.batches.list(limit=1)
            except APIStatusError as error:
                return error.status_code not in (404, 405, 501)
            except OpenAIError:
                return True
        return True

    def stand_in(self, llm: LLM, exchange: Exchange) -> LLM:
        copy: Any = llm.model_copy()
        connections: Any = _Handover(exchange)
        http: Any = httpx.AsyncClient(transport=connections)
        http.connections = connections  # requests go straight there, past most of the SDK
        settings = copy._get_credential_kwargs(is_async=True)  # noqa: SLF001
        copy._aclient = plain_clients()[1](**{**settings, "http_client": http})  # noqa: SLF001
        copy.reuse_client = True
        return copy

    def line(self, name: str, body: Mapping[str, Any]) -> bytes:
        content = {key: value for key, value in body.items() if key != "stream"}
        row = {"custom_id": name, "method": "POST", "url": _PATH, "body": content}
        return json.dumps(row, ensure_ascii=False).encode(errors="replace")

    async def submit(self, wire: Wire, lines: Sequence[bytes], model: str, mark: str) -> str:
        del model  # each line names it
        batch = {
            "input_file_id": await wire.upload(b"\n".join(lines)),
            "endpoint": _PATH,
            "completion_window": "24h",
            "metadata": {"mark": mark},
        }
        return str((await wire.json("POST", "/batches", json=batch))["id"])

    async def find(self, wire: Wire, mark: str) -> str | None:
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            page = await wire.json("GET", "/batches", params={"limit": 100, **after})
            for batch in page["data"]:
                metadata: dict[str, str] = batch.get("metadata") or {}
                if metadata.get("mark") == mark:
                    return str(batch["id"])
            if not page.get("has_more"):
                break
            after = {"after": page["data"][-1]["id"]}
        return None

    async def poll(self, wire: Wire, batch: str) -> Stage:
        found = await wire.json("GET", f"/batches/{batch}")
        counts: dict[str, int] = found.get("request_counts") or {}
        done = counts.get("completed", 0) + counts.get("failed", 0)
        errors: dict[str, Any] = found.get("errors") or {}
        files = [found.get(name) for name in ("output_file_id", "error_file_id")]
        return Stage(
            "refused"
            if found["status"] == "failed"
            else "over"
            if found["status"] in _OVER
            else "open",
            done,
            counts.get("total", 0),
            tuple(file for file in files if file),
            json.dumps(errors.get("data") or "it gave no reason"),
        )

    async def cancel(self, wire: Wire, batch: str) -> None:
        await wire.json("POST", f"/batches/{batch}/cancel")


class _Handover(httpx.AsyncBaseTransport):
    """A transport that sends nothing. It hands each request to the exchange."""

    most_at_once = 0  # each request comes to ``handle_async_request``, whatever its length

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        received = await self._exchange(Sent(str(request.url), request.headers, content))
        headers = {"Content-Type": "application/json"}
        return httpx.Response(received.status, headers=headers, content=received.content)
