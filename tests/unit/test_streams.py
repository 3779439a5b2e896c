"""The part of a streamed answer that its reader sees."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_index.packs.mixture_of_agents._providers.characters import mended, mended_response
from llama_index.packs.mixture_of_agents._providers.thinking import ThinkingFilter, split_thinking


def aloud(pieces: list[str]) -> list[str]:
    text = ThinkingFilter()
    return [*(text.feed(piece) for piece in pieces), text.rest()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plain words.", "Plain words."),
        ("<think>hm</think>\n\nYes.", "Yes."),
        ("\n<thinking>hm</thinking>Yes.", "Yes."),
        ("<think>a</think><think>b</think>Yes.", "Yes."),
        ("<think>hm", ""),
        ("<thin", "<thin"),
        ("<", "<"),
        ("<thinner> is no tag", "<thinner> is no tag"),
        ("  indented", "  indented"),
        ("Use <think>tags</think> like so.", "Use <think>tags</think> like so."),
        ("", ""),
    ],
)
def test_thinking_in_tags_at_the_beginning_is_not_shown_however_the_text_is_cut(text, shown):
    for size in range(1, len(text) + 2):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        assert "".join(aloud(pieces)) == shown


def test_words_are_passed_on_one_by_one_once_it_is_clear_that_they_are_no_tag():
    assert aloud(["", "<", "b> bold", " text"]) == ["", "", "<b> bold", " text", ""]


def test_thinking_in_chunks_of_its_own_is_no_text():
    text = ThinkingFilter()
    thinking = SimpleNamespace(type="thinking")
    shown = [text.feed("h", thinking), text.feed("m", thinking), text.feed("Yes.")]
    assert shown == ["", "", "Yes."]
    assert text.whole == "Yes."


@given(st.lists(st.text("<think/>g ab", max_size=4), max_size=20))
def test_nothing_is_lost_and_nothing_is_made_up(pieces):
    text = ThinkingFilter()
    shown = "".join([*map(text.feed, pieces), text.rest()])
    assert text.whole == "".join(pieces)
    assert text.whole.endswith(shown)


QUOTED = [
    "R1 thinks between `<think>` and `</think>`, then answers.",
    "The tag </think> ends it.",
    "Write `</think>` last.",
    "```\nhm\n</think>\n\n42\n```\nis what it sends.",
    "First <think>\nhm\n</think>\n\nthen the answer.",
    'The last is "</think>"\n\nNothing follows.',
]


@pytest.mark.parametrize("text", QUOTED)
def test_tags_that_an_answer_talks_about_take_nothing_away(text):
    assert split_thinking(text) == ("", text)
    assert "".join(aloud([text])) == text


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("I weigh it.\n</think>\n\nParis.", "I weigh it.", "Paris."),
        ("I weigh it.</think>\n\nParis.", "I weigh it.", "Paris."),
        ("I weigh it.</think>\n", "I weigh it.", ""),
        ("<think>Is it `</think>`? No.</think>Paris.", "Is it `</think>`? No.", "Paris."),
        ("<think>a</think>\n<thinking>b</thinking> \n Paris.\n", "ab", "Paris."),
        ("<think>hm</think>Write <think>x</think> so.", "hm", "Write <think>x</think> so."),
    ],
)
def test_thinking_is_what_stands_at_the_beginning_opened_or_only_closed(text, thinking, answer):
    assert split_thinking(text) == (thinking, answer)


@given(st.text("<think/>g `\n", max_size=30), st.integers(1, 8))
def test_a_stream_that_opens_its_thinking_says_what_the_whole_answer_says(text, size):
    text = "<think>" + text.replace("</think>", "</thinking>")
    shown = "".join(aloud([text[i : i + size] for i in range(0, len(text), size)]))
    assert shown.strip() == split_thinking(text)[1]


@given(st.lists(st.sampled_from(["<think>", "</think>", "`", "x", "\n", " ", "```"]), max_size=20))
def test_a_stream_is_cut_where_the_whole_answer_is(pieces):
    text = "<think>" + "".join(pieces)
    wanted = split_thinking(text)[1]
    assert "".join(aloud(list(text))).strip() == wanted
    assert "".join(aloud(["<think>", *pieces])).strip() == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "<think>",
        "</think>",
        "<think></think>",
        "<",
        "`</think>`",
        " ",
        "x</think>\n ",
        "```",
        "</think>\n" + " " * 50,
    ],
)
def test_a_megabyte_of_tags_is_read_in_linear_time(pattern):
    def seconds(size: int) -> float:
        text = "<think>" + (pattern * size)[:size]
        begun = time.process_time()
        split_thinking(text)
        split_thinking(text[7:])
        aloud([text])
        aloud([text[i : i + 40] for i in range(7, len(text), 40)])
        return time.process_time() - begun

    assert seconds(1_000_000) < 300 * seconds(10_000) + 0.5


@given(
    st.lists(st.sampled_from(["\ud83d", "\ude00", "a", "<", "<think>", "</think>"]), max_size=12)
)
def test_halves_of_characters_meet_or_are_replaced_however_the_text_is_cut(pieces):
    text = ThinkingFilter()
    shown = "".join([*map(text.feed, pieces), text.rest()])
    assert text.whole == mended("".join(pieces))
    assert shown == "".join(aloud([text.whole]))
    shown.encode()


def test_half_a_character_becomes_one_replacement_character():
    assert mended("Great \ud83d news, \ude00!") == "Great \ufffd news, \ufffd!"
    assert mended("\ud83d\ude00 \ufeff") == "\U0001f600 \ufeff"
    assert aloud(["a\ud83d", "\ude00b", "\ud83d"]) == ["a", "\U0001f600b", "", "\ufffd"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"x": ["\ud83d"]}, {"x": ["\ufffd"]}),
        ('{"x": "\\ud83d"}', '{"x": "\\ufffd"}'),
        ('{"x": "\\ud83d\\ude00"}', '{"x": "\\ud83d\\ude00"}'),
        ('{"x": "\\ud83d', '{"x": "\\ud83d'),
    ],
    ids=["data", "JSON", "a whole character", "incomplete JSON"],
)
def test_arguments_of_tools_and_thinking_hold_whole_characters(arguments, wanted):
    blocks = [
        ToolCallBlock(tool_name="f", tool_kwargs=arguments),
        ThinkingBlock(content="\udc00"),
    ]
    message = ChatMessage(role="assistant", blocks=blocks)
    call, thought = mended_response(ChatResponse(message=message)).message.blocks
    assert isinstance(call, ToolCallBlock)
    assert isinstance(thought, ThinkingBlock)
    assert call.tool_kwargs == wanted
    assert thought.content == "\ufffd"
    assert blocks[1].content == "\udc00"  # pyright: ignore[reportAttributeAccessIssue]
    assert message.blocks == blocks


def test_a_response_of_whole_characters_is_handed_on_as_it_is():
    response = ChatResponse(message=ChatMessage(role="assistant", content="\U0001f600"))
    assert mended_response(response) is response
