"""References cut to the room there is: fairly, visibly, and never anything else."""

from typing import Any

import pytest
from asking import QUESTION, ask
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, ImageBlock
from members import a_story

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.fitting import MARK, cut, fit, level
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE, text_of
from llama_index.packs.mixture_of_agents._messages.tokens import (
    count_tokens,
    most_tokens,
    tokens_of,
)
from llama_index.packs.mixture_of_agents.presets import rank, self_moa_seq
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

WORDS = st.text(st.sampled_from("ab \n.!?\u3002\u00e9"), max_size=200)


def count_bytes(text: str) -> int:
    return len(text.encode())


def count_words(text: str) -> int:
    return len(text.split())


COUNTERS = st.sampled_from([len, count_bytes, count_words])


async def result_of(mixture: MixtureOfAgents, *messages: ChatMessage) -> MixtureResult:
    return await ask(mixture, asked=messages or QUESTION)


class Nameless(ScriptedLLM):
    """Its class does not know its model, and does not mind."""

    @property
    def metadata(self) -> Any:
        raise ValueError("Unknown model 'x'")

    def to_payload(self) -> dict[str, Any]:  # core would ask for the metadata here
        return {}


@given(st.lists(WORDS, max_size=6), st.integers(-5, 300), COUNTERS)
def test_fitted_texts_have_room_together_in_their_order_and_begin_as_they_did(
    texts, room, count
) -> None:
    fitted = fit(texts, room, count)
    assert len(fitted) == len(texts)
    if room >= 0:
        assert sum(map(count, fitted)) <= room
    for text, got in zip(texts, fitted, strict=True):
        assert got in {text, ""} or (got.endswith(MARK) and text.startswith(got[: -len(MARK)]))


@given(st.lists(WORDS, max_size=6), COUNTERS)
def test_what_has_room_is_left_alone(texts, count) -> None:
    assert fit(texts, sum(map(count, texts)), count) == tuple(texts)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.integers(0, 500))
def test_the_longest_are_cut_first_and_no_room_is_wasted(sizes, room) -> None:
    most = level(sizes, room)
    assert sum(min(size, most) for size in sizes) <= room or not room
    if sum(sizes) > room:
        one_more = sum(min(size, most + 1) for size in sizes)
        assert one_more > room, "a higher level would have had room too"
    else:
        assert most >= max(sizes)


@given(WORDS, st.integers(0, 200))
def test_a_cut_text_ends_at_a_word_before_its_mark(text, room) -> None:
    got = cut(text, room, len)
    if got:
        assert len(got) <= room
        assert got.endswith(MARK)
        assert got[: -len(MARK)] == got[: -len(MARK)].rstrip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is here. Three is here.", "One is here. Two is here."),
        ("One is here\nTwo is here\nThree is here too", "One is here\nTwo is here"),
        ("One is here: 2.71828 is a number that is not done", "One is here: 2.71828 is a number"),
        ("\u4e00\u4e8c\u4e09\u3002" * 12, "\u4e00\u4e8c\u4e09\u3002" * 8),
    ],
    ids=["sentences", "lines", "words", "sentences without spaces"],
)
def test_a_text_is_cut_at_the_end_of_a_sentence_or_a_line_or_else_of_a_word(text, expected) -> None:
    assert cut(text, 32 + len(MARK) + 1, len) == expected + MARK


def test_cutting_counts_tokens_a_few_times_only() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return count_tokens(text)

    fit([a_story(4000), a_story(2000), "short"], 1000, count)
    assert len(counted) < 12


@given(st.text(max_size=300))
def test_no_text_has_more_tokens_than_the_upper_bound(text) -> None:
    assert count_tokens(text) <= most_tokens([text])


def test_images_take_room_too() -> None:
    text = ChatMessage(role="user", content="What is this?")
    image = ImageBlock(image=b"\x89PNG\r\n\x1a\n")
    pictured = ChatMessage(role="user", blocks=[*text.blocks, image])
    assert tokens_of([pictured]) > tokens_of([text]) + 500


async def test_references_are_cut_for_a_small_window_and_the_users_messages_never() -> None:
    long_question = a_story(400) + " What of it?"
    proposers = [ScriptedLLM(a_story(3000), model="long"), ScriptedLLM("Short one.", model="short")]
    aggregator = ScriptedLLM("done", model="small", context_window=4096)
    mixture = MixtureOfAgents(moa(proposers, aggregator, layers=1, max_tokens=500))
    result = await result_of(
        mixture,
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content=long_question),
    )
    system, user = aggregator.asked[0].messages
    assert text_of(user) == long_question
    assert text_of(system).startswith(f"Be brief.\n\n{AGGREGATE_AND_SYNTHESIZE}\n1. Once upon")
    assert text_of(system).endswith(f"river.{MARK}\n2. Short one.")
    assert tokens_of([system, user]) <= 4096 - 500
    assert tokens_of([system, user]) > 2800, "what room there is is used"
    assert result.degraded == ("references were cut to fit the context window of small",)
    assert result.proposals[0].text == a_story(3000), "the record keeps all of it"


async def test_only_those_with_a_small_window_get_cut_references() -> None:
    large = ScriptedLLM(a_story(3000), model="large")
    small = ScriptedLLM("x", model="small", context_window=4096)
    mixture = MixtureOfAgents(moa([large, small], ScriptedLLM("done"), layers=2, max_tokens=500))
    result = await result_of(mixture)
    (of_large,) = [text_of(asked.messages[0]) for asked in large.asked[1:]]
    (of_small,) = [text_of(asked.messages[0]) for asked in small.asked[1:]]
    assert MARK not in of_large
    assert MARK in of_small
    assert result.degraded == ("references were cut to fit the context window of small",)


async def test_proposals_are_cut_for_a_judge_with_a_small_window_and_keep_their_numbers() -> None:
    proposers = [ScriptedLLM(a_story(3000), model="long"), ScriptedLLM("Short one.", model="short")]
    judge = ScriptedLLM('{"ranking": [2, 1]}', model="small", context_window=4096)
    result = await result_of(MixtureOfAgents(rank(proposers, judge, max_tokens=500)))
    assert result.answer == "Short one."
    (_, asked) = judge.asked[0].messages
    before, _, behind = text_of(asked).partition(MARK)
    assert before.startswith(f"# Conversation\n\n## user\n{QUESTION[0].content}")
    assert behind == "\n\n## Response 2\nShort one."
    assert 2500 < tokens_of(judge.asked[0].messages) <= 4096 - 500
    problem = "layer 1: proposals were cut to fit the context window of small"
    assert result.degraded == (problem,)


async def test_a_judge_without_any_room_still_gets_every_number() -> None:
    proposers = [ScriptedLLM(a_story(900), model="one"), ScriptedLLM(a_story(900), model="two")]
    judge = ScriptedLLM('{"ranking": [2]}', model="tiny", context_window=2000)
    question = ChatMessage(role="user", content=a_story(1500))
    result = await result_of(MixtureOfAgents(rank(proposers, judge)), question)
    nothing = MARK.strip()
    assert text_of(judge.asked[0].messages[1]).endswith(
        f"# Responses\n\n## Response 1\n{nothing}\n\n## Response 2\n{nothing}"
    )
    assert result.answered_by == "two"


async def test_a_synthesis_of_a_window_of_samples_is_cut_too() -> None:
    sampled = ScriptedLLM(a_story(900), model="sampled")
    writer = ScriptedLLM("done", model="small", context_window=4096)
    recipe = self_moa_seq(sampled, writer, samples=4, window=3, max_tokens=500)
    result = await result_of(MixtureOfAgents(recipe))
    first, last = (tokens_of(asked.messages) for asked in writer.asked)
    assert max(first, last) <= 4096 - 500
    assert result.degraded[0] == "layer 1: proposals were cut to fit the context window of small"


async def test_where_no_reference_has_room_the_question_is_asked_without_any() -> None:
    question = ChatMessage(role="user", content=a_story(1500))
    aggregator = ScriptedLLM("done", model="tiny", context_window=2000)
    mixture = MixtureOfAgents(moa([ScriptedLLM(a_story(900))], aggregator, layers=1))
    result = await result_of(mixture, question)
    assert [text_of(message) for message in aggregator.asked[0].messages] == [text_of(question)]
    assert result.degraded


async def test_an_unknown_window_cuts_nothing() -> None:
    aggregator = Nameless("done", model="x")  # pyright: ignore[reportCallIssue]
    mixture = MixtureOfAgents(moa([ScriptedLLM(a_story(9000))], aggregator, layers=1))
    result = await result_of(mixture)
    assert result.answer == "done"
    assert MARK not in text_of(aggregator.asked[0].messages[0])


async def test_a_window_that_only_llama_index_made_up_cuts_nothing() -> None:
    aggregator = ScriptedLLM("done", context_window=3900)
    mixture = MixtureOfAgents(moa([ScriptedLLM(a_story(9000))], aggregator, layers=1))
    await result_of(mixture)
    assert MARK not in text_of(aggregator.asked[0].messages[0])


async def test_an_agents_own_max_tokens_and_system_prompt_take_room() -> None:
    reference = ScriptedLLM(a_story(1500))
    roomy, tight = (ScriptedLLM("done", context_window=4096) for _ in range(2))
    one = Aggregator(roomy, max_tokens=100)
    other = Aggregator(tight, max_tokens=2000, system_prompt=a_story(300))
    for aggregator in (one, other):
        await result_of(MixtureOfAgents(moa([Proposer(reference)], aggregator, layers=1)))
    assert MARK not in text_of(roomy.asked[0].messages[0])
    assert MARK in text_of(tight.asked[0].messages[0])
    assert tokens_of(tight.asked[0].messages) <= 4096 - 2000
