"""The official MCP SDK's client, over /mcp."""

import asyncio

from mcp import Client
from question import BASE, QUESTION, report


async def main() -> None:
    """List the tools, ask, and hear of every call that ends."""
    heard = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async with Client(f"{BASE}/mcp") as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)
    report(whole=answer.content[0].text, tools=tools, progress=max(heard))


asyncio.run(main())
