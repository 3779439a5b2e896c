"""A mixture by hand over aiohttp alone: what the wire and the event loop cost."""

import asyncio
from typing import Any

import aiohttp
from contestants.by_hand import body


def make(setup: Any) -> dict[str, Any]:
    """A gather over one session."""
    sessions: list[aiohttp.ClientSession] = []
    headers = {"Authorization": f"Bearer {setup.key}"}

    async def ask(model: str, question: str, references: list[str]) -> str:
        url, data = f"{setup.base}/v1/chat/completions", body(model, question, references)
        async with sessions[0].post(url, json=data, headers=headers) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    async def gather(question: str) -> str:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        references: list[str] = []
        for _ in range(setup.layers):
            calls = (ask(model, question, references) for model in setup.proposers)
            references = await asyncio.gather(*calls)
        return await ask(setup.aggregator, question, references)

    return {"gather": gather}
