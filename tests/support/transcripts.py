"""What a recipe sends over the wire, stage by stage, as text to review."""

import asyncio
from collections.abc import Sequence
from typing import Any

from asking import QUESTION
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, MixtureResult, Recipe
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents._providers.facts import is_openai
from llama_index.packs.mixture_of_agents.selection import judge_prompts
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

PROMPTS = {
    "AGGREGATE_AND_SYNTHESIZE": AGGREGATE_AND_SYNTHESIZE,
    **{name: text for name, text in vars(judge_prompts).items() if name.isupper()},
}


async def transcript(
    providers: SimulatedProviders,
    recipe: Recipe,
    messages: Sequence[ChatMessage] = QUESTION,
    *,
    skipped: slice | None = None,
) -> tuple[str, MixtureResult]:
    """Run a recipe against the simulated providers.

    Every request is held until all of its stage have come, so the stages are told apart without a look at the clock;
    how many come together is what the estimate says.

    Args:
        skipped: the stages of the estimate that the run does not come to, because it ends early.

    Returns:
        The requests, stage by stage; in each, those with the same messages together. And the run's result.
    """
    # the simulated servers give several answers to one request
    planned = list(recipe.estimate(messages, is_openai).stages)
    if skipped is not None:
        del planned[skipped]
    providers.hold()
    running = asyncio.create_task(MixtureOfAgents(recipe).achat(messages))
    seen, stages = 0, list[str]()
    for stage in planned:
        await providers.await_for(held=len(stage))
        records = providers.log()[seen:]
        assert len(records) == len(stage)
        stages.append(_together([record.body for record in records]))
        seen += len(records)
        providers.release(number=len(records))
    response = await running
    assert providers.counts().arrived == seen
    return "\n\n== then\n".join(stages) + "\n", response.additional_kwargs["mixture"]


def _together(bodies: Sequence[dict[str, Any]]) -> str:
    senders: dict[str, list[str]] = {}
    for body in bodies:
        turns = [f"[{turn['role']}] {_short(turn['content'])}" for turn in body["messages"]]
        senders.setdefault("\n".join(turns), []).append(_parameters(body))
    requests = ["\n".join([*sorted(models), turns]) for turns, models in senders.items()]
    return "\n\n".join(sorted(requests))


def _parameters(body: dict[str, Any]) -> str:
    named = [(name, body[name]) for name in sorted(set(body) - {"messages", "model", "stream"})]
    said = ", ".join(f"{name} {value}" for name, value in named if value is not None)
    return f"{body['model']}: {said}"


def _short(content: str | list[dict[str, str]]) -> str:
    if isinstance(content, list):  # as LlamaIndex's MistralAI class writes it
        content = "".join(block["text"] for block in content)
    for name, text in PROMPTS.items():
        content = content.replace(text, f"<{name}>")
    return content
