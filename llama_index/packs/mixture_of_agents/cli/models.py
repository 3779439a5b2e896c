"""``moa models``: which models the configuration names, and whether they answer."""

import os
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .command import FAILED, Flags, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from llama_index.packs.mixture_of_agents.events import CallFinished
    from llama_index.packs.mixture_of_agents.recipe import Agent, Recipe


@command
def models(
    models: Flags,
    check: Annotated[bool, Option("--check", help="Ask each model for one token.")] = False,
) -> int:
    """Show which models are asked, at which address, and with which key."""
    from rich.text import Text

    from .command import say
    from .listing import print_listing
    from .loop import Loop
    from .sources import find

    source = find(models)
    recipe = source.recipe(need_keys=False)
    say(f"{recipe}\nModels from {source.origin}.")
    agents = list({id(agent.llm): agent for agent in _members(recipe)}.values())
    rows = [[Text(name), Text(server), key] for name, server, key in map(_facts, agents)]
    if not check:
        print_listing(["model", "server", "key"], rows)
        return 0
    with Loop() as loop:
        found = [_verdict(call) for call in loop.run(_check(recipe, agents))]
    rows = [
        [*row, Text(verdict, style="green" if good else "red")]
        for row, (verdict, good) in zip(rows, found, strict=True)
    ]
    print_listing(["model", "server", "key", "check"], rows)
    return 0 if all(good for _, good in found) else FAILED


def _members(recipe: "Recipe") -> "Iterator[Agent]":
    """Yield the recipe's agents, and in place of an agent that is a mixture the agents of that one."""
    for agent in recipe.agents:
        inner: Recipe | None = getattr(agent.llm, "recipe", None)
        yield from [agent] if inner is None else _members(inner)


def _facts(agent: "Agent") -> "tuple[str, str, Text]":
    """An agent's model, its server, and the variable with its key."""
    from rich.text import Text

    from llama_index.packs.mixture_of_agents._providers.descriptions import describe_llm
    from llama_index.packs.mixture_of_agents._providers.facts import address
    from llama_index.packs.mixture_of_agents._providers.models import ModelSpec

    described = describe_llm(agent.llm)
    name = described["model"]
    spec = ModelSpec(name, described.get("class", ""), api_key=described.get("api_key"))
    variable = spec.key_variable
    if not variable:
        key = Text("none needed")
    elif os.environ.get(variable):
        key = Text(f"${variable}")
    else:
        key = Text(f"${variable} is not set", style="red")
    return name, address(agent.llm) or "", key


async def _check(recipe: "Recipe", agents: "list[Agent]") -> "list[CallFinished]":
    """Ask each agent for one token."""
    import asyncio
    from dataclasses import replace

    from llama_index.core.base.llms.types import ChatMessage

    from llama_index.packs.mixture_of_agents._engine.calls import Caller, Request, RunState
    from llama_index.packs.mixture_of_agents._engine.job import Job
    from llama_index.packs.mixture_of_agents.policies import CallPolicy

    policy = CallPolicy(timeout=30.0, retries=0, truncated="keep")
    question = [ChatMessage(role="user", content="Say OK.")]
    caller = Caller(recipe)
    state = RunState(Job(recipe, caller, question), lambda _: None)
    asked = [replace(agent, max_tokens=1, call=policy) for agent in agents]
    calls = (caller.call(Request(agent, "proposer", 1, question), state) for agent in asked)
    return [finished for finished, _ in await asyncio.gather(*calls)]


def _verdict(call: "CallFinished") -> tuple[str, bool]:
    """The outcome of a check in words, and whether the model can be asked."""
    from llama_index.packs.mixture_of_agents.errors import FailureKind

    # the one token may be thinking, or end the answer before its text
    answers = {FailureKind.EMPTY, FailureKind.ONLY_THINKING, FailureKind.TRUNCATED}
    if call.failure is None or call.failure.kind in answers:
        return f"answers, {call.elapsed:.1f} s", True
    return f"{call.failure.kind.value}: {call.failure.message}", False
