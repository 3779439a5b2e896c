"""Trace files of runs over HTTP and of several processes."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from asking import (
    ALL_WAYS,
    ask,
    in_every_way,
)
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.recipe import Recipe
from llama_index.packs.mixture_of_agents.replay import replay, trace_to
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def real_recipe(providers: SimulatedProviders) -> Recipe:
    proposers = [
        providers.openai("gpt-4.1-mini"),
        Proposer(providers.mistral("mistral-small-latest"), name="sceptic", samples=2),
        Proposer(providers.openai("gpt-4o"), samples=2),
    ]
    return moa(proposers, providers.openai("gpt-4.1"), layers=2, call=CallPolicy(backoff=0))


def told(result: MixtureResult) -> list[object]:
    """What of a result depends neither on the clock nor on whether it was asked or replayed."""
    calls = [
        (c.layer, c.agent, c.proposals, replace(c.usage, requests=0), c.attempts)
        for c in result.calls
    ]
    return [result.answer, result.message, result.degraded, calls]


@in_every_way
async def test_a_real_run_is_replayed_without_the_network(
    providers: SimulatedProviders, tmp_path: Path, way: str
):
    providers.configure("gpt-4.1-mini", script=[failure(500), failure(401)])
    file, recipe = tmp_path / "runs.jsonl", real_recipe(providers)
    recorded = MixtureOfAgents(recipe)
    recorded.listen(trace_to(file))
    result = await ask(recorded, way)
    assert result.degraded
    assert MixtureResult.load(file) == result

    asked = providers.counts().arrived
    for again in ALL_WAYS:
        replayed = await ask(replay(recipe, file), again)
        assert told(replayed) == told(result)
        assert all(call.replayed for call in replayed.calls)
        assert (replayed.cost.usd, replayed.usage.requests) == (0, 0)
    assert providers.counts().arrived == asked


WRITER = """
import sys
from llama_index.core.base.llms.types import ChatMessage
from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM
from llama_index.packs.mixture_of_agents.replay import trace_to

mixture = MixtureOfAgents(moa([ScriptedLLM("x" * 50_000)], ScriptedLLM("b")))
mixture.listen(trace_to(sys.argv[1]))
for number in range(10):
    mixture.chat([ChatMessage(role="user", content=f"{sys.argv[2]}-{number}")])
"""


def test_several_threads_and_processes_write_whole_lines_to_one_file(tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, file, f"p{n}"]) for n in range(2)]
    mixture = MixtureOfAgents(moa([ScriptedLLM("y" * 50_000)], ScriptedLLM("b")))
    mixture.listen(trace_to(file))

    def write(name: str) -> None:
        for number in range(10):
            mixture.chat([ChatMessage(role="user", content=f"{name}-{number}")])

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    questions = sorted(MixtureResult.from_json(json.dumps(line)).question for line in lines)
    assert questions == sorted(f"{w}-{n}" for w in ("p0", "p1", "t0", "t1") for n in range(10))
