"""Answers that are cut off, empty or refused, over HTTP."""

import pytest
from asking import ask, respond, whole_and_streamed
from llama_index.core.llms.llm import LLM
from members import ONCE, two_layers

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
    Proposer,
    RecipeError,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.prompts import text_of
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import Reply, SimulatedProviders
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


async def test_a_cut_off_answer_is_handed_over_and_said_to_be_one(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", reply=Reply("It is a", finish_reason="length"))
    result = await ask(two_layers(providers.openai("gpt-4.1")))
    assert result.answer == "It is a"
    assert result.degraded == ("the answer was cut off at its token limit; raise max_tokens",)


@whole_and_streamed
async def test_a_cut_off_stream_is_said_to_be_one_too(
    providers: SimulatedProviders, way: str
) -> None:
    providers.configure("mistral-small-latest", reply=Reply("It is a", finish_reason="length"))
    mixture = MixtureOfAgents(two_layers(providers.mistral("mistral-small-latest")))
    assert "cut off" in (await ask(mixture, way)).degraded[0]


HALVES = "Great \ud83d news"


@whole_and_streamed
async def test_half_a_character_is_replaced_wherever_a_model_says_it(
    providers: SimulatedProviders, way: str
) -> None:
    providers.configure("*", reply=Reply(HALVES, thinking="hm \udc00"))
    llm = providers.openai("gpt-4.1")
    mixture = MixtureOfAgents(moa([llm, ScriptedLLM(HALVES)], llm, layers=2))
    response = await respond(mixture, way)
    result = response.additional_kwargs["mixture"]
    assert response.message.content == "Great \ufffd news"
    assert {proposal.text for proposal in result.proposals} == {"Great \ufffd news"}
    assert not result.failures
    repr(result).encode()
    response.message.model_dump_json().encode()


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (FailureKind.TRUNCATED, Reply("It is a", finish_reason="length")),
        (FailureKind.CONTENT_FILTER, Reply("It is", finish_reason="content_filter")),
        (FailureKind.EMPTY, Reply(None)),
        (FailureKind.ONLY_THINKING, Reply("", thinking="It may be")),
    ],
)
async def test_bad_answers_over_the_wire_are_told_apart(
    providers: SimulatedProviders, kind: FailureKind, reply: Reply
) -> None:
    providers.configure("gpt-4.1", reply=reply)
    policy = CallPolicy(retries=0, truncated="reject")
    recipe = moa([providers.openai("gpt-4.1"), ScriptedLLM("good")], None, layers=1, call=policy)
    result = await ask(recipe)
    assert [failure.kind for failure in result.failures] == [kind]
    assert result.answer == "good"


async def test_a_cut_off_proposal_is_kept_where_the_policy_says_so(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", reply=Reply("It is a", finish_reason="length"))
    policy = CallPolicy(truncated="keep")
    result = await ask(moa([providers.openai("gpt-4.1")], None, layers=1, call=policy))
    assert result.answer == "It is a"
    assert result.proposals[0].finish_reason == "length"


async def test_tool_calls_are_no_proposal(providers: SimulatedProviders) -> None:
    from llama_index.packs.mixture_of_agents.simulation import ToolCall, call_tools

    providers.configure("gpt-4.1", reply=call_tools(ToolCall("look_up", {"word": "x"})))
    recipe = moa([providers.openai("gpt-4.1"), ScriptedLLM("good")], None, layers=1, call=ONCE)
    result = await ask(recipe)
    assert [failure.kind for failure in result.failures] == [FailureKind.ONLY_TOOL_CALLS]


# --- configuration -------------------------------------------------------------------------------


def test_a_model_name_that_its_class_refuses_is_told_when_the_recipe_is_made(
    providers: SimulatedProviders,
) -> None:
    with pytest.raises(RecipeError, match=r"Proposer\.llm.*did you mean .*gpt-4\.1-mini"):
        Proposer(providers.openai("gpt-4.1-mni"))
    assert not providers.log()


async def test_whether_an_unknown_name_is_refused_is_the_classes_own_affair(
    providers: SimulatedProviders,
) -> None:
    unheard_of = providers.mistral("mistral-smal-latest")
    if hasattr(
        LLM, "to_payload"
    ):  # core asks for the metadata in every call, and the class refuses it
        with pytest.raises(RecipeError, match=r"did you mean .*mistral-small"):
            Proposer(unheard_of)
    else:
        assert (await ask(moa([unheard_of], None, layers=1))).answer


async def test_a_proposal_cut_off_at_its_limit_is_kept_noted_and_marked(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1-mini", reply=Reply("It is a", finish_reason="length"))
    aggregator = ScriptedLLM("the end")
    proposers = [providers.openai("gpt-4.1-mini"), ScriptedLLM("It is whole")]
    result = await ask(moa(proposers, aggregator, layers=1))
    assert not result.failures
    prompt = text_of(aggregator.asked[0].messages[0])
    assert "1. It is a [cut off at its token limit]" in prompt
    assert prompt.endswith("2. It is whole")
    assert [
        reason for reason in result.degraded if "gpt-4.1-mini" in reason and "cut off" in reason
    ]
    assert result.proposals[0].text == "It is a"


async def test_a_proposal_cut_off_at_its_limit_is_left_out_where_that_is_asked_for(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1-mini", reply=Reply("It is a", finish_reason="length"))
    proposers = [providers.openai("gpt-4.1-mini"), ScriptedLLM("It is whole")]
    policy = CallPolicy(truncated="reject")
    result = await ask(moa(proposers, ScriptedLLM("the end"), layers=1, call=policy))
    assert [failure.kind for failure in result.failures] == [FailureKind.TRUNCATED]


def look_up(word: str) -> str:
    """Look a word up."""
    return word
