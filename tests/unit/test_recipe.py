"""What a recipe is, what it refuses, and how it reads."""

import dataclasses

import pytest
from inline_snapshot import snapshot
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    Proposer,
    Recipe,
    RecipeError,
)
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents.policies import Breaker, Budget, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.presets import (
    cascade,
    council,
    moa,
    moa_lite,
    rank,
    residual,
    self_moa,
    sparse,
    vote,
)
from llama_index.packs.mixture_of_agents.recipe import Agent, Selected, Step
from llama_index.packs.mixture_of_agents.selection import Agreed, Gate
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def llm(name: str) -> ScriptedLLM:
    return ScriptedLLM(f"I am {name}", model=name)


A, B, G = llm("a"), llm("b"), llm("g")


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (lambda: moa([], G), "Layer.proposers", []),
        (lambda: Recipe((), Aggregator(G)), "Recipe.layers", ()),
        (lambda: moa([A, B], G, layers=0), "layers", 0),
        (lambda: moa([A, B], G, layers=1.5), "layers", 1.5),  # type: ignore[arg-type]
        (lambda: moa([A, B], G, quorum=3), "Layer.quorum", 3),
        (lambda: moa([A, B], G, quorum=-1), "Layer.quorum", -1),
        (lambda: moa([A, B], G, quorum="1"), "Layer.quorum", "1"),  # type: ignore[arg-type]
        (lambda: moa([A, B], G, quorum=1.5), "Layer.quorum", 1.5),  # type: ignore[arg-type]
        (lambda: moa([A, B], G, grace=-0.1), "Layer.grace", -0.1),
        (lambda: moa([A, B], G, grace="a while"), "Layer.grace", "a while"),  # type: ignore[arg-type]
        (lambda: Layer((Proposer(A),), deadline=0), "Layer.deadline", 0),
        (lambda: moa([A, B], G, select="rank"), "Layer.select", "rank"),  # type: ignore[arg-type]
        (lambda: moa([A, B], G, select=Agreed), "Layer.select", "type"),  # type: ignore[arg-type]
        (lambda: moa([Proposer(A, "x"), Proposer(B, "x")], G), "Proposer.name", "x"),
        (lambda: Proposer(A, samples=0), "Proposer.samples", 0),
        (lambda: Proposer(A, temperature=-1), "Proposer.temperature", -1),
        (lambda: Proposer(A, call=20), "Proposer.call", 20),  # type: ignore[arg-type]
        (lambda: Aggregator(A, max_tokens=0), "Aggregator.max_tokens", 0),
        (lambda: Aggregator(A, max_tokens="9"), "Aggregator.max_tokens", "9"),  # type: ignore[arg-type]
        (lambda: Aggregator("gpt-4.1"), "Aggregator.llm", "gpt-4.1"),  # type: ignore[arg-type]
        (lambda: moa(["gpt-4.1"], G), "Proposer.llm", "gpt-4.1"),  # type: ignore[list-item]
        (lambda: moa([A], G, deadline=-1), "Recipe.deadline", -1),
        (lambda: moa([A], G, reserve=1), "Recipe.reserve", 1),
        (lambda: moa([A], G, temperature="hot"), "Recipe.temperature", "hot"),  # type: ignore[arg-type]
        (lambda: moa([A], G, prompt=7), "Recipe.prompt", 7),  # type: ignore[arg-type]
        (lambda: moa([A], G, call=20), "Recipe.call", 20),  # type: ignore[arg-type]
        (lambda: moa([A], G, limits=8), "Recipe.limits", 8),  # type: ignore[arg-type]
        (lambda: moa([A], G, budget=0.05), "Recipe.budget", 0.05),  # type: ignore[arg-type]
        (lambda: moa([A], G, prices={"a": 2.0}), "Recipe.prices", {"a": 2.0}),  # type: ignore[arg-type]
        (lambda: moa([A], G, prices={"a": (-1, 2)}), "Recipe.prices", {"a": (-1, 2)}),
        (lambda: moa([A], G, placement="top"), "Recipe.placement", "top"),  # type: ignore[arg-type]
        (lambda: moa([A], G, fan_out="sometimes"), "Recipe.fan_out", "sometimes"),  # type: ignore[arg-type]
        (lambda: moa([A], None, fallbacks=(G,)), "Recipe.fallbacks", ["g"]),
        (lambda: moa([A], None, fan_out="user_turns"), "Recipe.fan_out", "user_turns"),
        (lambda: moa([A], None, quorum=0), "Layer.quorum", 0),
        (lambda: moa([A], None, select=Agreed(afresh=True)), "Layer.select", "Agreed"),
        (lambda: moa([A], None, select=Gate(G, afresh=True)), "Layer.select", "Gate"),
        (lambda: cascade([A], moa_lite([B], G)), "proposers", 1),
        (lambda: cascade(A, moa_lite([B], G), samples=1), "samples", 1),
        (lambda: residual([A, B], G, keep=0), "keep", 0),
        (lambda: sparse([A, B], G, keep=0), "keep", 0),
        (lambda: cascade(A, G), "mixture", "ScriptedLLM"),  # type: ignore[arg-type]
        (lambda: CallPolicy(timeout=0), "CallPolicy.timeout", 0),
        (lambda: CallPolicy(retries=-1), "CallPolicy.retries", -1),
        (lambda: CallPolicy(truncated="maybe"), "CallPolicy.truncated", "maybe"),  # type: ignore[arg-type]
        (lambda: Budget(usd=0), "Budget.usd", 0),
        (lambda: Limits(in_flight=0), "Limits.in_flight", 0),
        (lambda: Breaker(failures=-1), "Breaker.failures", -1),
        (lambda: Breaker(cooldown=-1), "Breaker.cooldown", -1),
    ],
)
def test_nonsense_is_refused_with_the_field_and_the_value(make, field, value):
    with pytest.raises(RecipeError) as error:
        make()
    assert (error.value.field, error.value.value) == (field, value)
    assert str(error.value).startswith(f"{field} = {value!r}: ")


def test_a_recipe_cannot_be_changed():
    recipe = moa([A], G)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"  # type: ignore[misc]
    assert dataclasses.replace(recipe, name="other").layers == recipe.layers


def test_proposers_without_a_name_get_their_models_numbered_where_it_repeats():
    layer = moa([A, A, Proposer(A, "a-2"), B], G).layers[0]
    assert [proposer.name for proposer in layer.proposers] == ["a", "a-3", "a-2", "b"]


def test_every_layer_can_have_its_own_proposers():
    recipe = Recipe((Layer((Proposer(A), Proposer(B))), Layer((Proposer(B),))), Aggregator(G))
    assert [[p.name for p in layer.proposers] for layer in recipe.layers] == [["a", "b"], ["b"]]
    assert [agent.name for agent in recipe.agents] == ["a", "b", "b", "g"]


def test_a_recipes_agents_include_its_judges():
    assert [agent.name for agent in rank([A, B], G).agents] == ["a", "b", "g"]


async def test_a_proposer_has_a_persona_and_settings_of_its_own():
    poet = llm("poet")
    proposer = Proposer(poet, "poet", system_prompt="You rhyme.", temperature=1.5, max_tokens=9)
    asked = [ChatMessage(role="system", content="Be brief."), ChatMessage(content="Hello")]
    await MixtureOfAgents(moa([proposer, B], G, layers=1)).achat(asked)
    (request,) = poet.asked
    assert [message.content for message in request.messages] == ["Be brief.\n\nYou rhyme.", "Hello"]
    assert request.kwargs == {"temperature": 1.5, "max_tokens": 9}


def test_a_samples_number_of_its_own_goes_before_the_presets():
    assert self_moa(Proposer(A, samples=2), samples=6).layers[0].samples == 2
    assert vote(A, samples=5).layers[0].samples == 5


def test_a_recipe_prints_as_a_short_plan():
    poet = Proposer(A, "poet", system_prompt="You are a poet with a long prompt.", samples=2)
    recipe = moa(
        [poet, B],
        Aggregator(G, temperature=0.1),
        quorum=2,
        grace=1.5,
        fallbacks=(Aggregator(B, "spare"),),
        call=CallPolicy(retries=5, hedge_after="usual"),
        seed=7,
        prompt="My own {prompt}.",
    )
    assert str(recipe) == snapshot("""\
moa: 7 calls
layer 1: poet x2 (a, own system_prompt), b; quorum 2; grace 1.5 s
layer 2: the same
answer: g (temperature 0.1), or else spare (b)
settings: temperature 0.7, max_tokens 2048, deadline 200 s, own prompt, call (retries 5, hedge_after usual), seed 7\
""")


def test_presets_print_as_the_sentence_one_would_say():
    assert str(residual([A, B], G, layers=2, keep=1)) == snapshot("""\
residual: at most 6 calls
layer 1: a, b
  then diverse (k 1)
  then residuals (extractor g (temperature 0))
layer 2: the same
answer: g
settings: temperature 0.7, max_tokens 2048, deadline 200 s\
""")
    assert str(council([A, B], G)) == snapshot("""\
council: 5 calls
layer 1: a, b
  then peer_ranking
answer: g
settings: temperature 0.7, max_tokens 2048, deadline 200 s\
""")
    assert str(cascade(A, moa_lite([B], G))) == snapshot("""\
cascade: at most 5 calls
layer 1: a x3; quorum 0
  then agreed (final yes, afresh yes)
layer 2: b
answer: g
settings: temperature 0.7, max_tokens 2048, deadline 200 s\
""")

    async def my_own(step: Step) -> Selected:
        return Selected(step.proposals)

    assert "then my_own" in str(moa([A], G, select=my_own))


def test_an_agents_repr_has_its_model_and_what_is_set():
    assert repr(Proposer(A)) == "Proposer('a')"
    assert repr(Aggregator(A, temperature=0.1)) == "Aggregator('a', temperature=0.1)"
    assert repr(Agent(A, "judge", kwargs={"top_p": 1})) == "Agent('a', name='judge')"
    assert repr(Proposer(A, samples=2)) == "Proposer('a', samples=2)"
    assert "Proposer('b'" in repr(moa([A, B], G).layers)


def test_a_recipes_repr_is_short_and_has_neither_prompts_nor_keys():
    member = OpenAI(
        model="gpt-4.1-mini", api_key="a-secret-key", default_headers={"x-key": "header-secret"}
    )
    named = Proposer(member, kwargs={"extra_headers": {"authorization": "Bearer call-secret"}})
    recipe = rank(
        [named, B],
        Aggregator(OpenAI(model="gpt-4.1", api_key="a-secret-key"), system_prompt="persona"),
    )
    shown = (
        f"{recipe!r} {recipe} {recipe.layers} {recipe.estimate('?')!r} {recipe.layers[0].select}"
    )
    assert repr(recipe) == "Recipe('rank', layers=[['gpt-4.1-mini', 'b']], aggregator=None)"
    assert not [word for word in ("secret", "simulated-key", "Bearer") if word in shown]
    assert AGGREGATE_AND_SYNTHESIZE[:40] not in f"{recipe!r} {recipe}"
