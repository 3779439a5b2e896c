"""A request costs the server little, however much is wrong with it."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage
from pydantic import ValidationError
from wire import CHAT

from llama_index.packs.mixture_of_agents.server import create_app
from llama_index.packs.mixture_of_agents.server.chat_schema import DEEPEST, MOST, ChatRequest
from llama_index.packs.mixture_of_agents.server.ignored_fields import IgnoredFields
from llama_index.packs.mixture_of_agents.server.served_model import Model, Question
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

BODY: Any = {"model": "one", "messages": [{"role": "user", "content": "Why?"}]}
HALF = "\ud800"


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


async def post(app, content: bytes) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        headers = {"Content-Type": "application/json"}
        return await client.post(CHAT, content=content, headers=headers)


async def refusal(body: Any) -> dict[str, Any]:
    """What is told of a body that makes no sense."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    llm = ScriptedLLM("ok")
    answer = await post(create_app({"one": llm}), content)
    assert answer.status_code == 400
    assert not llm.asked
    return answer.json()["error"]


SEVERAL = [0] * 1000
FULL_OF_MISTAKES: list[dict[str, Any]] = [
    {"messages": SEVERAL},
    {"messages": [{"role": "user", "content": SEVERAL}]},
    {"messages": [{"role": "assistant", "tool_calls": SEVERAL}]},
    {"tools": SEVERAL},
    {"stop": SEVERAL},
    {"mixture": {f"strange{number}": 1 for number in range(1000)}},
]


@pytest.mark.parametrize("mistakes", FULL_OF_MISTAKES, ids=lambda value: str(value)[:60])
def test_of_a_thousand_mistakes_the_first_is_told(mistakes):
    with pytest.raises(ValidationError) as raised:
        ChatRequest.model_validate({**BODY, **mistakes})
    assert raised.value.error_count() <= 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", BODY["messages"] * (MOST + 1)),
        ("logit_bias", {str(number): "x" for number in range(MOST + 1)}),
    ],
    ids=["messages", "logit_bias"],
)
async def test_more_entries_than_anybody_needs_are_refused(field, value):
    told = await refusal({**BODY, field: value})
    assert told["param"] == field
    assert "holds more than 4,096 entries" in told["message"]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("tools[0].function.parameters", tool(parameters=nested(DEEPEST + 1))),
        (
            "response_format.json_schema.schema",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "f", "schema": nested(DEEPEST + 1)},
                }
            },
        ),
    ],
    ids=["tool", "schema"],
)
async def test_a_schema_that_is_nested_too_deep_is_refused(field, body):
    told = await refusal({**BODY, **body})
    assert told["param"] == field
    assert "nested more than 100 levels deep" in told["message"]


async def test_a_schema_as_deep_as_it_may_be_reaches_the_llm():
    llm = ScriptedLLM("ok")
    body = {**BODY, **tool(parameters=nested(DEEPEST))}
    answer = await post(create_app({"one": llm}), json.dumps(body).encode())
    assert answer.status_code == 200
    (offered,) = llm.asked[0].kwargs["tools"]
    assert offered["function"]["parameters"] == nested(DEEPEST)


CALLED = {"id": "1", "type": "function", "function": {"name": "f", "arguments": HALF}}


@pytest.mark.parametrize(
    "unsayable",
    [
        {"stop": HALF},
        {"reasoning_effort": HALF},
        {"logit_bias": {HALF: 1}},
        tool(description=HALF),
        tool(parameters={"title": HALF}),
        tool(parameters={"minimum": float("nan")}),
        {"messages": [{"role": "assistant", "tool_calls": [CALLED]}]},
        {"logit_bias": {"1": float("inf")}},
    ],
    ids=str,
)
async def test_what_no_request_to_a_provider_can_carry_is_refused(unsayable):
    told = await refusal({**BODY, **unsayable})
    assert told["code"] == "invalid_value"
    assert "no provider" in told["message"]


async def test_a_number_beyond_all_numbers_is_refused():
    body = json.dumps({**BODY, "logit_bias": {"1": 0}}).replace('"1": 0', '"1": 1e999')
    assert "no provider" in (await refusal(body.encode()))["message"]


async def test_whole_characters_that_are_written_as_two_halves_are_taken():
    llm = ScriptedLLM("ok")
    question = {"role": "user", "content": "Not a number: NaN \U0001f642"}
    body = json.dumps({**BODY, "messages": [question]}).encode()
    assert b"\\ud83d" in body
    assert (await post(create_app({"one": llm}), body)).status_code == 200
    assert llm.asked[0].messages == (ChatMessage(role="user", content=question["content"]),)


async def test_a_body_that_is_no_utf_8_is_no_json():
    body = json.dumps(BODY).encode().replace(b"Why", b"\xff")
    assert (await refusal(body))["code"] == "invalid_json"


async def test_once_the_server_has_cut_its_runs_no_other_begins():
    llm = ScriptedLLM("ok")
    app = create_app({"one": llm})
    app.state.runs.cut()
    answer = await post(app, json.dumps(BODY).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_ending")
    assert not llm.asked


NOTHING: list[dict[str, Any]] = [
    {"top_logprobs": None},
    {"functions": None, "function_call": None},
    {"audio": None, "prediction": None, "web_search_options": None, "moderation": None},
    {"modalities": ["text"]},
    {"modalities": None},
    {"prompt_cache_options": {}},
    {"n": 1.0, "logprobs": None},
    {"mixture": None, "stream_options": None},
    {"max_tokens": 16.0, "seed": 7.0},
]


@pytest.mark.parametrize("fields", NOTHING, ids=str)
async def test_fields_that_ask_for_nothing_are_accepted(fields):
    llm = ScriptedLLM("ok")
    answer = await post(create_app({"one": llm}), json.dumps({**BODY, **fields}).encode())
    assert answer.status_code == 200, answer.text
    expected = {"max_tokens": 16, "seed": 7} if "seed" in fields else {}
    assert llm.asked[0].kwargs == expected


@pytest.mark.parametrize("stop", ["", [], [""], None])
async def test_stop_words_without_text_stop_nothing(stop):
    llm = ScriptedLLM("ok")
    for body in (BODY | {"stop": stop}, BODY | {"stop": ["", "END"]}):
        answer = await post(create_app({"one": llm}), json.dumps(body).encode())
        assert answer.status_code == 200, answer.text
    assert [asked.kwargs.get("stop") for asked in llm.asked] == [None, ["END"]]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "n: only 1 is supported"),
        ({"n": 0}, "n: only 1 is supported"),
        ({"logprobs": True}, "logprobs: log probabilities are not supported"),
        ({"modalities": ["text", "audio"]}, 'modalities: only ["text"] is supported'),
        ({"functions": []}, "functions"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"max_tokens": 16.5}, "max_tokens"),
        ({"max_tokens": 1e300}, "max_tokens"),
        ({"audio": {}}, "audio: is not supported"),
        ({"mixture": {"strange": 1}}, "mixture.strange"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type: only 'function' is supported"),
        (
            {"messages": [{"role": "wizard", "content": "?"}]},
            "messages[0]: 'wizard' is not supported, only 'system', ",
        ),
        (
            {"messages": [{"role": "user", "content": []}]},
            "messages[0].content: must not be empty",
        ),
    ],
    ids=str,
)
async def test_fields_that_cannot_be_served_are_refused_by_name(fields, said):
    assert said in (await refusal({**BODY, **fields}))["message"]


async def test_names_and_refusals_in_the_history_reach_the_llm():
    llm = ScriptedLLM("ok")
    history = [
        {"role": "system", "content": "Be brief.", "name": "house"},
        {"role": "user", "content": "Why?", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": "I will not.", "name": "bot"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Nor now."}]},
        {"role": "user", "content": "Please?", "name": None},
    ]
    body = json.dumps({**BODY, "messages": history}).encode()
    assert (await post(create_app({"one": llm}), body)).status_code == 200
    messages = llm.asked[0].messages
    assert [m.content for m in messages] == [
        "Be brief.", "Why?", "I will not.", "Nor now.", "Please?",
    ]  # fmt: skip
    assert [m.additional_kwargs.get("name") for m in messages] == [
        "house",
        "ann",
        "bot",
        None,
        None,
    ]


async def test_unknown_fields_are_ignored_and_named_in_a_header():
    llm = ScriptedLLM("ok")
    app = create_app({"one": llm})
    for stream in (False, True):
        body = {**BODY, "top_k": 5, "min_p": None, "stream": stream}
        answer = await post(app, json.dumps(body).encode())
        assert answer.status_code == 200
        assert answer.headers["x-ignored-fields"] == "top_k, min_p"
    assert [asked.kwargs for asked in llm.asked] == [{}, {}]
    assert "x-ignored-fields" not in (await post(app, json.dumps(BODY).encode())).headers


@pytest.mark.parametrize(
    "change",
    [{"model": "nobody"}, {"mixture": {"recipe": "moa"}}, {"model": "broken"}],
    ids=["no such model", "no such mixture", "a run that fails"],
)
async def test_an_error_names_the_ignored_fields_too(change):
    async def fail(_):
        raise ValueError("no")

    app = create_app({"one": ScriptedLLM("hi"), "broken": ScriptedLLM(fail)})
    body = {**BODY, "speed": 2, **change}
    answer = await post(app, json.dumps(body).encode())
    assert answer.status_code >= 400
    assert answer.headers["x-ignored-fields"] == "speed"


async def test_whatever_a_field_is_called_the_header_stays_short_and_harmless():
    strange = {"a\r\nSet-Cookie: x": 1, "schl\xfcssel": 1, "x" * 1000: 1}
    strange |= {f"strange{number}": 1 for number in range(1000)}
    answer = await post(
        create_app({"one": ScriptedLLM("ok")}), json.dumps({**BODY, **strange}).encode()
    )
    assert answer.status_code == 200
    named = answer.headers["x-ignored-fields"]
    assert named.startswith("a\\r\\nSet-Cookie: x, schl\\xfcssel, xxx")
    assert len(named) < 2000
    assert "set-cookie" not in answer.headers


async def test_an_ignored_field_is_logged_once_a_minute(caplog):
    app = create_app({"one": ScriptedLLM("ok")})
    for _ in range(3):
        await post(app, json.dumps({**BODY, "top_k": 5}).encode())
    assert [one.getMessage() for one in caplog.records if "top_k" in one.getMessage()] == [
        "ignored the unknown field 'top_k' of a request"
    ]


def test_a_field_is_logged_again_after_a_minute_and_memory_stays_bounded():
    told = IgnoredFields()
    assert told.log(["top_k", "min_p"], now=0.0) == ["top_k", "min_p"]
    assert told.log(["top_k"], now=59.0) == []
    assert told.log(["top_k"], now=61.0) == ["top_k"]
    for number in range(10_000):
        told.log([f"strange{number}"], now=62.0)
    assert len(told) <= 1000


async def get(app, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        return await client.get(path)


async def test_the_server_is_ready_until_it_is_full_or_ends():
    go = asyncio.Event()

    async def wait(_):
        await go.wait()
        return "ok"

    app = create_app({"one": ScriptedLLM(wait)}, in_flight=1, keys=["a-key"])
    assert (await get(app, "/ready")).json() == {"status": "ready"}
    run = app.state.runs.begin(Model("one", ScriptedLLM(wait)), Question((), {}), stream=False)
    full = await get(app, "/ready")
    assert (full.status_code, full.json()["error"]["code"]) == (503, "busy")
    assert (await get(app, "/health")).status_code == 200
    go.set()
    await run.task
    assert (await get(app, "/ready")).status_code == 200
    app.state.runs.drain()
    ending = await get(app, "/ready")
    assert (ending.status_code, ending.json()["error"]["code"]) == (503, "server_ending")
    assert (await get(app, "/health")).status_code == 200
