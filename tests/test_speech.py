"""What of a streamed answer is said aloud."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_index.packs.mixture_of_agents._providers.streams import Speech


def aloud(pieces: list[str]) -> list[str]:
    speech = Speech()
    return [*(speech.hear(piece) for piece in pieces), speech.rest()]


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_thinking_in_tags_at_the_beginning_is_not_said_however_the_text_is_cut(text, said):
    for size in range(1, len(text) + 2):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        assert "".join(aloud(pieces)) == said


def test_words_are_passed_on_one_by_one_once_it_is_clear_that_they_are_no_tag():
    assert aloud(["", "<", "b> bold", " text"]) == ["", "", "<b> bold", " text", ""]


def test_thinking_in_chunks_of_its_own_is_kept_in_tags_and_not_said():
    speech = Speech()
    thinking = SimpleNamespace(type="thinking")
    heard = [speech.hear("h", thinking), speech.hear("m", thinking), speech.hear("Yes.")]
    assert heard == ["", "", "Yes."]
    assert speech.whole == "<think>hm</think>Yes."


@given(st.lists(st.text("<think/>g ab", max_size=4), max_size=20))
def test_nothing_is_lost_and_nothing_is_made_up(pieces):
    speech = Speech()
    said = "".join([*map(speech.hear, pieces), speech.rest()])
    assert speech.whole == "".join(pieces)
    assert speech.whole.endswith(said)
