"""Structured output: proposers answer in prose, the aggregator fills in the class in the way of its own class."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import BasePydanticProgram, PydanticProgramMode
from pydantic import BaseModel, ValidationError

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._providers.structured import SCHEMA_PROMPT, Filling
from llama_index.packs.mixture_of_agents.simulation import (
    SimulatedProviders,
    ToolCall,
    call_tools,
    failure,
)
from llama_index.packs.mixture_of_agents.simulation.conversation import text_of
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


class Actor(BaseModel):
    name: str
    role: str | None = None


class Film(BaseModel):
    """A film and who plays in it."""

    title: str
    year: int
    cast: list[Actor]


ALIEN = Film(
    title="Alien", year=1979, cast=[Actor(name="Weaver", role="Ripley"), Actor(name="Holm")]
)
PROMPT = PromptTemplate("Tell me of the film {name}.")
JSON = ALIEN.model_dump_json()
AS_A_CALL = call_tools(ToolCall("Film", ALIEN.model_dump()))
# How an aggregator is told, and what it then answers with.
WAYS = {
    "response_format": ("openai", "gpt-4.1", JSON),
    "openai_tool": ("openai", "gpt-4-turbo", AS_A_CALL),
    "mistral_tool": ("mistral", "mistral-large-latest", AS_A_CALL),
    "text": ("mistral", "open-mistral-nemo", f"Here it is:\n```json\n{JSON}\n```"),
}


def mixture(providers: SimulatedProviders, way: str, **policies: Any) -> MixtureOfAgents:
    provider, model, reply = WAYS[way]
    providers.configure(model, reply=reply)
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    aggregator = getattr(providers, provider)(model)
    return MixtureOfAgents(llm=aggregator, proposers=proposers, num_layers=1, **policies)


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_class_is_filled_in_by_every_method(
    providers: SimulatedProviders, way: str
) -> None:
    llm = mixture(providers, way)
    assert await asyncio.to_thread(llm.structured_predict, Film, PROMPT, name="Alien") == ALIEN
    assert await llm.astructured_predict(Film, PROMPT, name="Alien") == ALIEN
    sync = await asyncio.to_thread(
        lambda: list(llm.stream_structured_predict(Film, PROMPT, name="Alien"))
    )
    stream = await llm.astream_structured_predict(Film, PROMPT, name="Alien")
    grown = [partial async for partial in stream]
    assert sync[-1] == grown[-1] == ALIEN
    assert all(before != after for before, after in pairwise(grown))


@pytest.mark.filterwarnings("ignore:The .json. method is deprecated")  # it is core that calls it
@pytest.mark.parametrize("way", WAYS)
async def test_a_structured_llm_answers_in_the_class(
    providers: SimulatedProviders, way: str
) -> None:
    llm = mixture(providers, way).as_structured_llm(Film)
    question = [ChatMessage("Tell me of the film Alien.")]
    assert (await asyncio.to_thread(llm.chat, question)).raw == ALIEN
    assert (await llm.achat(question)).raw == ALIEN
    assert (await llm.acomplete("Alien?")).raw == ALIEN
    chunks = [chunk async for chunk in await llm.astream_chat(question)]
    assert chunks[-1].raw == ALIEN


@pytest.mark.parametrize("way", WAYS)
def test_proposers_answer_in_prose_and_know_what_the_form_asks_for(
    providers: SimulatedProviders, way: str
) -> None:
    mixture(providers, way).structured_predict(Film, PROMPT, name="Alien")
    for proposer in ("gpt-4.1-mini", "mistral-small-latest"):
        (record,) = providers.log(proposer)
        assert not {"tools", "tool_choice", "response_format"} & set(record.body)
        system, user = record.body["messages"]
        assert text_of(user) == "Tell me of the film Alien."
        form = "Film(title: string, year: integer, cast: list of {name: string, role?: string or null})"
        assert text_of(system) == f"{SCHEMA_PROMPT}\n- {form}: A film and who plays in it."
    (record,) = providers.log(WAYS[way][1])
    assert "Responses from models:" in text_of(record.body["messages"][0])


def test_each_aggregator_is_told_in_the_way_of_its_own_class(providers: SimulatedProviders) -> None:
    sent: dict[str, Any] = {}
    for way in WAYS:
        mixture(providers, way).structured_predict(Film, PROMPT, name="Alien")
        sent[way] = providers.log(WAYS[way][1])[-1].body
    assert sent["response_format"]["response_format"]["json_schema"]["name"] == "Film"
    assert "tools" not in sent["response_format"]
    for way in ("openai_tool", "mistral_tool"):
        assert [tool["function"]["name"] for tool in sent[way]["tools"]] == ["Film"]
        assert sent[way]["tool_choice"] == "required"
        assert "response_format" not in sent[way]
    assert not {"tools", "response_format"} & set(sent["text"])
    asked = text_of(sent["text"]["messages"][-1])
    assert asked.startswith("Tell me of the film Alien.\n\nHere's a JSON schema to follow:")
    assert json.dumps(Film.model_json_schema()) in asked


def test_a_stream_shows_the_object_grow_and_passes_each_state_once(
    providers: SimulatedProviders,
) -> None:
    llm = mixture(providers, "response_format")
    spaced = ALIEN.model_dump_json(indent=1)
    providers.configure("gpt-4.1", reply=spaced)
    grown = list(llm.stream_structured_predict(Film, PROMPT, name="Alien"))
    assert [getattr(partial, "title", None) for partial in grown] == ["Alien"] * len(grown)
    years = [getattr(partial, "year", None) for partial in grown]
    assert (years[0], years[-1]) == (None, 1979)
    casts = [len(getattr(partial, "cast", None) or []) for partial in grown]
    assert sorted(casts) == casts
    assert set(casts) == {0, 1, 2}
    assert grown[-1] == ALIEN
    states = [(type(partial) is Film, partial.model_dump()) for partial in grown]
    assert all(before != after for before, after in pairwise(states))


async def test_an_object_that_shows_only_at_the_end_comes_then() -> None:
    fenced = f"```json\n{JSON}\n```"  # without a space it is one chunk
    llm = MixtureOfAgents(llm=ScriptedLLM(fenced, tools=False), proposers=[ScriptedLLM()])
    assert list(llm.stream_structured_predict(Film, PROMPT, name="Alien")) == [ALIEN]
    stream = await llm.astream_structured_predict(Film, PROMPT, name="Alien")
    assert [partial async for partial in stream] == [ALIEN]


def test_a_stream_without_chunks_fills_nothing_in() -> None:
    assert list(Filling(Film).end()) == []


def test_a_fallback_of_another_class_fills_in_the_same_class(providers: SimulatedProviders) -> None:
    providers.configure("mistral-large-latest", reply=AS_A_CALL)
    llm = mixture(
        providers, "response_format", fallbacks=[providers.mistral("mistral-large-latest")]
    )
    providers.configure("gpt-4.1", script=[failure(400)] * 9)
    assert llm.structured_predict(Film, PROMPT, name="Alien") == ALIEN
    assert "response_format" not in providers.log("mistral-large-latest")[0].body


def test_a_mixture_as_the_aggregator_fills_in_the_class(providers: SimulatedProviders) -> None:
    inner = mixture(providers, "mistral_tool")
    llm = MixtureOfAgents(llm=inner, proposers=[providers.openai("gpt-4o-mini")], num_layers=1)
    assert llm.structured_predict(Film, PROMPT, name="Alien") == ALIEN


@pytest.mark.parametrize("reply", ["I do not know that film.", '{"title": "Alien"}'])
def test_an_answer_that_does_not_fit_is_an_error(reply: str) -> None:
    llm = MixtureOfAgents(llm=ScriptedLLM(reply, tools=False), proposers=[ScriptedLLM()])
    with pytest.raises(ValueError, match=r"json|validation"):
        llm.structured_predict(Film, PROMPT, name="Alien")
    with pytest.raises(ValueError, match=r"json|validation"):
        list(llm.stream_structured_predict(Film, PROMPT, name="Alien"))


def test_a_call_that_does_not_fit_is_an_error() -> None:
    call = ToolSelection(tool_id="1", tool_name="Film", tool_kwargs={"title": "Alien"})
    llm = MixtureOfAgents(llm=ScriptedLLM(call), proposers=[ScriptedLLM()])
    with pytest.raises(ValidationError, match="year"):
        llm.structured_predict(Film, PROMPT, name="Alien")


async def test_a_program_mode_of_the_users_choice_is_kept() -> None:
    aggregator = ScriptedLLM(JSON)
    mode = PydanticProgramMode.LLM
    llm = MixtureOfAgents(llm=aggregator, proposers=[ScriptedLLM()], pydantic_program_mode=mode)
    assert await asyncio.to_thread(llm.structured_predict, Film, PROMPT, name="Alien") == ALIEN
    assert await llm.astructured_predict(Film, PROMPT, name="Alien") == ALIEN
    if LLMTextCompletionProgram.stream_call is not BasePydanticProgram.stream_call:  # newer cores
        sync = await asyncio.to_thread(
            lambda: list(llm.stream_structured_predict(Film, PROMPT, name="Alien"))
        )
        stream = await llm.astream_structured_predict(Film, PROMPT, name="Alien")
        assert sync[-1] == [partial async for partial in stream][-1] == ALIEN
    assert all(not asked.kwargs.get("tools") for asked in aggregator.asked)


def test_the_callers_keyword_arguments_reach_the_aggregator_and_its_system_prompt_comes_first() -> (
    None
):
    aggregator = ScriptedLLM(JSON, tools=False)
    llm = MixtureOfAgents(llm=aggregator, proposers=[ScriptedLLM()], system_prompt="Be exact.")
    kwargs = {"temperature": 0.1, "tool_choice": "required", "tool_required": True}
    llm.structured_predict(Film, PROMPT, llm_kwargs=kwargs, name="Alien")
    (asked,) = aggregator.asked
    assert asked.kwargs["temperature"] == 0.1
    assert not {"tool_choice", "tool_required"} & set(asked.kwargs)
    assert (asked.messages[0].content or "").startswith("Be exact.\n\nYou have been provided")
    assert kwargs["tool_choice"] == "required"
