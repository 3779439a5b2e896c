"""The official MCP SDK's client, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

KEY = "a-key"


async def cancel_one_of_two(client: Client, providers: Any, question: Mapping[str, Any]) -> None:
    """Ask two mixtures of two proposers, cancel the first run while both are held, and let the other one answer."""
    left = asyncio.create_task(client.call_tool("ask", dict(question)))
    await asyncio.to_thread(providers.wait_for, "*", held=2)
    kept = asyncio.create_task(client.call_tool("ask", dict(question)))
    await asyncio.to_thread(providers.wait_for, "*", held=4)
    left.cancel()
    await asyncio.to_thread(providers.wait_for, "*", hung_up=2)
    await asyncio.to_thread(providers.release)
    assert not (await kept).is_error


@asynccontextmanager
async def assistant(at: str, mode: Any = "auto", key: str = KEY) -> AsyncIterator[Client]:
    """A client of a server's ``/mcp``."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{at}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client
