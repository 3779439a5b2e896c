"""LLMs over HTTP, asked by OpenAI's SDK and by LlamaIndex's own class, over a real server on this machine."""

import asyncio
import json
from importlib.metadata import version
from typing import Any

import httpx
import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import ToolSelection
from llama_index.llms.openai import OpenAI
from members import of_paris
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from served import served
from wire import MESSAGES, openai_sdk

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "minLength": 2}},
            "required": ["city"],
        },
    },
}
KEY = "a-key-of-this-server"


def members(moa) -> list[Any]:
    return [
        *(proposer.llm for proposer in moa.recipe.layers[0].proposers),
        moa.recipe.aggregator.llm,
    ]


def client(at, kind: Any = openai.OpenAI, key=KEY) -> Any:
    return openai_sdk(at, kind, key)


def ask(at, model="moa", **settings) -> Any:
    with client(at) as sdk:
        return sdk.chat.completions.create(model=model, messages=MESSAGES, **settings)


def chunks(at, model="moa", **settings) -> list[Any]:
    with client(at) as sdk:
        return list(
            sdk.chat.completions.create(model=model, messages=MESSAGES, stream=True, **settings)
        )


def text_of(streamed):
    return "".join(chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices)


@pytest.fixture(scope="module")
def at():
    """A server for whatever needs no server of its own."""
    models = {
        "moa": of_paris(),
        "gpt-4.1": of_paris(),
        "degraded": of_paris(proposers=("Paris", ValueError("no"))),
        "one": ScriptedLLM("Paris, of course.", usage=(7, 3)),
        "toolless": ScriptedLLM("ok", tools=False),
    }
    with served(models) as address:
        yield address


def test_a_whole_answer_is_openais_and_says_what_the_whole_run_took(at):
    answer = ask(at)
    assert type(answer).__name__ == "ChatCompletion"
    ChatCompletion.model_validate(answer.model_dump(), strict=False)
    assert answer.choices[0].message.content == "It is Paris."
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (30, 15)
    told = answer.mixture
    assert (told["calls"], told["degraded"], told["failures"]) == (3, [], [])
    assert told["answered_by"] == "writer"
    assert "proposals" not in told


def test_a_streamed_answer_begins_with_its_role_and_ends_with_its_reason_and_its_usage(at):
    streamed = chunks(at, stream_options={"include_usage": True})
    first, *_, last_of_text, usage = streamed
    assert first.choices[0].delta.role == "assistant"
    assert text_of(streamed) == "It is Paris."
    assert [c.choices[0].finish_reason for c in streamed[:-2]] == [None] * (len(streamed) - 2)
    assert last_of_text.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage.total_tokens == 45
    assert usage.mixture["calls"] == 3
    assert len({chunk.id for chunk in streamed}) == 1


def test_usage_is_streamed_only_to_whom_asks_for_it(at):
    streamed = chunks(at)
    assert all(chunk.choices and chunk.usage is None for chunk in streamed)
    assert streamed[-1].mixture["calls"] == 3


def test_chunks_before_the_one_with_the_usage_say_null_where_usage_was_asked_for(at):
    for options, null in (({"include_usage": True}, True), ({"include_usage": None}, False)):
        body = {"model": "moa", "messages": MESSAGES, "stream": True, "stream_options": options}
        told = httpx.post(f"{at}/v1/chat/completions", json=body).text.split("\n\n")
        first = json.loads(told[0].removeprefix("data: "))
        assert ("usage" in first) is null
        assert first.get("usage") is None


def test_the_schema_has_the_packages_version(at):
    told = httpx.get(f"{at}/openapi.json", timeout=30).json()["info"]["version"]
    assert told == version("llama-index-packs-mixture-of-agents")


def test_a_stream_ends_with_done_and_both_kinds_of_answers_carry_their_id(at):
    body = {"model": "moa", "messages": MESSAGES}
    whole = httpx.post(f"{at}/v1/chat/completions", json=body)
    stream = httpx.post(f"{at}/v1/chat/completions", json={**body, "stream": True})
    assert whole.headers["x-request-id"] == whole.json()["id"]
    assert stream.text.endswith("data: [DONE]\n\n")
    assert stream.headers["x-request-id"] in stream.text


def test_proposals_are_told_to_whom_asks_for_them(at):
    answer = ask(at, extra_body={"mixture": {"proposals": True}})
    assert [one["text"] for one in answer.mixture["proposals"]] == ["Paris", "Paris, France"]


def test_a_degraded_answer_says_so_and_who_failed(at):
    told = ask(at, "degraded").mixture
    assert told["degraded"]
    assert [(one["agent"], one["kind"]) for one in told["failures"]] == [("p2", "error")]


def test_an_llm_that_is_no_mixture_is_served_too(at):
    answer = ask(at, "one")
    streamed = chunks(at, "one", stream_options={"include_usage": True})
    assert answer.choices[0].message.content == text_of(streamed) == "Paris, of course."
    assert answer.usage.total_tokens == streamed[-1].usage.total_tokens == 10
    assert not hasattr(answer, "mixture")


async def test_the_async_client_asks_many_at_once_and_each_gets_its_own_answer():
    async def echo(messages):
        await asyncio.sleep(0)
        return f"You said {messages[-1].content}"

    moa = of_paris(echo)
    with served({"moa": moa}) as at:
        async with client(at, openai.AsyncOpenAI) as sdk:

            async def one(number):
                asked = [{"role": "user", "content": f"number {number}"}]
                answer = await sdk.chat.completions.create(model="moa", messages=asked)
                return answer.choices[0].message.content

            answers = await asyncio.gather(*map(one, range(40)))
    assert answers == [f"You said number {number}" for number in range(40)]


def test_what_the_caller_sets_is_passed_on_and_nothing_else():
    moa = of_paris(temperature=None, max_tokens=None)
    with served({"moa": moa}) as at:
        ask(at)
        ask(
            at, temperature=0.5, top_p=0.9, max_completion_tokens=50, stop=["END"], seed=7,
            presence_penalty=0.1, user="somebody", metadata={"a": "b"}, store=False, n=1,
        )  # fmt: skip
    proposer, _, writer = members(moa)
    assert [asked.kwargs for asked in (proposer.asked[0], writer.asked[0])] == [{}, {}]
    shared = {"temperature": 0.5, "top_p": 0.9}
    assert proposer.asked[1].kwargs == shared
    assert writer.asked[1].kwargs == {
        **shared, "max_tokens": 50, "stop": ["END"], "seed": 7, "presence_penalty": 0.1,
    }  # fmt: skip


def test_every_role_and_kind_of_content_arrives():
    llm = ScriptedLLM("ok")
    pixel = "data:image/png;base64,iVBORw0KGgo="
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": pixel, "detail": "low"}},
        ]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "a pixel"},
        {"role": "system", "content": [{"type": "text", "text": "Go on."}]},
    ]  # fmt: skip
    with served({"one": llm}) as at, client(at) as sdk:
        sdk.chat.completions.create(model="one", messages=messages)
    arrived: Any = llm.asked[0].messages
    system, user, assistant, tool, last = arrived
    assert (system.role.value, system.content) == ("system", "Be brief.")
    assert (user.blocks[0].text, str(user.blocks[1].url), user.blocks[1].detail) == (
        "What is this?", pixel, "low",
    )  # fmt: skip
    (call,) = assistant.blocks
    assert (call.tool_call_id, call.tool_name, call.tool_kwargs) == ("c1", "look", {"at": 1})
    assert (tool.content, tool.additional_kwargs) == ("a pixel", {"tool_call_id": "c1"})
    assert last.content == "Go on."


@pytest.mark.parametrize("model", ["moa", "one"])
def test_tools_are_offered_and_their_calls_come_back_whole_and_streamed(model):
    call = ToolSelection(tool_id="c1", tool_name="weather", tool_kwargs={"city": "Paris"})
    models: Any = {"moa": of_paris(call), "one": ScriptedLLM(call)}
    with served(models) as at:
        whole = ask(at, model, tools=[WEATHER], tool_choice="required").choices[0]
        streamed = chunks(at, model, tools=[WEATHER])
    (told,) = whole.message.tool_calls
    assert (told.id, told.function.name) == ("c1", "weather")
    assert json.loads(told.function.arguments) == {"city": "Paris"}
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    calls = [c for chunk in streamed for c in chunk.choices[0].delta.tool_calls or ()]
    assert [(c.index, c.function.name, c.function.arguments) for c in calls] == [
        (0, "weather", '{"city": "Paris"}')
    ]
    assert streamed[-1].choices[0].finish_reason == "tool_calls"
    writer = members(models["moa"])[-1] if model == "moa" else models["one"]
    (offered,) = writer.asked[0].kwargs["tools"]
    assert offered["function"]["parameters"] == WEATHER["function"]["parameters"]
    assert [asked.kwargs["tool_choice"] for asked in writer.asked] == ["required", "auto"]


def test_tools_and_schemas_reach_openais_class_as_they_were_written(providers):
    schema = {"name": "city", "schema": {"type": "object", "properties": {"name": {"enum": ["a"]}}}}
    wanted = {"type": "json_schema", "json_schema": schema}
    choice = {"type": "function", "function": {"name": "weather"}}
    with served({"gpt": providers.openai("gpt-4.1")}) as at:
        ask(at, "gpt", tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
        ask(at, "gpt", response_format=wanted)
    with_tools, with_schema = (record.body for record in providers.log("gpt-4.1"))
    assert with_tools["tools"] == [WEATHER]
    assert with_tools["tool_choice"] == choice
    assert with_tools["parallel_tool_calls"] is False
    assert with_schema["response_format"] == wanted


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_filled_in_by_a_mixture_whose_writer_only_knows_tools(stream):
    filled = ToolSelection(
        tool_id="c", tool_name="City", tool_kwargs={"name": "P", "inhabitants": 2}
    )
    with served({"moa": of_paris(filled)}) as at, client(at) as sdk:
        asked = {"model": "moa", "messages": MESSAGES, "response_format": City}
        if stream:
            with sdk.chat.completions.stream(**asked) as events:
                answer = events.get_final_completion()
        else:
            answer = sdk.chat.completions.parse(**asked)
    assert answer.choices[0].message.parsed == City(name="P", inhabitants=2)
    assert answer.choices[0].finish_reason == "stop"


def test_an_llm_without_tools_refuses_them_clearly(at):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(at, "toolless", tools=[WEATHER])
    assert raised.value.param == "tools"
    assert "the model toolless takes no tools" in raised.value.message


def test_llama_indexs_own_class_asks_a_served_mixture(at):
    llm = OpenAI("gpt-4.1", api_base=f"{at}/v1", api_key=KEY)
    assert llm.complete("Why?").text == "It is Paris."
    asked = [ChatMessage(role="user", content="Why?")]
    assert "".join(chunk.delta or "" for chunk in llm.stream_chat(asked)) == "It is Paris."


def test_a_served_mixture_is_a_proposer_of_another_one_and_its_tokens_are_counted_once(at):
    inner = OpenAI("gpt-4.1", api_base=f"{at}/v1", api_key=KEY)
    outer = MixtureOfAgents(llm=ScriptedLLM("In the end: Paris."), proposers=[inner], num_layers=1)
    result = outer.chat([ChatMessage(role="user", content="Why?")]).additional_kwargs["mixture"]
    assert [one.text for one in result.proposals] == ["It is Paris."]
    assert result.answer == "In the end: Paris."
    assert result.usage.total_tokens == 45 + 15


def test_models_are_listed_and_found_by_names_with_slashes():
    with served({"moa": of_paris(), "house/one": ScriptedLLM()}) as at, client(at) as sdk:
        assert [model.id for model in sdk.models.list()] == ["moa", "house/one"]
        assert sdk.models.retrieve("house/one").id == "house/one"


def test_an_answer_that_is_cut_off_says_length(providers):
    providers.configure("gpt-4.1", reply="one two three four")
    with served({"gpt": providers.openai("gpt-4.1")}) as at:
        assert ask(at, "gpt", max_tokens=2).choices[0].finish_reason == "length"
        assert chunks(at, "gpt", max_tokens=2)[-1].choices[0].finish_reason == "length"


def test_metrics_count_runs_tokens_and_refusals_of_this_server_alone():
    with served({"moa": of_paris()}) as at, served({"moa": of_paris()}) as other:
        ask(at)
        chunks(at)
        with pytest.raises(openai.NotFoundError):
            ask(at, "nobody")
        text, others = (httpx.get(f"{one}/metrics").text for one in (at, other))
    assert 'moa_requests_total{model="moa",status="200"} 2.0' in text
    assert 'moa_requests_total{model="",status="404"} 1.0' in text
    assert 'moa_tokens_total{kind="input",model="moa"} 60.0' in text
    assert 'moa_in_flight{model="moa"} 0.0' in text
    assert "200" not in others


def test_scripts_of_web_pages_may_ask_only_from_origins_that_were_named():
    origin = "https://pages.example"
    asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    with served({"moa": of_paris()}, keys=[KEY], origins=[origin]) as at:
        allowed = httpx.options(f"{at}/v1/chat/completions", headers=asking)
    with served({"moa": of_paris()}) as at:
        refused = httpx.options(f"{at}/v1/chat/completions", headers=asking)
    assert allowed.headers["access-control-allow-origin"] == origin
    assert refused.status_code == 405
    assert "access-control-allow-origin" not in refused.headers


def test_a_provider_that_fails_is_502_and_is_told(providers):
    providers.configure("gpt-4.1", chances=[(failure(404), 1.0)])
    moa = MixtureOfAgents(
        llm=providers.openai("gpt-4.1"), proposers=[ScriptedLLM("x")], num_layers=1
    )
    with served({"moa": moa}) as at, pytest.raises(openai.InternalServerError) as raised:
        ask(at)
    assert raised.value.status_code == 502
    assert "gpt-4.1: not_found 404" in raised.value.message
