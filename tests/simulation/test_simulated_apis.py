"""The simulated providers' wire formats: streams, and what they refuse."""

import json
from typing import Any

import aiohttp
import openai
import pytest
from wire import CHAT, MISTRAL_CHAT, request_body

from llama_index.packs.mixture_of_agents.simulation import (
    BROKEN_JSON,
    ERROR_IN_STREAM,
    SimulatedProviders,
)


async def events(response: aiohttp.ClientResponse) -> list[Any]:
    lines = (await response.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_openai_streams_usage_only_where_it_is_asked_for(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", reply="a b c")
    async with http.post(CHAT, json=request_body(stream=True)) as response:
        assert response.content_type == "text/event-stream"
        plain = await events(response)
    options = {"include_usage": True}
    async with http.post(CHAT, json=request_body(stream=True, stream_options=options)) as response:
        counted = await events(response)
    assert not any("usage" in chunk for chunk in plain)
    assert [chunk["usage"] for chunk in counted[:-1]] == [None] * len(plain)
    assert counted[-1]["choices"] == []
    assert counted[-1]["usage"]["completion_tokens"] == 3
    assert [chunk["choices"][0]["delta"].get("content") for chunk in plain] == [
        "",
        "a",
        " b",
        " c",
        None,
    ]
    assert plain[-1]["choices"][0]["finish_reason"] == "stop"


async def test_mistral_streams_usage_in_its_last_chunk(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", reply="a b c d", chunk_words=3, cached_tokens=1)
    async with http.post(MISTRAL_CHAT, json=request_body(stream=True)) as response:
        chunks = await events(response)
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["", "a b c", " d", ""]
    assert ["usage" in chunk for chunk in chunks] == [False, False, False, True]
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_takes_its_time_as_configured(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="a b c d", latency=9, first_token=0.1, per_token=0.05)
    for _ in sdk.chat.completions.create(**request_body(stream=True)):
        pass
    (record,) = providers.log()
    assert record.first_byte is not None
    assert record.ended is not None
    assert 0.1 <= record.first_byte - record.arrived < 3
    assert record.ended - record.first_byte >= 4 * 0.05
    assert record.chunks == 6


async def test_an_error_in_a_stream_is_raised_by_the_sdk(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="a b c d", script=[ERROR_IN_STREAM])
    stream = iter(sdk.chat.completions.create(**request_body(stream=True)))
    got = [next(stream).choices[0].delta.content for _ in range(3)]
    assert got == ["", "a", " b"]
    with pytest.raises(openai.APIError, match="had an error"):
        next(stream)


async def test_broken_json_in_a_stream_is_one_bad_event(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="a b c d", script=[BROKEN_JSON])
    with pytest.raises(ValueError, match="char"):
        list(sdk.chat.completions.create(**request_body(stream=True)))


USER = {"role": "user", "content": "hi"}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"messages": []}, "empty array"),
        ({"messages": None}, "Missing required parameter"),
        ({"model": ""}, "you must provide a model parameter"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "Invalid value: 'boss'"),
        ({"messages": [{"role": "user", "content": None}]}, "expected a string, got null"),
        ({"messages": [USER, RESULT]}, "must be a response to a preceeding message"),
        ({"messages": [USER, CALLING, USER]}, "did not have response messages: abcdefghi"),
        ({"messages": [USER, CALLING]}, "did not have response messages: abcdefghi"),
        ({"tools": []}, "Invalid 'tools': empty array"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
        ({"temperature": 3}, "Expected a value <= 2"),
    ],
)
async def test_openai_refuses_what_the_real_one_refuses(
    http: aiohttp.ClientSession, body: dict[str, Any], told: str
) -> None:
    async with http.post(CHAT, json={**request_body(), **body}) as response:
        answer = await response.json()
        assert response.status == 400
        assert told in answer["error"]["message"]
        assert set(answer["error"]) == {"message", "type", "param", "code"}


async def test_openai_takes_tool_results_and_developer_messages(
    http: aiohttp.ClientSession,
) -> None:
    messages = [{"role": "developer", "content": "Be kind."}, USER, CALLING, RESULT, USER]
    async with http.post(CHAT, json=request_body(messages=messages)) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"messages": []}, 422, "at least 1 item"),
        ({"stream_options": {}}, 422, "Extra inputs are not permitted"),
        ({"max_completion_tokens": 5}, 422, "Extra inputs are not permitted"),
        ({"temperature": 1.6}, 422, "less than or equal to 1.5"),
        ({"messages": [{"role": "developer", "content": "x"}]}, 422, "does not match any"),
        ({"messages": [{**USER, "name": "Bob"}]}, 422, "Extra inputs are not permitted"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}]}, 400, "Expected last role"),
        ({"messages": [USER, {"role": "assistant", "content": ""}, USER]}, 400, "not none"),
        ({"messages": [USER, CALLING, RESULT, USER]}, 400, "'user' after role 'tool'"),
        ({"messages": [USER, RESULT]}, 400, "'tool' after role 'user'"),
        ({"messages": [USER, CALLING, USER]}, 400, "Not the same number of function calls"),
        (
            {"messages": [USER, {**CALLING, "tool_calls": [{**CALL, "id": "call_1"}]}]},
            400,
            "Tool call id was call_1 but must be",
        ),
    ],
)
async def test_mistral_refuses_what_the_real_one_refuses(
    http: aiohttp.ClientSession, body: dict[str, Any], status: int, told: str
) -> None:
    async with http.post(MISTRAL_CHAT, json={**request_body(), **body}) as response:
        answer = await response.json()
        assert response.status == status
        assert told in json.dumps(answer["message"])
        assert answer["object"] == "error"


async def test_mistral_takes_tool_results_and_a_prefix(http: aiohttp.ClientSession) -> None:
    for messages in (
        [{"role": "system", "content": "Be kind."}, USER, CALLING, RESULT],
        [USER, {"role": "assistant", "content": "It", "prefix": True}],
    ):
        async with http.post(MISTRAL_CHAT, json=request_body(messages=messages)) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", [CHAT, MISTRAL_CHAT])
async def test_a_missing_or_wrong_key_is_refused_and_never_logged(
    providers: SimulatedProviders, http: aiohttp.ClientSession, path: str
) -> None:
    for key in ("Bearer ", "Bearer wrong"):
        async with http.post(path, json=request_body(), headers={"Authorization": key}) as response:
            assert response.status == 401
    records = providers.log()
    assert [(r.status, r.outcome) for r in records] == [(401, "refused")] * 2
    assert "Bearer" not in repr(records)


@pytest.mark.parametrize(("path", "status"), [(CHAT, 404), (MISTRAL_CHAT, 400)])
async def test_unknown_models_are_refused_where_only_configured_ones_exist(
    providers: SimulatedProviders, http: aiohttp.ClientSession, path: str, status: int
) -> None:
    providers.configure("*", missing=True)
    providers.configure("known", reply="hi")
    async with http.post(path, json=request_body(model="unknown")) as response:
        assert response.status == status
        assert "unknown" in await response.text()
    async with http.post(path, json=request_body(model="known")) as response:
        assert response.status == 200
    async with http.get("/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["known"]


async def test_a_model_refuses_the_parameters_it_is_told_to(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", refuses=["max_tokens"], only_default=["temperature"])
    async with http.post(CHAT, json=request_body(max_tokens=5)) as response:
        assert (await response.json())["error"] == {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "type": "invalid_request_error",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        }
    async with http.post(CHAT, json=request_body(temperature=0.7)) as response:
        assert (await response.json())["error"] == {
            "message": "Unsupported value: 'temperature' does not support 0.7 with this model. "
            "Only the default (1) value is supported.",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": "unsupported_value",
        }
    async with http.post(CHAT, json=request_body(temperature=1)) as response:
        assert response.status == 200
    async with http.post(MISTRAL_CHAT, json=request_body(max_tokens=5)) as response:
        assert response.status == 422


@pytest.mark.parametrize(
    ("path", "told"), [(CHAT, "maximum context length is 8 tokens"), (MISTRAL_CHAT, "too large")]
)
async def test_a_prompt_over_the_context_window_is_refused(
    providers: SimulatedProviders, http: aiohttp.ClientSession, path: str, told: str
) -> None:
    providers.configure("m", context_window=8)
    async with http.post(
        path, json=request_body("one two three four five", max_tokens=4)
    ) as response:
        assert response.status == 400
        assert told in await response.text()
    async with http.post(
        path, json=request_body("one two three four five", max_tokens=3)
    ) as response:
        assert response.status == 200


@pytest.mark.parametrize(("path", "status"), [(CHAT, 400), (MISTRAL_CHAT, 422)])
async def test_a_body_that_is_no_json_object_is_refused(
    http: aiohttp.ClientSession, path: str, status: int
) -> None:
    for body in (b"{", b"[]", b"\xff"):
        async with http.post(path, data=body) as response:
            assert response.status == status
