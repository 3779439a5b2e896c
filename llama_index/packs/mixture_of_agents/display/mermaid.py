"""A recipe as a Mermaid diagram, which GitHub, GitLab and JupyterLab draw (https://mermaid.js.org)."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.recipe import Agent, Layer, Proposer, Recipe


def mermaid(recipe: "Recipe") -> str:
    """Draw a recipe as a flowchart: the question, the layers with their selections, the answer.

    Args:
        recipe: The recipe.

    Returns:
        The flowchart's text.
    """
    return "\n".join(["flowchart TB", *(f"    {line}" for line in _lines(recipe))]) + "\n"


def _lines(recipe: "Recipe") -> Iterator[str]:
    yield 'question(["question"])'
    before = ["question"]
    for number, layer in enumerate(recipe.layers, 1):
        names = [f"p{number}_{place}" for place in range(1, len(layer.proposers) + 1)]
        yield f'subgraph layer{number} ["layer {number}"]'
        yield "    direction LR"
        for name, proposer in zip(names, layer.proposers, strict=True):
            yield f"    {name}[{_proposer(proposer)}]"
        yield "end"
        yield f"{' & '.join(before)} --> layer{number}"
        before = [f"layer{number}"]
        for place, step in enumerate(_selections(layer), 1):
            yield f"s{number}_{place}{{{{{step}}}}}"
            yield f"{before[0]} --> s{number}_{place}"
            before = [f"s{number}_{place}"]
    if recipe.aggregator:
        yield f"aggregator[{_agent(recipe.aggregator, 'aggregator')}]"
        yield f"{before[0]} -->|references| aggregator"
        before = ["aggregator"]
        for place, fallback in enumerate(recipe.fallbacks, 1):
            yield f"f{place}[{_agent(fallback, 'fallback')}]"
            yield f"{before[0]} -.->|fails| f{place}"
            before = [f"f{place}"]
        before = ["aggregator", *(f"f{place}" for place in range(1, len(recipe.fallbacks) + 1))]
    yield 'answer(["answer"])'
    yield f"{' & '.join(before)} --> answer"


def _selections(layer: "Layer") -> Iterator[str]:
    if layer.quorum < layer.samples and layer.grace is not None:
        yield _text(f"first {layer.quorum} of {layer.samples}, then {layer.grace:g} s more")
    for selection in layer.select:
        yield _text(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(selection).__name__).lower())


def _proposer(proposer: "Proposer") -> str:
    times = f" x {proposer.samples}" if proposer.samples > 1 else ""
    return _text(f"{_name(proposer)}{times}")


def _agent(agent: "Agent", role: str) -> str:
    return _text(role, _name(agent))


def _name(agent: "Agent") -> str:
    return agent.name if agent.name.startswith(agent.model) else f"{agent.name} ({agent.model})"


def _text(*lines: str) -> str:
    """A quoted label, with entities for the characters that are syntax in Mermaid."""
    safe = (
        "".join(c if c.isalnum() or c in " .:_/-(),=" else f"#{ord(c)};" for c in line)
        for line in lines
    )
    return f'"{"<br/>".join(safe)}"'
