"""What a run will take, told before it begins, and whether it then takes that."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, reject, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    Recipe,
    RecipeError,
)
from llama_index.packs.mixture_of_agents.policies import Limits
from llama_index.packs.mixture_of_agents.presets import cascade, moa, rank, self_moa, sparse
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of
from llama_index.packs.mixture_of_agents.recipe import Selected, Step
from llama_index.packs.mixture_of_agents.recipe._estimate import Span
from llama_index.packs.mixture_of_agents.selection import (
    Agreed,
    Analysis,
    Cluster,
    Diverse,
    Dropout,
    Fold,
    Gate,
    PeerRanking,
    Pick,
    Rank,
    Rate,
    Residuals,
    Shuffle,
    Take,
    Vote,
)
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"a": (1.0, 2.0), "b": (1.0, 2.0), "g": (10.0, 20.0)}


def llm(name: str, *replies: str) -> ScriptedLLM:
    return ScriptedLLM(*(replies or (f"I am {name}",)), model=name)


def chat(recipe: Recipe, *messages: ChatMessage) -> MixtureResult:
    asked = list(messages) or [ChatMessage(content="?")]
    response = asyncio.run(MixtureOfAgents(recipe).achat(asked))
    return response.additional_kwargs["mixture"]


def test_an_estimate_counts_the_calls_of_each_layer():
    estimate = moa([llm("a"), llm("b")], llm("g"), layers=2).estimate("?")
    assert estimate.calls_per_layer == {1: 2, 2: 2, 3: 1}
    assert estimate.exact
    assert [[call.agent for call in stage] for stage in estimate.stages] == [
        ["a", "b"],
        ["a", "b"],
        ["g"],
    ]


def test_an_estimate_bounds_the_tokens_and_the_money_of_the_run():
    members = [ScriptedLLM("It depends on the question.", model=m, usage=None) for m in "abg"]
    recipe = moa(members[:2], members[2], layers=2, max_tokens=100, prices=PRICES)
    question = "What is LlamaIndex, and what is it good for?"
    estimate, result = recipe.estimate(question), chat(recipe, ChatMessage(content=question))
    first = result.calls[0].usage
    assert estimate.calls[0].sent == Span(first.input_tokens, first.input_tokens)
    assert estimate.calls[0].received == Span(1, 100)
    assert within(result.usage.input_tokens, estimate.input_tokens)
    assert within(result.usage.output_tokens, estimate.output_tokens)
    costs = [cost_of(call.provider, call.model, call.usage, PRICES) for call in result.calls]
    most = estimate.most_cost
    assert most is not None
    assert estimate.least_cost.at_least < sum(costs, Cost()).at_least < most.at_least


def within(tokens: int, span: Span) -> bool:
    return span.least <= tokens <= (span.most or 0)


def test_a_price_that_is_not_known_makes_the_money_unknown_and_never_nothing():
    estimate = moa([llm("a")], llm("nobody-knows-me"), layers=1, prices=PRICES).estimate("?")
    assert estimate.least_cost.usd is None
    assert "unknown (no price for nobody-knows-me)" in str(estimate)


def test_without_max_tokens_there_is_no_upper_bound():
    estimate = moa([llm("a")], llm("b"), layers=1, max_tokens=None, prices=PRICES).estimate("?")
    assert estimate.output_tokens.most is None
    assert estimate.most_cost is None
    assert "to any amount" in str(estimate)


def test_the_max_tokens_that_openais_class_holds_goes_before_the_recipes():
    member = OpenAI(model="gpt-4.1-mini", max_tokens=7, api_key="a-key")
    recipe = moa([member], Aggregator(llm("g"), max_tokens=9), layers=1)
    assert [call.received.most for call in recipe.estimate("?").calls] == [7, 9]


def test_samples_of_one_request_are_one_call_with_that_many_answers():
    estimate = self_moa(
        OpenAI(model="gpt-4.1-mini", api_key="k"), samples=6, max_tokens=10
    ).estimate()
    (asked, _) = estimate.calls
    assert asked.received == Span(6, 60)
    assert estimate.exact
    assert str(estimate).startswith("2 calls (1, 1 by layer)")


@pytest.mark.parametrize("select", [(), "rank", "fold"])
def test_fences_and_roles_are_counted(select):
    said = "Sell it. " * 10
    members = [ScriptedLLM(said, model=name, usage=None) for name in "abcd"]
    writer = ScriptedLLM("Yes.", model="g", usage=None)
    judge = ScriptedLLM('{"ranking": [1, 2, 3]}', model="j", usage=None)
    selection = {"rank": Rank(judge, 3), "fold": Fold(judge, 2)}.get(select, ())
    recipe = moa(members, Aggregator(writer, system_prompt="Be kind. " * 50), layers=2, max_tokens=30,
        fence=True, select=selection, prompt="Merge.")  # fmt: skip
    mixture = MixtureOfAgents(recipe, system_prompt="Be brief. " * 100)
    question = "What now?"
    prefix = ChatMessage(role="system", content="Be brief. " * 100)
    asked = chat(recipe, prefix, ChatMessage(content=question))
    assert within(asked.usage.input_tokens, mixture.estimate(question).input_tokens)
    plain = replace(recipe, fence=False).estimate(question).input_tokens
    assert (recipe.estimate(question).input_tokens.most or 0) > (plain.most or 0)


def test_the_shortest_time_is_the_slowest_call_of_each_stage():
    estimate = rank([llm("a"), llm("b")], llm("g")).estimate("?")
    assert estimate.shortest_time({"a": 1.0, "b": 3.0, "g": 2.0}) == 5.0


def test_an_adaptive_recipe_says_what_it_takes_at_most_and_costs_at_least():
    recipe = cascade([llm("a"), llm("b")], moa([llm("a")], llm("g"), layers=1), samples=1)
    estimate = recipe.estimate("?")
    assert not estimate.exact
    assert [call.sure for call in estimate.calls] == [True, True, False, False]
    assert estimate.output_tokens.least == 2


def test_an_agents_turn_between_tools_asks_only_the_aggregator():
    recipe = moa([llm("a")], llm("g"), fan_out="user_turns")
    turns = [ChatMessage(content="?"), ChatMessage(role="tool", content="42")]
    assert [call.agent for call in recipe.estimate(turns).calls] == ["g"]
    assert [call.agent for call in chat(recipe, *turns).calls] == ["g"]


def test_a_selection_of_ones_own_is_taken_to_ask_each_of_its_agents_once():
    estimate = sparse([llm("a"), llm("b")], llm("j"), llm("g"), layers=1).estimate("?")
    assert [call.agent for call in estimate.calls] == ["a", "b", "j", "g"]

    async def mine(step: Step) -> Selected:
        return Selected(step.proposals)

    own = moa([llm("a")], llm("g"), layers=1, select=mine).estimate("?")
    assert len(own.calls) == 2


def test_an_estimate_reads_well():
    recipe = moa([llm("a"), llm("b")], llm("g"), layers=1, max_tokens=100, prices=PRICES)
    assert str(recipe.estimate("What is six times seven?")) == snapshot("""\
3 calls (2, 1 by layer)
tokens in 28 to 336, out 3 to 300
cost $0.00020 to $0.0057
shortest time slowest proposer of layer 1 + g\
""")
    adaptive = cascade([llm("a"), llm("b")], recipe, samples=1)
    assert str(adaptive.estimate("What is six times seven?")) == snapshot("""\
at most 5 calls (2, 2, 1 by layer)
tokens in 12 to 348, out 2 to 500
cost $0.000016 to $0.0061
shortest time slowest proposer of layer 1 + slowest proposer of layer 2 + g\
""")


VERDICTS = st.sampled_from(
    [
        '{"ranking": [2, 1], "rating": 5, "most_consistent": 1, "chosen": [1], "end": false, '
        '"good_enough": false, "consensus": ["all"]}',
        '{"ranking": [1], "rating": 9, "most_consistent": 2, "chosen": [2, 1], "end": true, "good_enough": true}',
        "NO UPDATE",
        "There is nothing to read in here.",
    ]
)
JUDGES = st.builds(lambda said: ScriptedLLM(said, model="judge"), VERDICTS)
FEW = st.integers(1, 4)
SHARES = st.floats(0.1, 1.0)
SELECTIONS = st.one_of(
    st.builds(Shuffle, st.none() | st.integers()),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.builds(Take, FEW),
    st.builds(Diverse, FEW),
    st.builds(Cluster, SHARES),
    st.builds(Agreed, SHARES, st.none() | SHARES, st.none(), st.booleans(), st.booleans()),
    st.builds(Rank, JUDGES, FEW),
    st.builds(Rate, JUDGES, FEW),
    st.builds(Vote, st.none() | JUDGES),
    st.builds(PeerRanking),
    st.builds(Pick, JUDGES, FEW, st.booleans()),
    st.builds(Gate, JUDGES, st.booleans()),
    st.builds(Analysis, JUDGES),
    st.builds(Fold, JUDGES, st.integers(2, 4)),
    st.builds(Residuals, JUDGES, FEW),
)
ANSWERS = st.sampled_from(["42", "The answer is 42.", "36", "It depends {on} the question.", "x"])
MODELS = st.builds(lambda text, name: ScriptedLLM(text, model=name), ANSWERS, st.sampled_from("ab"))
PROPOSERS = st.builds(Proposer, MODELS, samples=st.integers(1, 3))
LAYERS = st.builds(
    lambda proposers, quorum, grace, select: {
        "proposers": tuple(proposers),
        "quorum": quorum,
        "grace": grace,
        "select": tuple(select),
    },
    st.lists(PROPOSERS, min_size=1, max_size=3),
    st.integers(0, 3),
    st.none() | st.just(0.5),
    st.lists(SELECTIONS, max_size=3),
)
RECIPES = st.fixed_dictionaries(
    {"layers": st.lists(LAYERS, min_size=1, max_size=3), "aggregator": st.none() | MODELS},
    optional={
        "temperature": st.none() | st.floats(0, 2),
        "max_tokens": st.none() | st.integers(1, 4096),
        "placement": st.sampled_from(["system", "user"]),
        "fan_out": st.sampled_from(["every_call", "user_turns"]),
        "fence": st.booleans(),
        "shuffle": st.booleans(),
        "seed": st.integers(),
        "limits": st.builds(Limits, st.none() | st.integers(1, 3)),
        "or_best_proposal": st.booleans(),
    },
)
CONVERSATIONS = st.lists(
    st.builds(
        lambda role, text: ChatMessage(role=role, content=text),
        st.sampled_from(["system", "user", "assistant"]),
        st.sampled_from(["Hello {you}", "What is 6 x 7?", ""]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@settings(max_examples=150)
@given(parts=RECIPES, messages=CONVERSATIONS)
def test_any_recipe_that_can_be_made_runs_to_its_end_with_the_calls_of_its_estimate(
    parts, messages
):
    try:
        layers = tuple(Layer(**layer) for layer in parts["layers"])
        settings: dict[str, Any] = {**parts, "layers": layers, "deadline": None}
        recipe = Recipe(**settings)
    except RecipeError:
        reject()
    estimate = recipe.estimate(messages)
    event("exact" if estimate.exact else "at most")
    result = chat(recipe, *messages)
    assert result.answer
    assert len(result.calls) <= len(estimate.calls)
    if estimate.exact:
        made = [call.layer for call in result.calls]
        assert {layer: made.count(layer) for layer in sorted(set(made))} == estimate.calls_per_layer
    assert str(recipe)
    assert str(estimate)


@pytest.mark.parametrize("messages", [[], [ChatMessage(role="assistant", content="Hello")]])
def test_a_conversation_without_a_question_can_be_estimated(messages):
    assert len(moa([llm("a")], llm("g")).estimate(messages).calls) == 3
