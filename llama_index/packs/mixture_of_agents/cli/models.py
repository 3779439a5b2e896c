"""``moa models``: what the configuration comes to, and whether it answers."""

import os
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .command import FAILED, Flags, command

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.agents import Agent
    from llama_index.packs.mixture_of_agents.events import CallFinished
    from llama_index.packs.mixture_of_agents.recipe import Recipe


@command
def models(
    models: Flags,
    check: Annotated[bool, Option("--check", help="Ask each model for one token.")] = False,
) -> int:
    """Show which models are asked, where, and with whose key."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .command import say
    from .running import Loop
    from .sources import find

    source = find(models)
    recipe = source.recipe(need_keys=False)
    say(f"{recipe}\nModels from {source.origin}.")
    agents = list({id(agent.llm): agent for agent in recipe.agents}.values())
    table = Table("model", "server", "key", *(["check"] if check else []), box=None, pad_edge=False)
    failed = False
    found: list[CallFinished | None] = [None] * len(agents)
    if check:
        with Loop() as loop:
            found = [*loop.run(_check(recipe, agents))]
    for agent, call in zip(agents, found, strict=True):
        name, server, key, there = _facts(agent)
        cells = [
            Text(name, overflow="fold"),
            Text(server, overflow="fold"),
            Text(key, style="" if there else "red"),
        ]
        if call:
            said, good = _said(call)
            cells.append(Text(said, style="green" if good else "red", overflow="fold"))
            failed = failed or not good
        table.add_row(*cells)
    Console(highlight=False).print(table)
    return FAILED if failed else 0


def _facts(agent: "Agent") -> tuple[str, str, str, bool]:
    """An agent's model, server and key's variable, and whether that has a key in it."""
    from llama_index.packs.mixture_of_agents.described import address, describe_llm
    from llama_index.packs.mixture_of_agents.models import ModelSpec

    said = describe_llm(agent.llm)
    spec = ModelSpec(said["model"], said.get("class", ""), api_key=said.get("api_key"))
    variable = spec.key_variable
    there = not variable or bool(os.environ.get(variable))
    key = f"${variable}{'' if there else ' is not set'}" if variable else "none needed"
    return said["model"], address(agent.llm) or "", key, there


async def _check(recipe: "Recipe", agents: "list[Agent]") -> "list[CallFinished]":
    """Ask each agent for one token."""
    import asyncio
    from dataclasses import replace

    from llama_index.core.base.llms.types import ChatMessage

    from llama_index.packs.mixture_of_agents.calls import Caller, Request, RunState
    from llama_index.packs.mixture_of_agents.policies import CallPolicy

    policy = CallPolicy(timeout=30.0, retries=0, truncated="keep")
    caller, state = Caller(recipe), RunState(lambda _: None)
    asked = [replace(agent, max_tokens=1, call=policy) for agent in agents]
    question = [ChatMessage(role="user", content="Say OK.")]
    calls = (caller.call(Request(agent, "proposer", 1, question), state) for agent in asked)
    return [finished for finished, _ in await asyncio.gather(*calls)]


def _said(call: "CallFinished") -> tuple[str, bool]:
    """What came of a check, and whether the model can be asked."""
    from llama_index.packs.mixture_of_agents.failures import FailureKind

    # one token may well be none that counts
    answers = {FailureKind.EMPTY, FailureKind.ONLY_THINKING, FailureKind.TRUNCATED}
    if call.failure is None or call.failure.kind in answers:
        return f"answers, {call.elapsed:.1f} s", True
    return f"{call.failure.kind.value}: {call.failure.message}", False
