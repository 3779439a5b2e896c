"""References that were cut, over HTTP."""

from typing import Any

import pytest
from asking import QUESTION, ask
from llama_index.core.base.llms.types import ChatMessage
from members import a_story

from llama_index.packs.mixture_of_agents import (
    AggregatorFailed,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.fitting import MARK
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders


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


@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("max_tokens", [{}, {"max_tokens": 200}], ids=["", "with a caller's limit"])
async def test_a_window_that_a_server_names_is_learned_and_references_are_cut_to_it(
    providers: SimulatedProviders, way: str, max_tokens: dict[str, Any]
) -> None:
    """LlamaIndex's class takes gpt-4.1 for a model with a window of a million tokens."""
    providers.configure("gpt-4.1-mini", reply=a_story(12_000))
    providers.configure("gpt-4.1", context_window=8192)
    proposer = Proposer(providers.openai("gpt-4.1-mini"), max_tokens=20_000)
    aggregator = providers.openai("gpt-4.1", max_tokens=1000)
    mixture = MixtureOfAgents(moa([proposer], aggregator, layers=1))
    first = await ask(mixture, way, **max_tokens)
    assert first.answer
    assert first.degraded == ("references were cut to fit the context window of gpt-4.1",)
    assert [failure.kind for failure in first.failures] == [FailureKind.CONTEXT_WINDOW]
    assert len(providers.log("gpt-4.1")) == 2
    second = await ask(mixture, way, **max_tokens)
    assert second.failures == ()
    requests = providers.log("gpt-4.1")
    assert [MARK in one.body["messages"][0]["content"] for one in requests] == [False, True, True]


async def test_a_question_that_is_too_long_itself_is_not_asked_again(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", context_window=8192)
    proposer, aggregator = providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1")
    mixture = MixtureOfAgents(moa([proposer], aggregator, layers=1))
    with pytest.raises(AggregatorFailed, match="context_window 400 after 1 attempt"):
        await result_of(mixture, ChatMessage(content=a_story(12_000)))
    assert len(providers.log("gpt-4.1")) <= 2
