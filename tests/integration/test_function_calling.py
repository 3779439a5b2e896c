"""Tools: the aggregator calls them, whichever class it is of; proposers read about them and advise."""

import asyncio
from typing import Any

import pytest
from asking import QUESTION
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from members import add

from llama_index.packs.mixture_of_agents import AggregatorFailed, MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents._providers.structured import TOOLS_PROMPT
from llama_index.packs.mixture_of_agents.llm import RESULT_KEY
from llama_index.packs.mixture_of_agents.simulation import (
    SimulatedProviders,
    ToolCall,
    call_tools,
    failure,
)
from llama_index.packs.mixture_of_agents.simulation.conversation import text_of
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def weather(city: str) -> str:
    """Tell the weather."""
    return f"18 degrees in {city}"


TOOLS = [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(add)]
PARIS = ToolCall("weather", {"city": "Paris"})
ONE_AND_TWO = ToolCall("add", {"a": 1, "b": 2})
AGGREGATORS = {"openai": "gpt-4.1", "mistral": "mistral-large-latest"}


def mixture(
    providers: SimulatedProviders, provider: str = "openai", **policies: Any
) -> MixtureOfAgents:
    """One layer of an OpenAI and a Mistral proposer under an aggregator of the given provider."""
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    aggregator = getattr(providers, provider)(AGGREGATORS[provider])
    return MixtureOfAgents(llm=aggregator, proposers=proposers, num_layers=1, **policies)


def wanted(response: ChatResponse) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    assert all(block.tool_call_id for block in blocks)
    llm = MixtureOfAgents(llm=ScriptedLLM(), proposers=[ScriptedLLM()])
    calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert [call.tool_id for call in calls] == [block.tool_call_id for block in blocks]
    return [(call.tool_name, call.tool_kwargs) for call in calls]


async def asked_in_every_way(llm: MixtureOfAgents, **options: Any) -> list[ChatResponse]:
    """The last response of each of the four methods that take tools."""
    options = {"tools": TOOLS, "chat_history": QUESTION, **options}
    responses = [await asyncio.to_thread(llm.chat_with_tools, **options)]
    responses.append(await llm.achat_with_tools(**options))
    responses.append(
        (await asyncio.to_thread(lambda: list(llm.stream_chat_with_tools(**options))))[-1]
    )
    responses.append([chunk async for chunk in await llm.astream_chat_with_tools(**options)][-1])
    return responses


@pytest.mark.parametrize("provider", AGGREGATORS)
async def test_the_aggregator_alone_gets_the_tools_and_calls_them(
    providers: SimulatedProviders, provider: str
) -> None:
    providers.configure(AGGREGATORS[provider], reply=call_tools(PARIS))
    for response in await asked_in_every_way(mixture(providers, provider)):
        assert wanted(response) == [("weather", {"city": "Paris"})]
        assert response.additional_kwargs[RESULT_KEY].answered_by == AGGREGATORS[provider]
    for record in providers.log(AGGREGATORS[provider]):
        assert [tool["function"]["name"] for tool in record.body["tools"]] == ["weather", "add"]
        assert record.body["tool_choice"] == "auto"
    for proposer in ("gpt-4.1-mini", "mistral-small-latest"):
        for record in providers.log(proposer):
            assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(record.body)
            assert TOOLS_PROMPT in text_of(record.body["messages"][0])


@pytest.mark.parametrize("provider", AGGREGATORS)
async def test_parallel_calls_come_whole_where_they_are_allowed_and_alone_where_not(
    providers: SimulatedProviders, provider: str
) -> None:
    providers.configure(AGGREGATORS[provider], reply=call_tools(PARIS, ONE_AND_TWO))
    llm = mixture(providers, provider)
    both = [("weather", {"city": "Paris"}), ("add", {"a": 1, "b": 2})]
    for response in await asked_in_every_way(llm, allow_parallel_tool_calls=True):
        assert wanted(response) == both
    single = llm.chat_with_tools(TOOLS, "How warm is it in Paris?")
    assert wanted(single) == both[:1]
    assert len(single.message.additional_kwargs.get("tool_calls", [None])) == 1


@pytest.mark.parametrize("provider", AGGREGATORS)
async def test_a_tool_that_is_required_or_chosen_is_asked_for_in_the_words_of_the_provider(
    providers: SimulatedProviders, provider: str
) -> None:
    llm = mixture(providers, provider)
    for response in await asked_in_every_way(llm, tool_required=True):
        assert wanted(response)[0][0] == "weather"
    for response in await asked_in_every_way(llm, tool_choice="add"):
        assert wanted(response)[0][0] == "add"
    llm.chat_with_tools(TOOLS, "?", tool_choice="none")
    llm.chat_with_tools(TOOLS, "?", tool_choice=None, tool_required=True)
    sent = [record.body["tool_choice"] for record in providers.log(AGGREGATORS[provider])]
    chosen = {"type": "function", "function": {"name": "add"}}
    assert sent == ["required"] * 4 + [chosen] * 4 + ["none", "required"]


async def test_streamed_calls_grow_chunk_by_chunk_and_end_whole(
    providers: SimulatedProviders,
) -> None:
    providers.configure(
        "gpt-4.1", reply=call_tools(ToolCall("weather", {"city": "Paris", "x": "y"}))
    )
    llm = mixture(providers)
    chunks = [chunk async for chunk in await llm.astream_chat_with_tools(TOOLS, "Paris?")]
    grown = [
        llm.get_tool_calls_from_response(chunk, error_on_no_tool_call=False) for chunk in chunks
    ]
    arguments = [calls[0].tool_kwargs for calls in grown if calls]
    assert arguments[0] == {}
    assert arguments[-1] == {"city": "Paris", "x": "y"}
    assert all(set(a) <= set(arguments[-1]) for a in arguments)
    assert all(chunk.message.content is None for chunk in chunks)


@pytest.mark.parametrize("provider", AGGREGATORS)
def test_predict_and_call_calls_the_tool(providers: SimulatedProviders, provider: str) -> None:
    providers.configure(AGGREGATORS[provider], reply=call_tools(ONE_AND_TWO))
    llm = mixture(providers, provider)
    assert str(llm.predict_and_call(TOOLS, "1 and 2?")) == "3"
    assert str(asyncio.run(llm.apredict_and_call(TOOLS, "1 and 2?"))) == "3"


async def test_an_agents_loop_goes_on_with_the_results_and_proposers_read_them(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", reply=[call_tools(PARIS), "It is 18 degrees."])
    llm = mixture(providers)
    first = await llm.achat_with_tools(TOOLS, chat_history=QUESTION)
    (call,) = llm.get_tool_calls_from_response(first)
    result = ChatMessage(
        role="tool", content="18 degrees", additional_kwargs={"tool_call_id": call.tool_id}
    )
    history = [*QUESTION, first.message, result]
    assert (
        str(await llm.achat_with_tools(TOOLS, chat_history=history))
        == "assistant: It is 18 degrees."
    )
    for proposer in ("gpt-4.1-mini", "mistral-small-latest"):
        seen = providers.log(proposer)[-1].body["messages"]
        assert [message["role"] for message in seen] == ["system", "user"]
        assert '(The assistant called its tool weather with {"city": "Paris"}.)' in text_of(
            seen[-1]
        )
        assert "(The assistant's tool weather returned:)\n\n18 degrees" in text_of(seen[-1])


async def test_proposers_are_asked_again_only_when_the_user_has_spoken_where_the_recipe_says_so(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", reply=[call_tools(PARIS), "It is 18 degrees."])
    llm = mixture(providers, fan_out="user_turns")
    first = await llm.achat_with_tools(TOOLS, chat_history=QUESTION)
    (call,) = llm.get_tool_calls_from_response(first)
    told = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content="18 degrees", additional_kwargs=told)
    await llm.achat_with_tools(TOOLS, chat_history=[*QUESTION, first.message, result])
    assert providers.counts("gpt-4.1").arrived == 2
    assert providers.counts("gpt-4.1-mini").arrived == 1


@pytest.mark.parametrize(("first", "second"), [("openai", "mistral"), ("mistral", "openai")])
async def test_a_fallback_of_another_class_is_told_of_the_tools_in_its_own_way_and_takes_the_loop_over(
    providers: SimulatedProviders, first: str, second: str
) -> None:
    down, up = AGGREGATORS[first], AGGREGATORS[second]
    providers.configure(up, reply=[call_tools(PARIS), "18 degrees."])
    fallback = getattr(providers, second)(up)
    llm = mixture(providers, first, fallbacks=[fallback])
    called = await mixture(providers, first).achat_with_tools(
        TOOLS, tool_choice="add", user_msg="?"
    )
    (call,) = llm.get_tool_calls_from_response(called)
    told = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content="3", additional_kwargs=told)
    providers.configure(down, script=[failure(400)] * 9)
    history = [*QUESTION, called.message, result]
    response = await llm.achat_with_tools(TOOLS, chat_history=history, tool_choice="weather")
    assert wanted(response) == [("weather", {"city": "Paris"})]
    result = response.additional_kwargs[RESULT_KEY]
    assert result.answered_by == up
    assert result.degraded == (f"{up} answered in place of {down}",)
    sent = providers.log(up)[-1].body
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert ("strict" in sent["tools"][0]["function"]) == (second == "openai")


def test_a_fallback_without_tools_is_not_asked_and_the_error_says_what_happened() -> None:
    down = ScriptedLLM(ValueError("down"), model="down")
    plain = ScriptedLLM("prose", model="plain", tools=False)
    llm = MixtureOfAgents(llm=down, proposers=[ScriptedLLM()], fallbacks=[plain])
    with pytest.raises(AggregatorFailed, match="down") as caught:
        llm.chat_with_tools(TOOLS, "?")
    assert plain.asked == ()
    assert caught.value.result.degraded == ("plain was not asked: it takes no tools",)
    assert llm.chat(QUESTION).message.content == "prose"


def test_an_aggregator_without_tools_refuses_them_before_anything_is_asked() -> None:
    proposer = ScriptedLLM()
    llm = MixtureOfAgents(llm=ScriptedLLM(tools=False), proposers=[proposer])
    assert not llm.metadata.is_function_calling_model
    with pytest.raises(ValueError, match="takes no tools"):
        llm.chat_with_tools(TOOLS, "?")
    assert proposer.asked == ()


def test_an_answer_without_calls_is_an_error_only_where_one_is_wanted() -> None:
    llm = MixtureOfAgents(llm=ScriptedLLM("prose"), proposers=[ScriptedLLM()])
    response = llm.chat_with_tools(TOOLS, "?")
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="calls no tool"):
        llm.get_tool_calls_from_response(response)


def test_without_tools_nothing_is_said_of_tools() -> None:
    aggregator, proposer = ScriptedLLM("prose"), ScriptedLLM()
    llm = MixtureOfAgents(llm=aggregator, proposers=[proposer])
    llm.chat_with_tools([], "?", tool_choice="auto", temperature=0.5)
    (asked,) = aggregator.asked
    assert not {"tools", "tool_choice"} & set(asked.kwargs)
    assert asked.kwargs["temperature"] == 0.5
    assert TOOLS_PROMPT not in str(proposer.asked[0].messages)


def test_specs_given_to_a_plain_chat_reach_the_aggregator_as_they_are() -> None:
    aggregator, proposer = ScriptedLLM("prose"), ScriptedLLM()
    specs = [tool.metadata.to_openai_tool() for tool in TOOLS]
    llm = MixtureOfAgents(llm=aggregator, proposers=[proposer])
    llm.chat(QUESTION, tools=specs)
    assert aggregator.asked[0].kwargs["tools"] is specs
    assert "tools" not in proposer.asked[0].kwargs
    assert "- add(a: integer, b: integer): Add two numbers." in str(
        proposer.asked[0].messages[0].content
    )


class KeepsCallsElsewhere(ScriptedLLM):
    """Like an integration that does not know tool call blocks: its calls are in additional_kwargs."""

    def __init__(self, *replies: Any) -> None:
        super().__init__(*replies)

    def get_tool_calls_from_response(
        self, response: ChatResponse, *_: Any, **__: Any
    ) -> list[ToolSelection]:
        calls = response.message.additional_kwargs.get("calls", [])
        if calls == ["broken"]:
            raise ValueError("no JSON yet")
        return [ToolSelection(tool_id="1", tool_name=name, tool_kwargs={}) for name in calls]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_a_class_keeps_in_its_own_place_are_found_too(stream: bool) -> None:
    def reply(*calls: str) -> ChatMessage:
        return ChatMessage(role="assistant", content="ok", additional_kwargs={"calls": list(calls)})

    replies = [reply("add"), reply(), reply("broken")]
    inner = KeepsCallsElsewhere(*replies)
    llm = MixtureOfAgents(llm=inner, proposers=[ScriptedLLM()])

    def ask() -> ChatResponse:
        if stream:
            return list(llm.stream_chat_with_tools(TOOLS, "?"))[-1]
        return llm.chat_with_tools(TOOLS, "?")

    assert wanted(ask()) == [("add", {})]
    assert wanted(ask()) == []
    assert wanted(ask()) == []


class Older(ScriptedLLM):
    """Like an integration that knows no block but text, and keeps its calls as LiteLLM's class does."""

    __module__ = "llama_index.llms.older"


CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}


@pytest.mark.parametrize("kept", [{"tool_calls": [CALL]}, {}], ids=["its own", "another's"])
def test_a_class_that_knows_no_tool_call_blocks_gets_calls_back_in_its_own_form(
    kept: dict[str, Any],
) -> None:
    block = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1, "b": 2})
    history = [
        ChatMessage("What is 1 + 2?"),
        ChatMessage(
            role="assistant", blocks=[TextBlock(text="I add."), block], additional_kwargs=kept
        ),
        ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "1"}),
    ]
    older, newer = Older("3"), ScriptedLLM("3")  # pyright: ignore[reportCallIssue]
    for llm in (older, newer):
        MixtureOfAgents(llm=llm, proposers=[ScriptedLLM()]).chat(history)
    (sent,) = [message for message in older.asked[0].messages if message.role == "assistant"]
    assert sent.blocks == [TextBlock(text="I add.")]
    assert sent.additional_kwargs["tool_calls"] == [CALL]
    assert block in newer.asked[0].messages[-2].blocks
    assert history[1].blocks[-1] is block


def test_hints_that_a_class_does_not_know_are_left_out_and_their_content_stays() -> None:
    source = CitableBlock(title="Report", source="a.txt", content=[TextBlock(text="It is 3.")])
    hint = CachePoint(cache_control=CacheControl(type="ephemeral"))
    history = [ChatMessage(role="user", blocks=[source, hint, TextBlock(text="What is it?")])]
    older, newer = Older("3"), ScriptedLLM("3")  # pyright: ignore[reportCallIssue]
    for llm in (older, newer):
        MixtureOfAgents(llm=llm, proposers=[ScriptedLLM()]).chat(history)
    sent = older.asked[0].messages[-1].blocks
    assert {type(block) for block in sent} == {TextBlock}
    assert [block.text for block in sent if isinstance(block, TextBlock)] == [
        "Report:",
        "It is 3.",
        "What is it?",
    ]
    assert newer.asked[0].messages[-1].blocks == history[0].blocks


def test_a_mixture_as_the_aggregator_passes_the_tools_on_and_its_calls_back(
    providers: SimulatedProviders,
) -> None:
    providers.configure("mistral-large-latest", reply=call_tools(PARIS))
    inner = mixture(providers, "mistral")
    llm = MixtureOfAgents(llm=inner, proposers=[providers.openai("gpt-4o-mini")], num_layers=1)
    assert llm.metadata.is_function_calling_model
    assert wanted(llm.chat_with_tools(TOOLS, "Paris?")) == [("weather", {"city": "Paris"})]
    assert wanted(list(llm.stream_chat_with_tools(TOOLS, "Paris?"))[-1]) == [
        ("weather", {"city": "Paris"})
    ]
    assert "tools" not in providers.log("gpt-4o-mini")[0].body


def test_callbacks_see_a_completion_of_our_own_classes_once() -> None:
    for make in (ScriptedLLM, lambda **more: MixtureOfAgents(moa([ScriptedLLM()], None), **more)):
        seen = LlamaDebugHandler(print_trace_on_end=False)
        llm = make(callback_manager=CallbackManager([seen]))
        assert llm.complete("?").text == "scripted answer"
        assert len(seen.get_llm_inputs_outputs()) == 1
