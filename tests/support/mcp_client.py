"""The official MCP SDK's client, over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

KEY = "a-key"


@asynccontextmanager
async def assistant(at: str, mode: Any = "auto", key: str = KEY) -> AsyncIterator[Client]:
    """A client of a server's ``/mcp``."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{at}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client
