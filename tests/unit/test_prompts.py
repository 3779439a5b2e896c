"""Prompts read and replaced through LlamaIndex's PromptMixin."""

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.llms import LLM
from llama_index.core.prompts import RichPromptTemplate

from llama_index.packs.mixture_of_agents import MixtureOfAgents, RecipeError
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents.presets import fusion, moa, rank
from llama_index.packs.mixture_of_agents.recipe import Layer, Proposer, Recipe, prompts_of
from llama_index.packs.mixture_of_agents.selection import Rank, judge_prompts
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


@pytest.fixture
def writer():
    return ScriptedLLM("the end", model="writer")


def proposers() -> list[LLM]:
    return [ScriptedLLM("one {1}", model="a"), ScriptedLLM("two", model="b")]


def test_prompts_are_read_by_name(writer):
    mixture = MixtureOfAgents(fusion(proposers(), writer))
    texts = {name: prompt.get_template() for name, prompt in mixture.get_prompts().items()}
    assert texts == {
        "aggregate_and_synthesize": AGGREGATE_AND_SYNTHESIZE,
        "analysis": judge_prompts.ANALYSIS,
    }


@pytest.mark.parametrize("template", [PromptTemplate, RichPromptTemplate])
def test_a_replaced_prompt_is_sent_as_it_is_braces_and_all(writer, template):
    mixture = MixtureOfAgents(moa(proposers(), writer, layers=1))
    before = mixture.recipe
    mixture.update_prompts({"aggregate_and_synthesize": template("Merge as {json}: {{x}}")})
    mixture.complete("What of {this} and { that?")
    system, user = writer.asked[0].messages
    assert system.content == "Merge as {json}: {{x}}\n1. one {1}\n2. two"
    assert user.content == "What of {this} and { that?"
    assert before.prompt == AGGREGATE_AND_SYNTHESIZE


def test_what_was_read_can_be_written_back_without_a_change(writer):
    recipe = rank(proposers(), writer, prompt="odd } braces { and {names}")
    mixture = MixtureOfAgents(recipe)
    mixture.update_prompts(mixture.get_prompts())
    assert mixture.recipe == recipe


def test_selections_with_different_prompts_are_told_apart_and_equal_ones_change_together(writer):
    judge = ScriptedLLM('{"ranking": [1]}', model="judge")
    first, second = Rank(judge, 2), Rank(judge, 1, prompt="Be stern.")
    layers = [
        Layer(tuple(map(Proposer, proposers())), select=(one,)) for one in (first, second, first)
    ]
    mixture = MixtureOfAgents(Recipe(tuple(layers), None))
    assert list(mixture.get_prompts()) == ["aggregate_and_synthesize", "rank", "rank_2"]
    mixture.update_prompts({"rank": PromptTemplate("Be kind.")})
    prompted = [getattr(layer.select[0], "prompt", "") for layer in mixture.recipe.layers]
    assert prompted == ["Be kind.", "Be stern.", "Be kind."]


def test_a_prompt_that_it_does_not_have_is_refused_by_name(writer):
    mixture = MixtureOfAgents(moa(proposers(), writer))
    with pytest.raises(
        RecipeError, match=r"'summary'.*is not one of its prompts: aggregate_and_synthesize"
    ):
        mixture.update_prompts({"summary": PromptTemplate("x")})
    assert prompts_of(mixture.recipe) == {"aggregate_and_synthesize": AGGREGATE_AND_SYNTHESIZE}
