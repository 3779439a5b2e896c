"""Named mixtures: each a short composition of the same parts, after a paper or a public system."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.llms.llm import LLM

from .agents import Aggregator, Proposer
from .policies import is_a, require
from .recipe import Layer, Recipe


def moa(
    proposers: Sequence[Proposer | LLM],
    aggregator: Aggregator | LLM,
    *,
    layers: int = 2,
    **policies: Any,
) -> Recipe:
    """The paper's mixture (arXiv 2406.04692, section 2.2): every layer has the same proposers.

    Args:
        proposers: proposers, or plain LLMs.
        aggregator: the LLM that writes the answer.
        layers: how many proposer layers. The paper's "3 layers" are two of these and the aggregator.
        policies: further fields of ``Recipe``; fields of ``Layer`` (quorum, grace, ...) go into every layer.

    Raises:
        RecipeError: it makes no sense.
    """
    whole = is_a(int, layers) and layers >= 1
    require(whole, "layers", layers, "must be a whole number, at least 1")
    of_layer = {
        name: policies.pop(name) for name in ("quorum", "grace", "select") if name in policies
    }
    layer = Layer(proposers, **of_layer)  # type: ignore[arg-type]
    return Recipe((layer,) * layers, aggregator, **policies)  # type: ignore[arg-type]
