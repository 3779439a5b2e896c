"""The Responses API, asked by OpenAI's own SDK over a real server on this machine."""

import asyncio
import json
import threading
from typing import Any

import httpx
import openai
import pytest
from members import of_paris
from openai.types.responses import Response
from pydantic import BaseModel
from served import served
from wire import CALLS_WEATHER, openai_sdk

from llama_index.packs.mixture_of_agents.cache import SqliteKVStore
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

QUESTION = "What is the capital of France?"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": None,
}
# What the Open Responses specification requires of every response object.
REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
}  # fmt: skip


@pytest.fixture(scope="module")
def at():
    with served({"moa": of_paris()}) as address:
        yield address


def test_a_whole_answer_is_a_response_of_openais(at):
    with openai_sdk(at) as sdk:
        answer = sdk.responses.create(model="moa", input=QUESTION)
    assert type(answer).__name__ == "Response"
    Response.model_validate(answer.model_dump())
    assert answer.output_text == "It is Paris."
    assert answer.status == "completed"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 15)
    assert answer.mixture["calls"] == 3


def test_every_field_that_open_responses_requires_is_there(at):
    answer = httpx.post(f"{at}/v1/responses", json={"model": "moa", "input": QUESTION}).json()
    assert set(answer) >= REQUIRED
    (item,) = answer["output"]
    assert item["content"] == [
        {"type": "output_text", "text": "It is Paris.", "annotations": [], "logprobs": []}
    ]
    assert answer["text"] == {"format": {"type": "text"}}


def test_the_events_of_a_stream_come_in_order_and_are_numbered(at):
    with openai_sdk(at) as sdk:
        events = list(sdk.responses.create(model="moa", input=QUESTION, stream=True))
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == "It is Paris."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_function_goes_round(streamed):
    plain = ScriptedLLM(CALLS_WEATHER, "It is warm.")
    with served({"plain": plain}) as at, openai_sdk(at) as sdk:
        settings: Any = {"model": "plain", "tools": [WEATHER]}
        if streamed:
            with sdk.responses.stream(input=QUESTION, **settings) as stream:
                first = stream.get_final_response()
        else:
            first = sdk.responses.create(input=QUESTION, **settings)
        (called,) = first.output
        assert (called.type, called.name) == ("function_call", "weather")
        assert json.loads(called.arguments) == {"city": "Paris"}
        output = {"type": "function_call_output", "call_id": called.call_id, "output": "25 degrees"}
        history = [
            {"role": "user", "content": QUESTION},
            called.model_dump(exclude_none=True),
            output,
        ]
        second = sdk.responses.create(input=history, **settings)
        assert second.output_text == "It is warm."
    *_, last = plain.asked
    assert [message.role.value for message in last.messages] == ["user", "assistant", "tool"]
    assert last.messages[-1].content == "25 degrees"


class City(BaseModel):
    name: str
    country: str


def test_a_schema_is_filled_in():
    plain = ScriptedLLM('{"name": "Paris", "country": "France"}')
    with served({"plain": plain}) as at, openai_sdk(at) as sdk:
        answer = sdk.responses.parse(model="plain", input=QUESTION, text_format=City)
    assert answer.output_parsed == City(name="Paris", country="France")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "on disk"])
def test_a_conversation_goes_on_from_a_response(on_disk, streamed, tmp_path):
    plain = ScriptedLLM("Paris.", "About two million.")
    store = SqliteKVStore(tmp_path / "kept.sqlite3") if on_disk else "memory"
    with served({"plain": plain}, store=store) as at, openai_sdk(at) as sdk:
        if streamed:
            with sdk.responses.stream(
                model="plain", input=QUESTION, instructions="Be brief."
            ) as stream:
                first = stream.get_final_response()
        else:
            first = sdk.responses.create(model="plain", input=QUESTION, instructions="Be brief.")
        second = sdk.responses.create(
            model="plain", input="How many live there?", previous_response_id=first.id
        )
    assert second.output_text == "About two million."
    told = [(message.role.value, message.content) for message in plain.asked[-1].messages]
    assert told == [
        ("user", QUESTION),
        ("assistant", "Paris."),
        ("user", "How many live there?"),
    ]  # instructions are not carried over


@pytest.mark.parametrize(
    ("store", "settings"),
    [
        ("memory", {"previous_response_id": "resp_none"}),
        (None, {"previous_response_id": "resp_none"}),
    ],
)
def test_a_response_that_is_not_kept_is_refused_by_its_name(store, settings):
    with (
        served({"plain": ScriptedLLM("ok")}, store=store) as at,
        openai_sdk(at) as sdk,
        pytest.raises(openai.BadRequestError, match="previous_response_id"),
    ):
        sdk.responses.create(model="plain", input="Go on.", **settings)


def test_an_answer_that_was_cut_off_is_incomplete(providers):
    providers.configure("gpt-4.1", reply="one two three four")
    with served({"cut": providers.openai("gpt-4.1")}) as at, openai_sdk(at) as sdk:
        answer = sdk.responses.create(model="cut", input=QUESTION, max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_a_failing_run_ends_a_stream_with_a_failed_response():
    begun = threading.Event()

    async def late(_):
        await asyncio.to_thread(begun.wait)
        raise ValueError("no")

    with served({"plain": ScriptedLLM(late)}, heartbeat=0.01) as at, openai_sdk(at) as sdk:
        events = sdk.responses.create(model="plain", input=QUESTION, stream=True)
        assert next(events).type == "response.created"
        begun.set()
        *_, last = events
    assert last.type == "response.failed"
    assert last.response.error.code == "server_error"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"input": []}, "input: must not be empty"),
        ({"temperature": 3.0}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type: only 'function' is supported"),
        ({"background": True}, "background: only False is supported"),
        ({"conversation": "conv_1"}, "conversation: is not supported"),
        ({"prompt": {"id": "x"}}, "prompt: is not supported"),
        (
            {"input": [{"type": "item_reference", "id": "x"}]},
            "input[0]: 'item_reference' is not supported, only 'message'",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(at, settings, word):
    with openai_sdk(at) as sdk, pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(**{"model": "moa", "input": QUESTION, **settings})
    body: Any = caught.value.body
    assert word in body["message"]


async def test_a_client_that_leaves_ends_its_run():
    ended = threading.Event()

    async def endless(_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with served({"slow": ScriptedLLM(endless)}, heartbeat=0.01) as at:
        async with openai.AsyncOpenAI(base_url=f"{at}/v1", api_key="a-key", max_retries=0) as sdk:
            stream = await sdk.responses.create(model="slow", input=QUESTION, stream=True)
            assert (await anext(aiter(stream))).type == "response.created"
            await stream.close()
        assert await asyncio.to_thread(ended.wait, 20)


def test_what_the_layers_do_is_shown_as_reasoning_before_the_answer(at):
    with openai_sdk(at) as sdk:
        whole: Any = sdk.responses.create(model="moa:shown", input=QUESTION)
        events: Any = list(sdk.responses.create(model="moa:shown", input=QUESTION, stream=True))
    for response in (whole, events[-1].response):
        reasoning, message = response.output
        assert (reasoning.type, message.type) == ("reasoning", "message")
        assert "Paris, France" in reasoning.summary[0].text
        assert response.output_text == "It is Paris."
    kinds = [event.type for event in events if not event.type.endswith(".delta")]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    assert added == [0, 1]
