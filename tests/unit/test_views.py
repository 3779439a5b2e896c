"""The conversation as proposers and aggregators see it."""

import copy
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import FunctionTool

from llama_index.packs.mixture_of_agents._messages.views import (
    Audience,
    described,
    for_aggregator,
    for_proposers,
)
from llama_index.packs.mixture_of_agents._providers.structured import TOOLS_PROMPT, Tools

IMAGE = ImageBlock(url="https://example.org/cat.png")


def said(role: str, text: str | None = None, *blocks: Any, **told: Any) -> ChatMessage:
    texts = [TextBlock(text=text)] if text else []
    return ChatMessage(role=MessageRole(role), blocks=[*texts, *blocks], additional_kwargs=told)


def called(name: str, call_id: str = "call_1", **arguments: Any) -> ToolCallBlock:
    return ToolCallBlock(tool_name=name, tool_call_id=call_id, tool_kwargs=arguments)


def roles(messages: list[ChatMessage]) -> str:
    return " ".join(message.role.value for message in messages)


IN_AN_AGENTS_LOOP = [
    said("system", "Be brief."),
    said("user", "How warm is it in Paris?"),
    said("assistant", "I look.", called("weather", city="Paris"), called("time", "call_2")),
    said("tool", "18 degrees", tool_call_id="call_1"),
    said("tool", "noon", tool_call_id="call_2"),
]


def test_a_plain_conversation_is_passed_on_as_it_is():
    messages = [said("system", "s"), said("user", "u"), said("assistant", "a"), said("user", "u")]
    assert all(a is b for a, b in zip(for_proposers(messages), messages, strict=True))


def test_tool_calls_and_results_become_text_of_the_user_and_name_their_tools():
    view = for_proposers(IN_AN_AGENTS_LOOP)
    assert roles(view) == "system user assistant user"
    assert view[2].content == "I look."
    assert view[3].content == (
        '(The assistant called its tool weather with {"city": "Paris"}.)\n'
        "(The assistant called its tool time with {}.)\n\n"
        "(The assistant's tool weather returned:)\n\n18 degrees\n\n"
        "(The assistant's tool time returned:)\n\nnoon"
    )


def test_tool_calls_that_are_kept_outside_of_blocks_become_text_too():
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [said("user", "1?"), said("assistant", None, tool_calls=[call])]
    view = for_proposers([*messages, said("tool", "2", tool_call_id="c")])
    assert roles(view) == "user"
    assert '(The assistant called its tool add with {"a": 1}.)' in (view[0].content or "")
    assert "(The assistant's tool add returned:)\n\n2" in (view[0].content or "")


def test_a_result_of_an_unknown_call_is_told_by_the_name_that_comes_with_it():
    view = for_proposers([said("user", "u"), said("function", "8", name="add"), said("tool", "9")])
    assert "(The assistant's tool add returned:)\n\n8" in (view[0].content or "")
    assert "(The assistant's tool returned:)\n\n9" in (view[0].content or "")


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("user user", "user"),
        ("user assistant", "user assistant user"),
        ("assistant user", "user assistant user"),
        ("user assistant assistant user", "user assistant user"),
        ("user system user", "system user"),
        ("developer user", "system user"),
        ("system system user", "system user"),
        ("user chatbot user model", "user assistant user assistant user"),
        ("system", "system user"),
        ("tool", "user"),
    ],
)
def test_roles_are_put_in_an_order_that_strict_providers_accept(given, seen):
    view = for_proposers([said(role, f"{role}'s words") for role in given.split()])
    assert roles(view) == seen
    for role in given.split():
        assert any(f"{role}'s words" in (message.content or "") for message in view)


def test_images_go_to_those_that_take_them_and_the_others_get_a_word_for_them():
    messages = [said("user", "What is this?", IMAGE)]
    assert for_proposers(messages, frozenset({"image"}))[0].blocks[1] == IMAGE
    (seen,) = for_proposers(messages)
    assert seen.content == "What is this?\n\n[an image that is not shown to you]"


def test_citations_become_what_they_cite():
    cited = CitationBlock(
        cited_content=TextBlock(text="cited"), source="s", title="t", additional_location_info={}
    )
    citable = CitableBlock(title="Report", source="s", content=[TextBlock(text="whole"), IMAGE])
    (seen,) = for_proposers([said("user", "Read.", citable, cited)])
    image = "[an image that is not shown to you]"
    assert seen.content == f"Read.\n\nReport:\n\nwhole\n\n{image}\n\ncited"


def test_proposers_never_see_thinking_of_earlier_turns():
    thought = said("assistant", "Yes.", ThinkingBlock(content="hmm"))
    view = for_proposers([said("user", "?"), thought, said("user", "Sure?")])
    assert [message.content for message in view] == ["?", "Yes.", "Sure?"]
    assert "thinking" not in {block.block_type for message in view for block in message.blocks}


def test_proposers_are_told_the_tools_and_the_users_own_system_prompt_comes_first():
    def weather(city: str, days: int = 1) -> str:
        """Tell the weather."""
        return ""

    tools = Tools([FunctionTool.from_defaults(weather)])
    audience = Audience(IN_AN_AGENTS_LOOP, TOOLS_PROMPT, tools.specs)
    system = audience.view()[0].content or ""
    assert system.startswith(
        f"Be brief.\n\n{TOOLS_PROMPT}\n- weather(city: string, days?: integer)"
    )
    assert "Tell the weather." in system
    assert audience.view() is audience.view()


def test_specs_of_every_provider_are_described_in_a_line():
    claude = {"name": "f", "description": "d", "input_schema": {"properties": {"x": {}}}}
    assert described(claude) == "f(x?: any): d"
    film = {
        "name": "Film",
        "parameters": {
            "$defs": {
                "Actor": {"type": "object", "properties": {"friends": {"$ref": "#/$defs/Actors"}}},
                "Actors": {"type": "array", "items": {"$ref": "#/$defs/Actor"}},
            },
            "properties": {
                "cast": {"$ref": "#/$defs/Actors"},
                "genre": {"enum": ["drama", "war"]},
                "year": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "required": ["cast"],
        },
    }
    assert described({"type": "function", "function": film}) == (
        "Film(cast: list of {friends?: list of {friends?: Actors}}, "
        'genre?: "drama" or "war", year?: integer or null)'
    )
    assert described(object()) == "a tool()"


def test_the_aggregator_sees_the_conversation_as_it_is():
    seen = for_aggregator(IN_AN_AGENTS_LOOP)
    assert all(a is b for a, b in zip(seen, IN_AN_AGENTS_LOOP, strict=True))


@pytest.mark.parametrize(
    ("given", "seen"),
    [("developer", "system"), ("chatbot", "assistant"), ("model", "assistant"), ("tool", "tool")],
)
def test_the_aggregator_sees_the_names_of_roles_that_every_provider_knows(given, seen):
    messages = [said(given, "Be brief.", name="n"), said("user", "Why?")]
    view = for_aggregator(messages)
    assert roles(view) == f"{seen} user"
    assert (view[0].content, view[0].additional_kwargs) == ("Be brief.", {"name": "n"})
    assert messages[0].role.value == given, "the caller's message is not changed"


def test_the_aggregators_thinking_is_kept_in_its_loop_of_tools_and_dropped_from_earlier_turns():
    thought = said("assistant", None, ThinkingBlock(content="hmm"), called("f"))
    result = said("tool", "1", tool_call_id="call_1")
    messages = [said("user", "a"), thought, result, said("user", "b"), thought, result]
    kinds = [[block.block_type for block in m.blocks] for m in for_aggregator(messages)]
    assert kinds[1] == ["tool_call"]
    assert kinds[4] == ["thinking", "tool_call"]
    assert for_aggregator(messages, fallback=True)[4].blocks == [called("f")]


def test_portable_tool_calls_have_ids_that_every_provider_accepts_and_still_match():
    before = copy.deepcopy(IN_AN_AGENTS_LOOP)
    call = said("assistant", None, called("f", "callABC12"), tool_calls=[object()])
    seen = for_aggregator([*IN_AN_AGENTS_LOOP, call], portable=True)
    ids = [b.tool_call_id for b in seen[2].blocks if isinstance(b, ToolCallBlock)]
    assert ids == [
        seen[3].additional_kwargs["tool_call_id"],
        seen[4].additional_kwargs["tool_call_id"],
    ]
    assert all(len(i or "") == 9 and (i or "").isalnum() for i in ids)
    assert seen[5].blocks == [called("f", "callABC12")]
    assert seen[5].additional_kwargs == {}
    assert before == IN_AN_AGENTS_LOOP
