"""The Messages API, asked by Anthropic's own SDK over a real server on this machine."""

import asyncio
import threading
from typing import Any

import anthropic
import httpx
import pytest
from members import of_paris
from pydantic import BaseModel
from served import served
from wire import CALLS_WEATHER

from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

HELLO: Any = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def client(at, key="a-key") -> Any:
    return anthropic.Anthropic(base_url=at, api_key=key, max_retries=0, timeout=20)


def ask(at, model="moa", **settings) -> Any:
    given = {"max_tokens": 100, "messages": HELLO, **settings}
    with client(at) as sdk:
        return sdk.messages.create(model=model, **given)


@pytest.fixture(scope="module")
def at():
    models = {"moa": of_paris(), "plain": ScriptedLLM("Paris, of course.", usage=(7, 3))}
    with served(models) as address:
        yield address


def test_a_whole_answer_is_a_message_of_anthropics(at):
    answer = ask(at)
    assert type(answer).__name__ == "Message"
    assert [block.text for block in answer.content] == ["It is Paris."]
    assert (answer.stop_reason, answer.role, answer.model) == ("end_turn", "assistant", "moa")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 15)
    assert answer.mixture["calls"] == 3


def test_a_streamed_answer_is_the_same_as_a_whole_one(at):
    with (
        client(at) as sdk,
        sdk.messages.stream(model="moa", max_tokens=100, messages=HELLO) as stream,
    ):
        kinds = [event.type for event in stream]
        last = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert "content_block_start" in kinds
    assert last.content[0].text == "It is Paris."
    assert last.stop_reason == "end_turn"
    assert last.usage.output_tokens == 15


def test_the_conversation_reaches_the_model_as_it_was_written():
    plain = ScriptedLLM("ok")
    conversation: Any = [
        {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
                                          {"type": "text", "text": "Hi"}]},
        {"role": "user", "content": "Bye"},
    ]  # fmt: skip
    system: Any = [{"type": "text", "text": "Be brief."}]
    with served({"plain": plain}) as at:
        ask(
            at,
            "plain",
            messages=conversation,
            system=system,
            stop_sequences=["END"],
            extra_body={"temperature": 0.5},
        )
    (asked,) = plain.asked
    told = [(message.role.value, message.content) for message in asked.messages]
    assert told == [
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "Bye"),
    ]
    assert asked.kwargs["temperature"] == 0.5
    assert asked.kwargs["max_tokens"] == 100
    assert asked.kwargs["stop"] == ["END"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_tool_goes_round(streamed):
    plain = ScriptedLLM(CALLS_WEATHER, "It is warm.")
    with served({"plain": plain}) as at, client(at) as sdk:
        settings: Any = {"model": "plain", "max_tokens": 100, "tools": [WEATHER]}
        if streamed:
            with sdk.messages.stream(messages=HELLO, **settings) as stream:
                first = stream.get_final_message()
        else:
            first = sdk.messages.create(messages=HELLO, **settings)
        (block,) = first.content
        assert (block.type, block.name, block.input) == ("tool_use", "weather", {"city": "Paris"})
        assert first.stop_reason == "tool_use"
        result = {"type": "tool_result", "tool_use_id": block.id, "content": "25 degrees"}
        history = [
            *HELLO,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        second = sdk.messages.create(messages=history, **settings)
    assert second.content[0].text == "It is warm."
    *_, last = plain.asked
    assert last.messages[-1].role == "tool"
    assert last.messages[-1].content == "25 degrees"
    assert last.messages[-1].additional_kwargs["tool_call_id"] == block.id


class Capital(BaseModel):
    """What a model is asked to fill in."""

    city: str


WANTED: Any = {"type": "json_schema", "schema": Capital.model_json_schema()}


@pytest.mark.parametrize(
    "field", [{"output_config": {"format": WANTED}}, {"output_format": WANTED}]
)
def test_an_answer_is_in_the_schema_that_a_request_gives(providers, field):
    with served({"gpt": providers.openai("gpt-4.1")}) as at, client(at) as sdk:
        settings: Any = {"model": "gpt", "max_tokens": 100, "messages": HELLO}
        parsed = sdk.messages.parse(output_format=Capital, **settings)
        assert parsed.parsed_output == Capital(city="simulated city")
        with sdk.messages.stream(extra_body=field, **settings) as stream:
            text = stream.get_final_text()
        assert Capital.model_validate_json(text) == parsed.parsed_output
    for record in providers.log():
        schema = record.body["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["city"]["type"] == "string"


def test_an_unknown_format_of_an_answer_is_refused_by_name(at):
    with pytest.raises(anthropic.BadRequestError, match="output_config"):
        ask(at, extra_body={"output_config": {"format": {"type": "xml"}}})


def test_an_image_in_the_request_reaches_the_model():
    plain = ScriptedLLM("A dot.")
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    source = {"type": "base64", "media_type": "image/png", "data": dot}
    shown: Any = [
        {
            "role": "user",
            "content": [{"type": "image", "source": source}, {"type": "text", "text": "?"}],
        }
    ]
    with served({"plain": plain}) as at:
        ask(at, "plain", messages=shown)
    blocks: Any = plain.asked[0].messages[-1].blocks
    image, text = blocks
    assert str(image.url) == f"data:image/png;base64,{dot}"
    assert text.text == "?"


@pytest.mark.parametrize(
    ("settings", "error", "word"),
    [
        ({"model": "none"}, anthropic.NotFoundError, "none"),
        ({"max_tokens": 0}, anthropic.BadRequestError, "max_tokens"),
        ({"extra_body": {"temperature": 3.0}}, anthropic.BadRequestError, "temperature"),
        ({"messages": []}, anthropic.BadRequestError, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, anthropic.BadRequestError, "messages[0].content: must not be empty"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, anthropic.BadRequestError, "'document' is not supported, only 'text'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, anthropic.BadRequestError, "tools"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_anthropics_format(at, settings, error, word):
    with pytest.raises(error) as caught:
        ask(at, **{"model": "moa", **settings})
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] in ("not_found_error", "invalid_request_error")
    assert word in body["error"]["message"]


def test_a_path_that_is_asked_in_another_way_is_the_clients_mistake(at):
    answer = httpx.get(f"{at}/v1/messages")
    assert answer.status_code == 405
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_stop_sequences_without_text_stop_nothing(providers):
    providers.configure("gpt-4.1", reply="one two")
    with served({"plain": providers.openai("gpt-4.1")}) as at:
        answer = ask(at, "plain", stop_sequences=["", "two"])
    assert [block.text for block in answer.content] == ["one"]
    assert providers.log("gpt-4.1")[0].body["stop"] == ["two"]


def test_a_failing_run_ends_a_stream_with_an_error_event():
    begun = threading.Event()

    async def late(_):
        await asyncio.to_thread(begun.wait)
        raise ValueError("no")

    with (
        served({"plain": ScriptedLLM(late)}, heartbeat=0.01) as at,
        client(at) as sdk,
        sdk.messages.stream(model="plain", max_tokens=9, messages=HELLO) as stream,
    ):
        assert next(stream).type == "message_start"
        begun.set()
        with pytest.raises(anthropic.APIError) as caught:
            list(stream)
    body: Any = caught.value.body
    assert body["error"]["type"] == "api_error"


@pytest.mark.parametrize(("key", "status"), [("right", 200), ("wrong", 401)])
def test_a_key_may_come_as_x_api_key(key, status):
    with served({"plain": ScriptedLLM("ok")}, keys=["right"]) as at:
        body = {"model": "plain", "max_tokens": 9, "messages": HELLO}
        answer = httpx.post(f"{at}/v1/messages", json=body, headers={"x-api-key": key})
    assert answer.status_code == status
    assert answer.json()["type"] == ("message" if status == 200 else "error")


def test_tokens_are_counted_without_asking_a_model():
    plain = ScriptedLLM("ok")
    with served({"plain": plain}) as at, client(at) as sdk:
        short = sdk.messages.count_tokens(model="plain", messages=HELLO)
        longer = sdk.messages.count_tokens(
            model="plain", messages=HELLO, tools=[WEATHER], system="Be brief."
        )
    assert 5 < short.input_tokens < longer.input_tokens
    assert plain.asked == ()


def test_fields_that_mean_nothing_here_are_ignored_and_named(at):
    body = {"model": "moa", "max_tokens": 9, "messages": HELLO, "top_k": 5, "service_tier": "auto"}
    answer = httpx.post(f"{at}/v1/messages", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-ignored-fields"] == "top_k, service_tier"


def test_servers_whose_tools_a_model_should_call_are_refused_and_none_at_all_are_not(at):
    body = {"model": "moa", "max_tokens": 9, "messages": HELLO}
    servers = [{"type": "url", "url": "https://tools.example", "name": "tools"}]
    refused = httpx.post(f"{at}/v1/messages", json={**body, "mcp_servers": servers})
    assert refused.status_code == 400
    assert "mcp_servers: is not supported; leave it out" in refused.json()["error"]["message"]
    assert httpx.post(f"{at}/v1/messages", json={**body, "mcp_servers": []}).status_code == 200


def test_what_the_layers_do_is_shown_as_thinking_before_the_answer(at):
    whole = ask(at, "moa:shown")
    thinking, text = whole.content
    assert (thinking.type, text.text) == ("thinking", "It is Paris.")
    assert "Paris, France" in thinking.thinking
    with (
        client(at) as sdk,
        sdk.messages.stream(model="moa:shown", max_tokens=100, messages=HELLO) as stream,
    ):
        events: Any = list(stream)
        last: Any = stream.get_final_message()
    assert [block.type for block in last.content] == ["thinking", "text"]
    assert last.content[1].text == "It is Paris."
    assert "Paris, France" in last.content[0].thinking
    stops = [event.index for event in events if event.type == "content_block_stop"]
    assert stops == [0, 1]
