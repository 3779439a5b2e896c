"""500 clients that stream from one server for a minute: nothing is lost or mixed up, and its memory stays flat."""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import psutil
import pytest
from serving import serving

pytestmark = [pytest.mark.load, pytest.mark.timeout(300)]

CLIENTS = 500
SECONDS = 60
FILLER = "a word of a long answer " * 15


@dataclass
class Seen:
    """What the clients have seen."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    pieces: int = 0


def body(door: str, question: str) -> dict[str, object]:
    if door == "responses":
        return {"model": "moa", "stream": True, "input": question}
    limit = {"max_tokens": 1000} if door == "messages" else {}
    messages = [{"role": "user", "content": question}]
    return {"model": "moa", "stream": True, "messages": messages, **limit}


def piece(door: str, event: dict) -> str:
    """The text of an event."""
    if door == "chat/completions":
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    if door == "responses":
        return event["delta"] if event["type"] == "response.output_text.delta" else ""
    return event["delta"].get("text", "") if event["type"] == "content_block_delta" else ""


async def ask(session: aiohttp.ClientSession, door: str, question: str, seen: Seen) -> str:
    """The streamed answer to a question."""
    async with session.post(f"/v1/{door}", json=body(door, question)) as response:
        if response.status != 200:
            return f"{response.status}: {await response.text()}"
        parts = [
            piece(door, json.loads(line[6:]))
            async for line in response.content
            if line.startswith(b"data: {")
        ]
    seen.pieces += sum(map(bool, parts))
    return "".join(parts)


async def client(session: aiohttp.ClientSession, number: int, until: float, seen: Seen) -> None:
    """Ask one question after the other."""
    doors = ("chat/completions", "responses", "messages")
    asked = 0
    while time.monotonic() < until:
        door = doors[(number + asked) % 3]
        question = f"Client {number}, question {asked}: {FILLER}"
        answer = await ask(session, door, question, seen)
        seen.answers[door] += 1
        if answer != question.strip():
            seen.wrong.append(f"{door}, {number}.{asked}: {answer[:300]}")
        asked += 1


async def memory(process: psutil.Process, until: float) -> list[float]:
    """The server's memory in MiB, twice a second."""
    held: list[float] = []
    while time.monotonic() < until:
        held.append(process.memory_info().rss / 2**20)
        await asyncio.sleep(0.5)  # a sample, which nothing waits for
    return held


async def everybody(address: str, process: psutil.Process) -> tuple[Seen, list[float]]:
    seen, until = Seen(), time.monotonic() + SECONDS
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, connector=connector) as session:
        held = asyncio.create_task(memory(process, until))
        await asyncio.gather(*(client(session, n, until, seen) for n in range(CLIENTS)))
        return seen, await held


def test_500_streaming_clients_get_their_own_answers_and_memory_stays_flat(providers, capsys):
    providers.configure("*", reply="A short proposal.", latency=0.1)
    providers.configure("gpt-4.1", echo=True, latency=0.1)
    with serving(providers, "--in-flight", str(CLIENTS)) as (process, _, curl):
        address = curl[1].split("/v1")[0]
        seen, held = asyncio.run(everybody(address, psutil.Process(process.pid)))
    half, late = held[len(held) // 2], max(held[-len(held) // 6 :])
    figures = f"{dict(seen.answers)} answers, {seen.pieces} pieces, {half:.0f}, then {late:.0f} MiB"
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")
    assert seen.wrong == []
    assert min(seen.answers.values()) >= CLIENTS / 3
    assert late < half * 1.1
