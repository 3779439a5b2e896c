"""References that were cut, over HTTP."""

from asking import QUESTION, ask
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.fitting import MARK
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders


def a_story(words: int) -> str:
    sentence = "Once upon a time there was a very old bridge over a very wide river. "
    return (sentence * (words // 14 + 1)).strip()


async def result_of(mixture: MixtureOfAgents, *messages: ChatMessage) -> MixtureResult:
    return await ask(mixture, asked=messages or QUESTION)


async def test_what_was_cut_is_accepted_by_a_provider_that_counts(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1-mini", reply=a_story(12_000))
    providers.configure("gpt-4", context_window=8192)
    proposer = Proposer(providers.openai("gpt-4.1-mini"), max_tokens=20_000)
    aggregator = providers.openai("gpt-4")
    mixture = MixtureOfAgents(moa([proposer], aggregator, layers=1, max_tokens=1000))
    result = await result_of(mixture)
    assert result.answer
    assert "gpt-4" in result.degraded[0]
    (request,) = providers.log("gpt-4")
    assert MARK in request.body["messages"][0]["content"]
