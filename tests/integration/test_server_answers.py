"""What a served LLM answers reaches its client whole and in the form that was asked for, whatever the LLM's own way."""

import asyncio
import json
from itertools import product
from typing import Any

import anthropic
import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from served import served
from wire import CHAT, MESSAGES, TOOL, openai_sdk

from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import Reply, ToolCall, call_tools
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "City",
        "schema": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


def mixture(writer, *proposers, **settings):
    proposers = proposers or [ScriptedLLM("Paris")]
    return MixtureOfAgents(llm=writer, proposers=proposers, num_layers=1, **settings)


def with_call(text):
    """A reply that says something and calls the tool that fills in the schema."""
    call = ToolCallBlock(tool_call_id="c", tool_name="City", tool_kwargs={"name": "Paris"})
    return ChatMessage(role="assistant", blocks=[TextBlock(text=text), call])


class Strange(BaseException):
    """What an LLM class should not raise."""


LOOKS = [
    ToolSelection(tool_id=str(number), tool_name="look", tool_kwargs={"at": number})
    for number in (1, 2)
]
REPLIES: dict[str, Any] = {
    "thinks": with_call("<think>a city, hm</think>"),
    "talks": with_call("Sure, here."),
    "declines": "I know of none.",
    "writes": '{"name": "Paris"}',
    "half": "half \ud83d of it",
    "half a tool": ToolSelection(tool_id="1", tool_name="look", tool_kwargs={"at": "\ud83d"}),
    "no json": ToolSelection(tool_id="1", tool_name="look", tool_kwargs={"at": {1, 2}}),
    "twice": LOOKS,
    "does both": [ToolSelection(tool_id="c", tool_name="City", tool_kwargs={}), LOOKS[0]],
    "is cancelled": asyncio.CancelledError(),
    "is strange": Strange(),
}


@pytest.fixture(scope="module")
def client():
    """A server of LLMs that reply as their names say, alone and as writers of mixtures."""
    models = {name: ScriptedLLM(reply) for name, reply in REPLIES.items()}
    models |= {f"{name}, mixed": mixture(ScriptedLLM(reply)) for name, reply in REPLIES.items()}
    models["negative"] = ScriptedLLM("ok", usage=(-5, 3))
    with served(models) as at, httpx.Client(base_url=at) as client:
        yield client


def ask(client, model, **settings):
    return client.post(CHAT, json={"model": model, "messages": MESSAGES, **settings})


def said(answer) -> tuple[list[str], list[str]]:
    """The pieces of text in an answer, whole or streamed, and the arguments of its calls."""
    if answer.headers["content-type"] == "application/json":
        messages = [answer.json()["choices"][0]["message"]]
    else:
        *events, done = answer.text.removeprefix("data: ").strip().split("\n\ndata: ")
        assert done == "[DONE]"
        messages = [json.loads(event)["choices"][0]["delta"] for event in events]
    calls = [call for one in messages for call in one.get("tool_calls") or ()]
    texts = [one["content"] for one in messages if one.get("content")]
    return texts, [call["function"]["arguments"] for call in calls]


mixed = pytest.mark.parametrize("mixed", ["", ", mixed"])
streamed = pytest.mark.parametrize("stream", [False, True])


@mixed
@streamed
@pytest.mark.parametrize("name", ["thinks", "talks"])
def test_a_schema_that_a_tool_fills_in_is_the_answer_whatever_is_said_before(
    client, name, stream, mixed
):
    answer = ask(client, name + mixed, response_format=SCHEMA, stream=stream)
    assert said(answer) == (['{"name": "Paris"}'], [])


@mixed
@streamed
def test_prose_in_place_of_a_schema_is_told_too(client, stream, mixed):
    answer = ask(client, f"declines{mixed}", response_format=SCHEMA, stream=stream)
    assert said(answer) == (["I know of none."], [])


@mixed
def test_a_schema_that_is_written_is_streamed_as_it_comes(client, mixed):
    texts, _ = said(ask(client, f"writes{mixed}", response_format=SCHEMA, stream=True))
    assert texts == ['{"name":', ' "Paris"}']


@mixed
@streamed
def test_half_a_character_in_an_answer_is_told_as_one_that_cannot_be_read(client, stream, mixed):
    texts, _ = said(ask(client, f"half{mixed}", stream=stream))
    assert "".join(texts) == "half \ufffd of it"
    _, (arguments,) = said(ask(client, f"half a tool{mixed}", tools=[TOOL], stream=stream))
    assert json.loads(arguments) == {"at": "\ufffd"}


@mixed
def test_a_fault_at_the_end_of_a_stream_is_told_by_an_event(client, mixed):
    answer = ask(client, f"no json{mixed}", tools=[TOOL], stream=True)
    last = answer.text.strip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] == "internal_error"


@mixed
@streamed
def test_no_more_than_one_tool_is_called_where_the_client_wants_it_so(client, stream, mixed):
    asked = {"tools": [TOOL], "stream": stream}
    alone = ask(client, f"twice{mixed}", parallel_tool_calls=False, **asked)
    assert said(alone)[1] == ['{"at": 1}']
    assert said(ask(client, f"twice{mixed}", **asked))[1] == ['{"at": 1}', '{"at": 2}']


def call_deltas(answer) -> list[dict[str, Any]]:
    *events, _ = answer.text.removeprefix("data: ").strip().split("\n\ndata: ")
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    return [call for delta in deltas for call in delta.get("tool_calls") or ()]


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("model", ["gpt", "moa"])
def test_tool_calls_are_streamed_in_pieces_with_their_providers_ids(providers, model, several):
    wanted = [{"at": "one two three four"}, {"at": "five six"}]
    calls = call_tools(*(ToolCall("look", arguments) for arguments in wanted), text="I look.")
    providers.configure("gpt-4.1", reply=calls)
    providers.configure("gpt-4.1-mini", reply="Look.")
    gpt = providers.openai("gpt-4.1")
    models = {"gpt": gpt, "moa": mixture(gpt, providers.openai("gpt-4.1-mini"))}
    asked = {"tools": [TOOL], "parallel_tool_calls": several, "stream": True}
    with served(models) as at, httpx.Client(base_url=at) as client:
        answer = ask(client, model, **asked)
    found = call_deltas(answer)
    assert "".join(said(answer)[0]) == "I look."
    for index, arguments in enumerate(wanted[: 2 if several else 1]):
        head, *more = [call for call in found if call["index"] == index]
        assert head["id"].startswith("call")
        assert head["function"]["name"] == "look"
        assert len(more) >= 2
        assert all(set(call) == {"index", "function"} for call in more)
        told = "".join(call["function"]["arguments"] for call in (head, *more))
        assert json.loads(told) == arguments
    assert {call["index"] for call in found} == ({0, 1} if several else {0})
    assert '"finish_reason":"tool_calls"' in answer.text


EDGES = ("content_block_start", "content_block_stop")


def anthropic_sdk(at: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=at, api_key="k", max_retries=0, timeout=30)


def calling(providers) -> dict[str, Any]:
    wanted = [{"at": "one two three four"}, {"at": "five six"}]
    calls = call_tools(*(ToolCall("look", arguments) for arguments in wanted), text="I look.")
    providers.configure("gpt-4.1", reply=calls)
    providers.configure("gpt-4.1-mini", reply="Look.")
    gpt = providers.openai("gpt-4.1")
    return {"gpt": gpt, "moa": mixture(gpt, providers.openai("gpt-4.1-mini"))}


@pytest.mark.parametrize("model", ["gpt", "moa"])
def test_the_messages_api_streams_tool_calls_in_pieces_with_their_providers_ids(providers, model):
    tool: Any = {"name": "look", "input_schema": {"type": "object"}}
    asked: Any = {"model": model, "max_tokens": 100, "messages": MESSAGES, "tools": [tool]}
    with served(calling(providers)) as at, anthropic_sdk(at) as sdk:
        with sdk.messages.stream(**asked) as stream:
            events: list[Any] = list(stream)
            message = stream.get_final_message()
        whole = sdk.messages.create(**asked)
    text, *calls = message.content
    assert [text.type, *[call.type for call in calls]] == ["text", "tool_use", "tool_use"]
    inputs = [block.input for block in calls if block.type == "tool_use"]
    assert inputs == [{"at": "one two three four"}, {"at": "five six"}]
    assert inputs == [block.input for block in whole.content[1:] if block.type == "tool_use"]
    assert all(block.id.startswith("call") for block in calls if block.type == "tool_use")
    assert message.stop_reason == "tool_use"
    raw = [event for event in events if event.type == "content_block_delta"]
    assert sum(event.delta.type == "input_json_delta" for event in raw) > 4
    places = [(one.type.split("_")[-1], one.index) for one in events if one.type in EDGES]
    assert places == [(edge, index) for index in range(3) for edge in ("start", "stop")]


@pytest.mark.parametrize("model", ["gpt", "moa"])
def test_the_responses_api_streams_tool_calls_in_pieces_with_their_providers_ids(providers, model):
    tool: Any = {
        "type": "function",
        "name": "look",
        "parameters": {"type": "object"},
        "strict": False,
    }
    asked: Any = {"model": model, "input": "Look.", "tools": [tool]}
    with served(calling(providers)) as at, openai_sdk(at) as sdk:
        with sdk.responses.stream(**asked) as stream:
            events: list[Any] = list(stream)
            response = stream.get_final_response()
        raw: list[Any] = list(sdk.responses.create(stream=True, **asked))
    message, *calls = response.output
    assert message.type == "message"
    found = [json.loads(call.arguments) for call in calls if call.type == "function_call"]
    assert found == [{"at": "one two three four"}, {"at": "five six"}]
    assert all(call.call_id.startswith("call") for call in calls if call.type == "function_call")
    deltas = [one for one in raw if one.type == "response.function_call_arguments.delta"]
    assert len(deltas) > 4
    assert [event.sequence_number for event in raw] == list(range(len(raw)))
    edges = [
        (one.type.split(".")[-1], one.output_index) for one in raw if "output_item." in one.type
    ]
    assert edges == [(edge, index) for index in range(3) for edge in ("added", "done")]
    done = {one.output_index: one.item for one in raw if one.type == "response.output_item.done"}
    assert [done[index] for index in range(3)] == raw[-1].response.output
    assert events[-1].type == "response.completed"


def test_tools_and_a_schema_together_reach_openais_class_as_they_were_written(providers):
    gpt = providers.openai("gpt-4.1")
    models = {"gpt": gpt, "moa": mixture(gpt)}
    with served(models) as at, httpx.Client(base_url=at) as client:
        for model in models:
            assert ask(client, model, tools=[TOOL], response_format=SCHEMA).status_code == 200
    for record in providers.log("gpt-4.1"):
        assert record.body["tools"] == [TOOL]
        assert record.body["response_format"] == SCHEMA


BOTH: Any = {"tools": [TOOL], "response_format": SCHEMA}
CITY = ToolSelection(tool_id="c", tool_name="City", tool_kwargs={"name": "Paris"})


@streamed
@pytest.mark.parametrize("model", ["alone", "mixed"])
def test_another_class_is_given_the_schema_as_one_more_tool(providers, model, stream):
    city = Reply("Well.", tool_calls=(ToolCall("City", {"name": "Paris"}),))
    providers.configure("mistral-small-latest", reply=[city, Reply(tool_calls=(ToolCall("look"),))])
    mistral = providers.mistral("mistral-small-latest")
    models = {"alone": mistral, "mixed": mixture(mistral)}
    with served(models) as at, httpx.Client(base_url=at) as client:
        first, second = (ask(client, model, stream=stream, **BOTH) for _ in range(2))
    assert said(first) == (['{"name": "Paris"}'], [])
    assert said(second) == ([], ["{}"])
    for text, reason in ((first.text, "stop"), (second.text, "tool_calls")):
        assert f'"finish_reason":"{reason}"' in text.replace(": ", ":")
    for record in providers.log("mistral-small-latest"):
        assert [one["function"]["name"] for one in record.body["tools"]] == ["look", "City"]
        assert record.body["tools"][1]["function"]["parameters"] == SCHEMA["json_schema"]["schema"]
        assert record.body["tool_choice"] == "required"
        assert "response_format" not in record.body


@streamed
@mixed
def test_a_tool_that_is_called_beside_the_schema_is_called_first(client, stream, mixed):
    _, calls = said(ask(client, f"does both{mixed}", stream=stream, **BOTH))
    assert calls == ['{"at": 1}']


@streamed
@mixed
def test_what_is_written_in_place_of_calls_is_the_answer(client, stream, mixed):
    texts, calls = said(ask(client, f"writes{mixed}", stream=stream, **BOTH))
    assert ("".join(texts), calls) == ('{"name": "Paris"}', [])


def test_a_client_that_wants_no_calls_gets_the_schema_alone():
    llm = ScriptedLLM(CITY)
    with served({"alone": llm}) as at, httpx.Client(base_url=at) as client:
        answer = ask(client, "alone", tool_choice="none", **BOTH)
        named = {**TOOL, "function": {**TOOL["function"], "name": "City"}}
        other = ask(client, "alone", **{**BOTH, "tools": [named]})
    assert said(answer) == (['{"name": "Paris"}'], [])
    assert said(other)[1] == ['{"name": "Paris"}']  # the client's own tool of that name
    asked = [[one["function"]["name"] for one in a.kwargs["tools"]] for a in llm.asked]
    assert asked == [["City"], ["City", "City_"]]


def test_the_smaller_of_the_clients_limit_and_the_llms_own_holds(providers):
    providers.configure("gpt-4.1", reply="42")
    capped = providers.openai("gpt-4.1", max_tokens=100)
    models = {"gpt": capped, "moa": mixture(capped)}
    limits = ({"max_tokens": 20}, {"max_completion_tokens": 500}, {})
    with served(models) as at, httpx.Client(base_url=at) as client:
        for model, stream, limit in product(models, (False, True), limits):
            assert ask(client, model, stream=stream, **limit).status_code == 200
    assert [one.body["max_tokens"] for one in providers.log("gpt-4.1")] == [20, 100, 100] * 4
    assert capped.max_tokens == 100


def test_a_callers_limit_is_the_answers_and_leaves_proposals_their_own_room(providers):
    for model in ("gpt-4.1-mini", "gpt-4.1"):
        providers.configure(model, reply="one two three four")
    proposer, writer = providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1")
    policy = CallPolicy(retries=0, truncated="reject")
    models = {"moa": mixture(writer, proposer, call=policy, max_tokens=300)}
    with served(models) as at, httpx.Client(base_url=at) as client:
        answer = ask(client, "moa", max_tokens=2)
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["finish_reason"] == "length"
        assert '"finish_reason":"length"' in ask(client, "moa", max_tokens=2, stream=True).text
    assert {one.body["max_tokens"] for one in providers.log("gpt-4.1-mini")} == {300}
    assert {one.body["max_tokens"] for one in providers.log("gpt-4.1")} == {2}


def test_without_an_aggregator_the_callers_limit_applies_to_the_proposals(providers):
    providers.configure("gpt-4.1-mini", reply="one two three four")
    llm = MixtureOfAgents(moa([providers.openai("gpt-4.1-mini")], None, layers=1))
    with served({"moa": llm}) as at, httpx.Client(base_url=at) as client:
        answer = ask(client, "moa", max_tokens=2)
    assert answer.json()["choices"][0]["finish_reason"] == "length"
    assert [one.body["max_tokens"] for one in providers.log()] == [2]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_llm_that_was_asked_on_another_loop_before_answers_the_first_request(providers):
    providers.configure("gpt-4.1", reply="42")
    models = {name: providers.openai("gpt-4.1", max_retries=0) for name in ("first", "second")}
    for llm in models.values():
        asyncio.run(llm.achat([ChatMessage(role="user", content="Why?")]))
    with served(models) as at, httpx.Client(base_url=at) as client:
        answers = [ask(client, "first"), ask(client, "second", stream=True)]
    assert ["".join(said(answer)[0]) for answer in answers] == ["42", "42"]


@streamed
@pytest.mark.parametrize("name", ["is cancelled", "is strange"])
def test_an_llm_that_raises_what_is_no_exception_fails_alone(client, name, stream):
    answer = ask(client, name, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    told = client.get("/metrics").text
    assert f'moa_in_flight{{model="{name}"}} 0.0' in told
    assert f'moa_requests_total{{model="{name}",status="502"}}' in told


def test_a_negative_number_of_tokens_breaks_no_count(client):
    assert ask(client, "negative").status_code == 200
    told = client.get("/metrics").text
    assert 'moa_tokens_total{kind="input",model="negative"} 0.0' in told
    assert 'moa_tokens_total{kind="output",model="negative"} 3.0' in told
