"""Mistral's batch API: https://docs.mistral.ai/capabilities/batch/."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

from llama_index.core.llms.llm import LLM

from .batch_wire import Exchange, Sent, Stage, Wire

_OVER = frozenset({"SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED"})
_PAGES = 10
"""The number of pages, of a hundred batches each, that are searched for a mark."""


class MistralBatches:
    """Mistral's batch API, as ``BatchAPI``."""

    name: ClassVar[str] = "mistralai"
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 100_000_000

    async def is_offered(self, llm: LLM) -> bool:
        """Mistral has it."""
        del llm
        return True

    def stand_in(self, llm: LLM, exchange: Exchange) -> LLM:
        copy: Any = llm.model_copy()
        own = copy._client.sdk_configuration  # noqa: SLF001
        client = type(copy._client)(  # noqa: SLF001
            server_url=own.server_url,
            client=own.client,
            async_client=_Handover(own.async_client, exchange),
        )
        client.sdk_configuration.security = own.security
        copy._client = client  # noqa: SLF001
        return copy

    def line(self, name: str, body: Mapping[str, Any]) -> bytes:
        content = {key: value for key, value in body.items() if key not in ("stream", "model")}
        return json.dumps({"custom_id": name, "body": content}, ensure_ascii=False).encode(
            errors="replace"
        )

    async def submit(self, wire: Wire, lines: Sequence[bytes], model: str, mark: str) -> str:
        batch = {
            "input_files": [await wire.upload(b"\n".join(lines))],
            "endpoint": "/v1/chat/completions",
            "model": model,
            "metadata": {"mark": mark},
            "timeout_hours": 24,
        }
        return str((await wire.json("POST", "/batch/jobs", json=batch))["id"])

    async def find(self, wire: Wire, mark: str) -> str | None:
        for page in range(_PAGES):
            found = await wire.json("GET", "/batch/jobs", params={"page": page, "page_size": 100})
            for job in found.get("data") or ():
                metadata: dict[str, str] = job.get("metadata") or {}
                if metadata.get("mark") == mark:
                    return str(job["id"])
            if len(found.get("data") or ()) < 100:
                break
        return None

    async def poll(self, wire: Wire, batch: str) -> Stage:
        found = await wire.json("GET", f"/batch/jobs/{batch}")
        files = [found.get(name) for name in ("output_file", "error_file")]
        return Stage(
            "refused"
            if found["status"] == "FAILED"
            else "over"
            if found["status"] in _OVER
            else "open",
            found.get("completed_requests") or 0,
            found.get("total_requests") or 0,
            tuple(file for file in files if file),
            json.dumps(found.get("errors") or "it gave no reason"),
        )

    async def cancel(self, wire: Wire, batch: str) -> None:
        await wire.json("POST", f"/batch/jobs/{batch}/cancel")


class _Handover:
    """An HTTP client for Mistral's SDK that sends nothing. It hands each request to the exchange.

    Some versions of the SDK use httpx, others httpx2. So the response is made by the package of its request.
    """

    def __init__(self, client: Any, exchange: Exchange) -> None:
        self._client, self._exchange = client, exchange

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """Build a request as the SDK's own client does."""
        return self._client.build_request(*args, **kwargs)

    async def send(self, request: Any, **_: Any) -> Any:
        """Hand a request to the exchange, and wait for its answer."""
        content = await request.aread()
        received = await self._exchange(Sent(str(request.url), request.headers, content))
        http: Any = import_module(type(request).__module__.partition(".")[0])
        headers = {"Content-Type": "application/json"}
        return http.Response(
            received.status, headers=headers, content=received.content, request=request
        )

    async def aclose(self) -> None:
        """Do nothing: there is no open connection."""
