"""A mixture by hand over aiohttp alone: what the wire and the event loop cost."""

import asyncio
import json
import time
from importlib import import_module
from typing import Any

import aiohttp
from contestants.by_hand import body


def make(setup: Any) -> dict[str, Any]:
    """A gather over one session, in a process that has also imported what the options name."""
    list(map(import_module, setup.options.get("imports", ())))
    sessions: list[aiohttp.ClientSession] = []
    headers = {"Authorization": f"Bearer {setup.key}"}

    def session() -> aiohttp.ClientSession:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        return sessions[0]

    async def ask(model: str, question: str, references: list[str]) -> str:
        url, data = f"{setup.base}/v1/chat/completions", body(model, question, references)
        async with session().post(url, json=data, headers=headers) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    async def proposals(question: str) -> list[str]:
        references: list[str] = []
        for _ in range(setup.layers):
            calls = (ask(model, question, references) for model in setup.proposers)
            references = await asyncio.gather(*calls)
        return references

    async def gather(question: str) -> str:
        return await ask(setup.aggregator, question, await proposals(question))

    async def first_token(question: str) -> float | None:
        begun = time.perf_counter()
        first = None
        data = {**body(setup.aggregator, question, await proposals(question)), "stream": True}
        url = f"{setup.base}/v1/chat/completions"
        async with session().post(url, json=data, headers=headers) as response:
            async for line in response.content:
                if first is None and line.startswith(b"data: {"):
                    said = json.loads(line[6:])["choices"]
                    first = (
                        time.perf_counter() - begun
                        if said and said[0]["delta"].get("content")
                        else None
                    )
        return first

    return {"gather": gather, "first_token": first_token}
