"""What an LLM is sent of the parameters that are wanted."""

from typing import Any

import pytest
from asking import QUESTION
from llama_index.llms.openai import OpenAI, OpenAIResponses

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents._providers.faults import diagnose
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents.errors import RETRYABLE
from llama_index.packs.mixture_of_agents.policies import Budget
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


@pytest.mark.parametrize(("own", "sent"), [(50, 50), (900, 500), (None, 500)])
def test_the_smaller_of_a_callers_limit_and_the_responses_objects_own_is_sent(
    own: int | None, sent: int
) -> None:
    llm = OpenAIResponses("gpt-4.1", api_key="k", max_output_tokens=own)
    transport = Transport(llm).within(500)
    assert transport.parameters({"max_tokens": 500}, stream=True) == {"max_tokens": sent}
    assert llm.max_output_tokens == own


def test_an_agents_own_limit_goes_before_the_responses_objects() -> None:
    llm = OpenAIResponses("gpt-4.1", api_key="k", max_output_tokens=50)
    transport = Transport(llm).within(None)
    assert transport.parameters({"max_tokens": 77}, stream=False) == {"max_tokens": 77}


@pytest.mark.parametrize("make", [OpenAI, OpenAIResponses])
def test_a_type_error_of_an_sdk_is_no_refused_parameter(make: Any) -> None:
    llm = make("gpt-4.1", api_key="k", api_base="http://127.0.0.1:1/v1")
    with pytest.raises(TypeError) as raised:
        llm.chat(QUESTION, no_such=1)
    fault = diagnose(raised.value, ["no_such"])
    assert fault.refused == ()
    assert fault.kind not in RETRYABLE
    assert "no_such" in fault.message


async def test_a_type_error_of_the_llm_itself_refuses_the_parameter() -> None:
    class Plain(ScriptedLLM):
        async def achat(self, messages: Any) -> Any:  # type: ignore[override]
            return await super().achat(messages)

    result = await MixtureOfAgents(moa([Plain()], ScriptedLLM("So."), layers=1)).achat(QUESTION)
    assert result.additional_kwargs["mixture"].degraded == ()


@pytest.mark.parametrize("budget", [None, Budget(tokens=100_000)])
async def test_a_budget_whose_limit_cannot_be_sent_is_reported_in_every_run(
    budget: Budget | None,
) -> None:
    llm = ScriptedLLM(_Refusal(), "So.")
    mixture = MixtureOfAgents(
        moa([Proposer(llm, max_tokens=50)], ScriptedLLM("So."), layers=1, budget=budget)
    )
    for _ in range(2):
        response = await mixture.achat(QUESTION)
        reasons = response.additional_kwargs["mixture"].degraded
        assert bool(reasons) is (budget is not None)
        assert all("max_tokens" in reason for reason in reasons)
    assert "max_tokens" not in llm.asked[-1].kwargs


class _Refusal(Exception):
    status_code = 400

    def __str__(self) -> str:
        return "Unsupported parameter: 'max_tokens'"
