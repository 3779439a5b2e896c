"""What a judge is given, and what its answer says. Pure; texts are put together, never formatted."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._messages.fitting import MARK
from llama_index.packs.mixture_of_agents._messages.prompts import fence, text_of
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe._agents import Agent
from llama_index.packs.mixture_of_agents.recipe._step import Briefing, Step

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def as_agent(given: Agent | LLM) -> Agent:
    """An agent, named after its model where it has no name."""
    agent = given if isinstance(given, Agent) else Agent(given)
    return agent if agent.name else replace(agent, name=agent.model)


def as_judge(given: Agent | LLM) -> Agent:
    """A plain LLM as a judge: at temperature 0, since the same answers deserve the same verdict."""
    return as_agent(given if isinstance(given, Agent) else Agent(given, temperature=0.0))


def briefing(
    prompt: str,
    step: Step,
    proposals: Sequence[Proposal],
    task: str = "",
    latest: Sequence[Proposal] = (),
) -> Briefing:
    """A judge's instructions, and what it is to judge: the conversation and the responses, without their authors.

    Args:
        prompt: the instructions.
        step: where the run stands.
        proposals: the responses, numbered from 1.
        task: what is asked this time, behind the responses.
        latest: responses of a later round, numbered anew.
    """

    def put(texts: Sequence[str]) -> list[ChatMessage]:
        # Each keeps its number, though nothing of it may be left: the verdict speaks of numbers.
        told, shown = prompt, [text or MARK.strip() for text in texts]
        if step.tag:
            told, shown = fence(prompt, shown, step.tag)
        responses, later = shown[: len(proposals)], shown[len(proposals) :]
        parts = ["# Conversation", *map(_turn, step.messages)]
        parts += ["# Responses", *_numbered("Response", responses)]
        if later:
            parts += ["# The latest round", *_numbered("Latest response", later)]
        parts += [task] if task else []
        return [
            ChatMessage(role=MessageRole.SYSTEM, content=told),
            ChatMessage(role=MessageRole.USER, content="\n\n".join(parts)),
        ]

    return Briefing([proposal.text for proposal in (*proposals, *latest)], put)


def _turn(message: ChatMessage) -> str:
    return f"## {message.role.value}\n{text_of(message)}"


def _numbered(label: str, texts: Sequence[str]) -> list[str]:
    return [f"## {label} {number}\n{text}" for number, text in enumerate(texts, 1)]


def object_in(text: str) -> dict[str, Any] | None:
    """The first JSON object in a text, whatever stands around it; None where there is none."""
    decoder = json.JSONDecoder()
    for start in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, _ = decoder.raw_decode(text, start)
        except ValueError:
            continue
        return value
    return None


def order_in(text: str, key: str, count: int) -> list[int]:
    """Numbers of responses (from 1) that a verdict names under a key of its JSON object, as indices (from 0).

    A verdict that is no such object is read by the numbers of its last line that has any. What is no response's
    number, or comes again, does not count.
    """
    said = object_in(text)
    if said is not None:
        return _indices(json.dumps(said.get(key)), count)
    lines: list[list[int]] = [_indices(line, count) for line in text.splitlines()]
    found = [line for line in lines if line]
    return found[-1] if found else []


def _indices(text: str, count: int) -> list[int]:
    numbers = [float(number) for number in _NUMBER.findall(text)]
    return list(dict.fromkeys(int(n) - 1 for n in numbers if n in range(1, count + 1)))


def number_in(text: str, key: str) -> float | None:
    """A number that a verdict gives under a key, or as its only number."""
    said = object_in(text)
    found = _NUMBER.findall(text if said is None else json.dumps(said.get(key)))
    return float(found[0]) if len(found) == 1 else None


def truth_in(text: str, key: str) -> bool | None:
    """Whether a verdict says true or false under a key, or yes or no as its first word."""
    said = object_in(text)
    word = str((said or {}).get(key)) if said is not None else "".join(re.findall(r"\w+", text)[:1])
    return {"true": True, "yes": True, "false": False, "no": False}.get(word.lower())
