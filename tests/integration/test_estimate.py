"""What an estimate says of servers, before and after they were asked."""

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.presets import self_moa
from llama_index.packs.mixture_of_agents.recipe._estimate import Span
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def test_it_says_both_numbers_of_calls_until_it_is_known_what_the_server_does_with_n(providers):
    server = {"api_base": providers.openai_base, "api_key": "simulated-key"}

    class IgnoresN(OpenAI):
        async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
            kwargs.pop("n", None)  # as some servers do
            return await super().achat(messages, **kwargs)

    question, prices = "What does a generator do?", {"gpt-4.1-mini": (1.0, 2.0)}
    giving, ignoring = (
        MixtureOfAgents(
            self_moa(kind(model="gpt-4.1-mini", **server), samples=6, max_tokens=10, prices=prices)
        )
        for kind in (OpenAI, IgnoresN)
    )
    estimate = giving.estimate(question)
    assert not estimate.exact
    assert str(estimate).startswith("2 or 7 calls (1 or 6, 1 by layer)")
    assert str(giving.recipe).startswith("self_moa: 2 or 7 calls")
    assert estimate.output_tokens == Span(7, 70)
    runs = []
    for one, number in ((giving, 2), (ignoring, 7)):
        response = asyncio.run(one.achat([ChatMessage(content=question)]))
        runs.append(response.additional_kwargs["mixture"])
        assert len(runs[-1].calls) == number
        assert str(one.estimate(question)).startswith(f"{number} calls")
        assert one.estimate(question).exact
    for run in runs:
        assert (
            estimate.input_tokens.least
            <= run.usage.input_tokens
            <= (estimate.input_tokens.most or 0)
        )
        assert estimate.least_cost.at_least <= run.cost.at_least
        assert estimate.most_cost is not None
        assert run.cost.at_least <= estimate.most_cost.at_least
    two = moa(
        [Proposer(providers.openai(m), samples=3) for m in ("gpt-4o", "gpt-4.1")],
        ScriptedLLM(model="g"),
        layers=1,
    )
    assert str(two.estimate()).startswith("3 to 7 calls (2 to 6, 1 by layer)")
