"""The paper's mixture. Apart from the other presets: it needs no selection, and these take a while to import."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from llama_index.core.llms.llm import LLM

from .policies import whole
from .recipe import Aggregator, Layer, Proposer, Recipe, Selection

Proposers: TypeAlias = Sequence[Proposer | LLM]
OneAggregator: TypeAlias = Aggregator | LLM


def moa(
    proposers: Proposers,
    aggregator: OneAggregator | None,
    *,
    layers: int = 2,
    select: Selection | Sequence[Selection] = (),
    **policies: Any,
) -> Recipe:
    """The paper's mixture (arXiv 2406.04692, section 2.2): every layer has the same proposers.

    Args:
        proposers: the proposers.
        aggregator: the LLM that writes the answer; None where the last layer's first reference is the answer.
        layers: how many proposer layers. The paper's "3 layers" are two of these and the aggregator.
        select: what becomes of every layer's proposals.
        policies: further fields of ``Recipe`` and ``Layer``.

    Raises:
        RecipeError: it makes no sense.
    """
    whole("", 1, layers=layers)
    of_layer = {name: policies.pop(name) for name in ("quorum", "grace") if name in policies}
    layer = Layer(proposers, select=select, **of_layer)  # type: ignore[arg-type]
    return Recipe((layer,) * layers, aggregator, **policies)  # type: ignore[arg-type]
