"""What the simulated models say: knowledge, composition, tools, structure, limits, usage."""

import json
from datetime import date
from typing import Any, Literal

import aiohttp
import openai
import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field
from wire import CHAT, MISTRAL_CHAT, request_body

from llama_index.packs.mixture_of_agents.simulation import (
    Reply,
    SimulatedProviders,
    ToolCall,
    call_tools,
)
from llama_index.packs.mixture_of_agents.simulation.knowledge import (
    composition,
    look_up,
    proposal,
    split_sentences,
)
from llama_index.packs.mixture_of_agents.simulation.schema import example


def with_references(*references: str, role: str = "system") -> list[dict[str, str]]:
    numbered = "".join(f"\n{i}. {text}" for i, text in enumerate(references, 1))
    prompt = f"You have been provided with a set of responses.\n\nResponses from models:{numbered}"
    if role == "system":
        return [{"role": "system", "content": prompt}, {"role": "user", "content": "So?"}]
    return [{"role": "user", "content": f"So?\n\n{prompt}"}]


@pytest.mark.parametrize("role", ["system", "user"])
def test_an_aggregator_composes_its_answer_from_the_references_in_its_prompt(
    sdk: openai.OpenAI, role: str
) -> None:
    references = (
        "Rome is the capital of Italy. The Tiber flows through it.",
        "Rome is not the capital of Italy.\nIt has\n1. seven hills\n2. many fountains.",
        "Rome is the capital of Italy.",
    )
    messages: Any = with_references(*references, role=role)
    answer = sdk.chat.completions.create(model="m", messages=messages).choices[0].message.content
    assert answer is not None
    assert answer.startswith("Rome is the capital of Italy. The Tiber flows through it.")
    assert "Rome is not" not in answer
    assert "seven hills" in answer
    assert "[simulated m: 3 references received;" in answer


def test_an_aggregator_leaves_out_what_its_references_dispute(sdk: openai.OpenAI) -> None:
    messages: Any = with_references(
        "Rome is the capital of Italy. Yes.", "Rome is not the capital of Italy. Yes."
    )
    answer = sdk.chat.completions.create(model="m", messages=messages).choices[0].message.content
    assert answer == (
        "Yes.\n\n[simulated m: 2 references received; "
        "1 statement in several, 0 in one, 1 disputed and left out]"
    )


def test_an_aggregator_without_references_says_so(sdk: openai.OpenAI) -> None:
    messages: Any = with_references()
    answer = sdk.chat.completions.create(model="m", messages=messages).choices[0].message.content
    assert answer == "I received no references.\n\n[simulated m: 0 references received]"


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("What is LlamaIndex?", "a fact sheet about LlamaIndex"),
        ("What is a lambda?", "Python's help topic 'lambda'"),
        ("How do exceptions work?", "Python's help topic 'exceptions'"),
        ("What are context managers?", "Python's help topic 'context-managers'"),
    ],
)
def test_proposers_answer_from_overlapping_parts_of_a_text_and_are_wrong_in_places(
    question: str, source: str
) -> None:
    found, sentences = look_up(question)
    assert found == source
    models = [f"model-{number}" for number in range(12)]
    said = {model: split_sentences(proposal(model, question)) for model in models}
    right = {model: [s for s in said[model] if s in sentences] for model in models}
    assert all(said.values())
    assert any(len(right[model]) < len(said[model]) for model in models)
    assert len({tuple(one) for one in said.values()}) > 1
    majority = split_sentences(composition("aggregator", [proposal(m, question) for m in models]))
    assert set(majority) <= set(sentences)
    assert majority


def test_a_question_that_no_text_is_about_gets_an_honest_answer(sdk: openai.OpenAI) -> None:
    answer = (
        sdk.chat.completions.create(**request_body("Why is the sky blue?"))
        .choices[0]
        .message.content
    )
    assert answer == "I know nothing about that.\n\n[simulated m: no text of its own fits]"


def test_a_question_about_given_documents_is_answered_from_them_alone(
    providers: SimulatedProviders,
) -> None:
    documents = [
        Document(text="The harbour museum is closed on Mondays. Children pay nothing."),
        Document(text="The ferry sails every hour."),
    ]
    engine = SummaryIndex.from_documents(documents).as_query_engine(llm=providers.openai("gpt-4.1"))
    answer = str(engine.query("When is the museum closed?"))
    assert answer == (
        "The harbour museum is closed on Mondays.\n\n[simulated gpt-4.1: from the documents in the prompt]"
    )
    assert str(engine.query("Who wrote Faust?")).startswith("The documents do not say.")


def test_what_a_model_says_does_not_depend_on_time_or_process(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    question = "What is LlamaIndex?"
    first = sdk.chat.completions.create(**request_body(question)).choices[0].message.content
    assert first == proposal("m", question)
    providers.reset()
    assert sdk.chat.completions.create(**request_body(question)).choices[0].message.content == first


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city"],
        },
    },
}
TWO_CALLS = call_tools(
    ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})
)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_parallel_tool_calls_arrive_through_the_llama_index_classes(
    providers: SimulatedProviders, provider: str, stream: bool
) -> None:
    llm = providers.openai() if provider == "openai" else providers.mistral()
    providers.configure("*", reply=[TWO_CALLS, "sunny in both"])
    tools = [FunctionTool.from_defaults(weather)]
    asked = [ChatMessage("Paris or Rome?")]
    if stream:
        *_, answer = llm.stream_chat_with_tools(
            tools, chat_history=asked, allow_parallel_tool_calls=True
        )
    else:
        answer = llm.chat_with_tools(tools, chat_history=asked, allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(answer)
    assert [(c.tool_name, c.tool_kwargs) for c in calls] == [
        ("weather", {"city": "Paris"}),
        ("weather", {"city": "Rome"}),
    ]
    assert len({call.tool_id for call in calls}) == 2
    results = [
        ChatMessage(
            weather(**call.tool_kwargs),
            role="tool",
            additional_kwargs={"tool_call_id": call.tool_id, "name": call.tool_name},
        )
        for call in calls
    ]
    history = [ChatMessage("Paris or Rome?", role="user"), answer.message, *results]
    assert llm.chat_with_tools(tools, chat_history=history).message.content == "sunny in both"
    assert [record.status for record in providers.log()] == [200, 200]


def test_a_required_tool_is_called_with_arguments_that_fit_its_schema(sdk: openai.OpenAI) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = sdk.chat.completions.create(**request_body(tools=[WEATHER], tool_choice=choice))
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "simulated city", "days": 2}
        assert answer.choices[0].finish_reason == "tool_calls"
    free = sdk.chat.completions.create(**request_body(tools=[WEATHER], tool_choice="auto"))
    assert not free.choices[0].message.tool_calls


def test_a_model_that_calls_tools_does_so_until_it_has_a_result(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", calls_tools=True)
    asked = request_body("What is LlamaIndex?", tools=[WEATHER])
    message = sdk.chat.completions.create(**asked).choices[0].message
    (call,) = message.tool_calls or []
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    asked["messages"] += [message.model_dump(exclude_none=True), result]
    assert not sdk.chat.completions.create(**asked).choices[0].message.tool_calls
    none = sdk.chat.completions.create(**request_body(tools=[WEATHER], tool_choice="none"))
    assert not none.choices[0].message.tool_calls


class Address(BaseModel):
    street: str = Field(min_length=20)
    number: int = Field(ge=7)
    kind: Literal["home", "work"]


class Person(BaseModel):
    name: str = Field(max_length=12)
    addresses: list[Address] = Field(min_length=2)
    born: date | None
    share: float = Field(gt=0, lt=0.5)
    friends: list["Person"]
    tags: dict[str, str] = {}


class Street(BaseModel):
    name: str
    addresses: list[Address] = Field(min_length=2)


def test_a_json_schema_is_filled_the_same_way_each_time(sdk: openai.OpenAI) -> None:
    wanted: Any = {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": Person.model_json_schema()},
    }
    texts = {
        sdk.chat.completions.create(**request_body(response_format=wanted))
        .choices[0]
        .message.content
        for _ in range(2)
    }
    (text,) = texts
    person = Person.model_validate_json(text or "")
    assert [address.kind for address in person.addresses] == ["home", "home"]
    assert person.born is not None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 4}, 4),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"anyOf": [{"type": "null"}, {"enum": ["x", "y"]}]}, "x"),
        ({"oneOf": [{"type": "number", "maximum": -2}]}, -2),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "number", "exclusiveMaximum": 0}, -1),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, True]),
        ({"type": "array"}, ["simulated value"]),
        ({"type": "string", "format": "date"}, "2024-06-07"),
        (
            {"properties": {"a": {"allOf": [{"$ref": "#/$defs/A"}]}}, "$defs": {"A": {}}},
            {"a": "simulated a"},
        ),
    ],
)
def test_each_kind_of_schema_has_its_example(schema: dict[str, Any], value: Any) -> None:
    assert example(schema) == value


def test_an_example_of_a_schema_without_end_ends() -> None:
    tree = {
        "type": "object",
        "properties": {
            "left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "twigs": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["left", "twigs"],
    }
    assert example(tree) == {"left": None, "twigs": []}


def test_llama_index_structured_output_fills_a_nested_class(providers: SimulatedProviders) -> None:
    # LlamaIndex's MistralAI offers the class as a tool, but does not demand that it is called.
    providers.configure("*", calls_tools=True)
    for llm in (providers.openai(), providers.mistral()):
        filled = llm.as_structured_llm(Street).complete("Where?").raw
        assert isinstance(filled, Street)
        assert len(filled.addresses) == 2


async def test_a_json_object_is_one_and_needs_the_word_json_in_the_prompt(
    http: aiohttp.ClientSession,
) -> None:
    wanted = {"type": "json_object"}
    async with http.post(
        CHAT, json=request_body("As JSON, please.", response_format=wanted)
    ) as response:
        answer = await response.json()
        assert json.loads(answer["choices"][0]["message"]["content"])
    async with http.post(CHAT, json=request_body("Please.", response_format=wanted)) as response:
        assert response.status == 400
        assert "must contain the word 'json'" in (await response.json())["error"]["message"]


def test_max_tokens_and_stop_cut_the_text(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply="one two  three four")
    cut = sdk.chat.completions.create(**request_body(max_tokens=3)).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("one two  three", "length")
    cut = sdk.chat.completions.create(**request_body(stop=["four", " three"])).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("one two ", "stop")


def test_n_asks_for_several_choices_and_scripted_replies_go_to_them_in_turn(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure("m", reply=["a", "b", "c"])
    choices = sdk.chat.completions.create(**request_body(n=3)).choices
    assert [(c.index, c.message.content) for c in choices] == [(0, "a"), (1, "b"), (2, "c")]
    providers.configure("m", reply=["a", "b", "c"])
    streamed = ["", "", ""]
    for chunk in sdk.chat.completions.create(**request_body(n=3, stream=True)):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == ["a", "b", "c"]


def test_usage_can_be_told_in_every_part_or_kept_back(
    providers: SimulatedProviders, sdk: openai.OpenAI
) -> None:
    providers.configure(
        "m", input_tokens=1000, output_tokens=200, reasoning_tokens=150, cached_tokens=800
    )
    usage = sdk.chat.completions.create(**request_body()).usage
    assert usage is not None
    assert usage.total_tokens == 1200
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 150
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 800
    record = providers.log()[-1]
    assert (record.input_tokens, record.output_tokens) == (1000, 200)
    assert (record.reasoning_tokens, record.cached_tokens) == (150, 800)
    providers.configure("m", reports_usage=False)
    assert sdk.chat.completions.create(**request_body()).usage is None


async def test_thinking_comes_in_each_providers_own_form(
    providers: SimulatedProviders, http: aiohttp.ClientSession
) -> None:
    providers.configure("m", reply=Reply("Four.", thinking="Two and two."))
    async with http.post(CHAT, json=request_body()) as response:
        message = (await response.json())["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("Two and two.", "Four.")
    async with http.post(MISTRAL_CHAT, json=request_body()) as response:
        thought, said = (await response.json())["choices"][0]["message"]["content"]
        assert thought["thinking"] == [{"type": "text", "text": "Two and two."}]
        assert said == {"type": "text", "text": "Four."}
    providers.configure("magistral-medium-latest", reply=Reply("Four.", thinking="Two and two."))
    answer = providers.mistral("magistral-medium-latest").chat([ChatMessage("2+2?")])
    assert [block.block_type for block in answer.message.blocks] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("reply", "content", "reason"),
    [
        (Reply(None), None, "stop"),
        (Reply("  \n"), "  \n", "stop"),
        (Reply(""), "", "stop"),
        (Reply("", finish_reason="content_filter"), "", "content_filter"),
        (Reply("<think>hm</think> 42"), "<think>hm</think> 42", "stop"),
    ],
)
def test_strange_answers_arrive_as_they_are(
    providers: SimulatedProviders, sdk: openai.OpenAI, reply: Reply, content: Any, reason: str
) -> None:
    providers.configure("m", reply=reply)
    choice = sdk.chat.completions.create(**request_body()).choices[0]
    assert (choice.message.content, choice.finish_reason) == (content, reason)
    streamed = list(sdk.chat.completions.create(**request_body(stream=True)))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert (text, streamed[-1].choices[0].finish_reason) == (content or "", reason)
