"""A mixture by hand over the OpenAI SDK, without LlamaIndex."""

import asyncio
from typing import Any

from contestants.by_hand import body
from openai import AsyncOpenAI, DefaultAioHttpClient


def make(setup: Any) -> dict[str, Any]:
    """A gather over one SDK client."""
    http = DefaultAioHttpClient() if setup.client == "aiohttp" else None
    client = AsyncOpenAI(api_key=setup.key, base_url=f"{setup.base}/v1", http_client=http)

    async def ask(model: str, question: str, references: list[str]) -> str:
        answer = await client.chat.completions.create(**body(model, question, references))
        return answer.choices[0].message.content or ""

    async def gather(question: str) -> str:
        references: list[str] = []
        for _ in range(setup.layers):
            calls = (ask(model, question, references) for model in setup.proposers)
            references = await asyncio.gather(*calls)
        return await ask(setup.aggregator, question, references)

    return {"gather": gather}
