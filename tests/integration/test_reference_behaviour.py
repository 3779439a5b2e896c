"""The default is the paper's reference behaviour, byte for byte (github.com/togethercomputer/MoA, utils.py)."""

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents.presets import moa_lite

TABLE_1 = (
    "You have been provided with a set of responses from various open-source models to the latest user query. Your "
    "task is to synthesize these responses into a single, high-quality response. It is crucial to critically evaluate "
    "the information provided in these responses, recognizing that some of it may be biased or incorrect. Your "
    "response should not simply replicate the given answers but should offer a refined, accurate, and comprehensive "
    "reply to the instruction. Ensure your response is well-structured, coherent, and adheres to the highest "
    "standards of accuracy and reliability.\n\nResponses from models:"
)
REFERENCES = "\n1. First line.\nSecond line.\n2. {braces} and 50% of 1. lists"
HISTORY = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi! "},
    {"role": "user", "content": "  What is {six} times seven? "},
]


@pytest.fixture
def ask(providers):
    """Ask two proposers and an aggregator; gives what the aggregator was sent."""
    members = [providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1-nano")]
    providers.configure("gpt-4.1-mini", reply="First line.\nSecond line.")
    providers.configure("gpt-4.1-nano", reply="{braces} and 50% of 1. lists")

    def ask(messages: list[dict[str, str]], **policies: Any) -> list[dict[str, str]]:
        mixture = MixtureOfAgents(moa_lite(members, providers.openai("gpt-4.1"), **policies))
        mixture.chat([ChatMessage(role=m["role"], content=m["content"]) for m in messages])
        for name in ("gpt-4.1-mini", "gpt-4.1-nano"):
            assert providers.log(name)[-1].body["messages"] == messages
        return providers.log("gpt-4.1")[-1].body["messages"]

    return ask


def test_the_prompt_is_the_papers():
    assert AGGREGATE_AND_SYNTHESIZE == TABLE_1


def test_without_a_system_message_the_references_are_put_before_as_one(ask):
    assert ask(HISTORY) == [{"role": "system", "content": TABLE_1 + REFERENCES}, *HISTORY]


def test_to_a_system_message_the_references_are_appended_after_a_blank_line(ask):
    asked = [{"role": "system", "content": "Be brief."}, *HISTORY]
    assert ask(asked) == [
        {"role": "system", "content": "Be brief.\n\n" + TABLE_1 + REFERENCES},
        *HISTORY,
    ]


def test_behind_the_last_user_message_the_references_leave_what_a_provider_has_cached(ask):
    asked = [{"role": "system", "content": "Be brief."}, *HISTORY]
    sent = ask(asked, placement="user")
    assert sent[:-1] == asked[:-1]
    assert sent[-1] == {
        "role": "user",
        "content": HISTORY[-1]["content"] + "\n\n" + TABLE_1 + REFERENCES,
    }


def test_the_papers_sampling_is_sent_with_every_call(ask, providers):
    ask(HISTORY)
    for record in providers.log():
        assert (record.body["temperature"], record.body["max_tokens"]) == (0.7, 2048)
        assert set(record.body) <= {"model", "messages", "temperature", "max_tokens", "stream"}
