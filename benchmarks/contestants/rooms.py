"""The server and the batch, beside the same mixture asked without them."""

import asyncio
import socket
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from contestants.llama_index_openai import llms_of, mixture_of
from fastapi import FastAPI
from llama_index.core.base.llms.types import ChatMessage

QUESTIONS, AT_ONCE = 40, 10
"""Of one batch."""


def make(setup: Any) -> dict[str, Any]:
    """A question asked directly and over HTTP; a batch of questions by hand and by ours."""
    mixture = mixture_of(setup, llms_of(setup))

    async def ask(question: str) -> str:
        answer = await mixture.achat([ChatMessage(role="user", content=question)])
        return answer.message.content or ""

    async def stream(question: str) -> str:
        chunks = await mixture.astream_chat([ChatMessage(role="user", content=question)])
        return "".join([chunk.delta or "" async for chunk in chunks])

    return {
        "directly": ask,
        "directly, streamed": stream,
        "bare server": _served(lambda: _bare(ask), "answer", {}),
        "server": _served(lambda: _ours(mixture), "chat/completions", {}),
        "responses": _served(lambda: _ours(mixture), "responses", {}),
        "messages": _served(lambda: _ours(mixture), "messages", {"max_tokens": 1000}),
        "server, streamed": _served(lambda: _ours(mixture), "chat/completions", {"stream": True}),
        "responses, streamed": _served(lambda: _ours(mixture), "responses", {"stream": True}),
        "messages, streamed": _served(
            lambda: _ours(mixture), "messages", {"stream": True, "max_tokens": 1000}
        ),
        "bare batch": partial(_bare_batch, ask),
        "batch": partial(_batch, mixture),
    }


def _bare(ask: Callable[[str], Awaitable[str]]) -> FastAPI:
    """The least that serves a mixture."""
    app = FastAPI()

    @app.post("/v1/answer")
    async def answer(body: dict[str, Any]) -> dict[str, str]:
        return {"content": await ask(body["messages"][0]["content"])}

    return app


def _ours(mixture: Any) -> FastAPI:
    from llama_index.packs.mixture_of_agents.server import create_app

    return create_app({"moa": mixture})


def _served(app: Callable[[], FastAPI], path: str, more: dict[str, Any]) -> Any:
    """A question over HTTP; the server is started with the first one, and lives as long as this process."""
    started: dict[str, Any] = {}

    async def ask(question: str) -> str:
        if not started:
            listening = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(
                app(), log_level="warning", access_log=False, timeout_keep_alive=600
            )
            started["task"] = asyncio.create_task(uvicorn.Server(config).serve([listening]))
            started["url"] = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/{path}"
            started["client"] = aiohttp.ClientSession()
        asked = (
            {"input": question}
            if path == "responses"
            else {"messages": [{"role": "user", "content": question}]}
        )
        body = {"model": "moa", **asked, **more}
        async with started["client"].post(started["url"], json=body) as response:
            response.raise_for_status()
            return await response.text()

    return ask


async def _bare_batch(ask: Callable[[str], Awaitable[str]], question: str) -> str:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(_: int) -> str:
        async with room:
            return await ask(question)

    return "".join(await asyncio.gather(*map(one, range(QUESTIONS))))


async def _batch(mixture: Any, question: str) -> str:
    from llama_index.packs.mixture_of_agents.batch import arun_batch

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "answers.jsonl")
        report = await arun_batch(mixture, [question] * QUESTIONS, out, in_flight=AT_ONCE)
        assert report.answered == QUESTIONS, report
        return str(report)
