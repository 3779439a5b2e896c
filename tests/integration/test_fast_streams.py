"""A provider that sends a long answer at once leaves the event loop to others."""

import asyncio
import json
from collections import Counter

import pytest
from asking import QUESTION
from broken import CLASSES, always
from hostile import head, hostile

from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHUNKS = 2000
MOST = 64
"""Pieces of an answer between two turns of the loop. Each takes about 0.2 ms of CPU, so others wait for 15 ms at most."""


def event(text: str, reason: str | None) -> bytes:
    delta = {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({**CHUNK, "choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize("name", ["openai", "its own clients", "mistral"])
async def test_other_tasks_run_between_the_pieces_of_an_answer_that_comes_at_once(
    name: str,
) -> None:
    body = event("and ", None) * CHUNKS + event("so on.", "stop") + b"data: [DONE]\n\n"
    turns, pieces = 0, Counter[int]()

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    with hostile(always(head("text/event-stream"), body)) as server:
        mixture = MixtureOfAgents(moa([ScriptedLLM("So.")], CLASSES[name](server.base), layers=1))
        task = asyncio.create_task(others())
        async for chunk in await mixture.astream_chat(QUESTION):
            pieces[turns] += bool(chunk.delta)
        task.cancel()
    assert pieces.total() > CHUNKS
    assert max(pieces.values()) <= MOST
