"""The bounds of a question's cost, before it is asked."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.facts import (
    model_name,
    output_limit,
    provider_name,
)
from llama_index.packs.mixture_of_agents._providers.usage import estimate_usage
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices, price_of

from .question import Question


@dataclass(frozen=True, slots=True)
class Outlay:
    """The bounds of a question's cost in US dollars, without failures and retries.

    Attributes:
        least: The cost with the shortest answers. Parts without a price count as 0.
        most: The cost with the longest answers. None if their length has no limit, or a price is unknown.
    """

    least: Decimal = Decimal(0)
    most: Decimal | None = Decimal(0)


def foreseer(llm: LLM, system: str, prices: Prices | None) -> Callable[[Question], Outlay]:
    """Make the function that returns the bounds of a question's cost. It counts tokens, which takes time.

    Args:
        llm: The LLM that will be asked.
        system: A system prompt for questions that have none.
        prices: The user's own prices. A mixture has its own, so they apply to other LLMs only.
    """

    def of_mixture(mixture: MixtureOfAgents, question: Question) -> Outlay:
        estimate = mixture.recipe.estimate(question.conversation(system))
        most = estimate.most_cost
        return Outlay(estimate.least_cost.at_least, most.usd if most else None)

    def of_other(question: Question) -> Outlay:
        sent = estimate_usage(question.conversation(system), "").input_tokens
        longest = output_limit(llm, None)
        least, most = (_price(llm, Usage(sent, received), prices) for received in (1, longest or 1))
        return Outlay(least or Decimal(0), most if longest else None)

    def foresee(question: Question) -> Outlay:
        try:
            return (
                of_mixture(llm, question)
                if isinstance(llm, MixtureOfAgents)
                else of_other(question)
            )
        except BatchError:  # such a question cannot be asked, and costs nothing
            return Outlay()

    return foresee


def _price(llm: LLM, usage: Usage, prices: Prices | None) -> Decimal | None:
    return price_of(provider_name(llm), model_name(llm), usage, prices)
