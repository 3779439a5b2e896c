"""How often one question moves from room to room, counted at each function that begins.

A reader who follows the question through the code opens a file as often. A room is a folder, or a module that stands at
the top of the package.
"""

import asyncio
import sys
from collections.abc import Awaitable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from asking import QUESTION
from members import two_layers

import llama_index.packs.mixture_of_agents as package
from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._engine.calls import Caller, Request, RunState
from llama_index.packs.mixture_of_agents._engine.job import Job

FOLDER = Path(package.__path__[0])
LLM = "testing"
"""The room of the LLMs that are asked."""


class Moves:
    """Records the room of each function of the package that begins while this is the thread's profile function."""

    def __init__(self) -> None:
        self.rooms: list[str] = []
        # The frames are kept, so that none takes another's id.
        self._begun: dict[int, FrameType] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        # A coroutine that goes on is no new function.
        if event != "call" or id(frame) in self._begun or is_for_a_tracer(frame):
            return
        file = Path(frame.f_code.co_filename)
        if FOLDER in file.parents:
            self._begun[id(frame)] = frame
            room = file.relative_to(FOLDER).parts[0].removesuffix(".py")
            self.rooms += [] if room == LLM else [room]

    def number(self) -> int:
        return sum(one != other for one, other in pairwise(self.rooms))


def is_for_a_tracer(frame: FrameType | None) -> bool:
    """Whether LlamaIndex writes a mixture as data into an event: up to core 0.14.20 it does so for every chat."""
    while frame and frame.f_code.co_name != "custom_model_dump":
        frame = frame.f_back
    return frame is not None


async def recorded(work: Awaitable[Any]) -> Moves:
    moves = Moves()
    sys.setprofile(moves)
    try:
        await work
    finally:
        sys.setprofile(None)
    return moves


def test_a_question_moves_between_few_rooms() -> None:
    mixture = MixtureOfAgents(two_layers())
    asyncio.run(mixture.achat(QUESTION))  # imports and clients are there from now on
    moves = asyncio.run(recorded(mixture.achat(QUESTION)))
    assert len(set(moves.rooms)) <= 10
    assert moves.number() <= 150


async def test_a_call_alone_stays_in_its_room_and_the_providers() -> None:
    recipe = two_layers()
    caller, proposer = Caller(recipe), recipe.layers[0].proposers[0]
    run = RunState(Job(recipe, caller, QUESTION), lambda _: None)
    await caller.call(Request(proposer, "proposer", 1, QUESTION), run)
    call = caller.call(Request(proposer, "proposer", 1, QUESTION), run)
    moves = await recorded(call)
    assert set(moves.rooms) <= {"_engine", "_providers", "_concurrency"}
    assert moves.number() <= 6
