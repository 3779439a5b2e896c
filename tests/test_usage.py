"""Tokens, requests and times of a result against what the providers' log says."""

from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.usage import read_usage


def shape(raw: Any, **additional: Any) -> ChatResponse:
    message = ChatMessage(role="assistant", content="x")
    return ChatResponse(message=message, raw=raw, additional_kwargs=additional)


RESPONSES_USAGE = {
    "input_tokens": 60,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # OpenAI-like servers that send no more than the counts
        ({"usage": {"prompt_tokens": 60, "completion_tokens": 7}}, Usage(60, 7)),
        # Anthropic: cached input is counted beside the rest
        (
            {"usage": {"input_tokens": 10, "cache_read_input_tokens": 20,
                       "cache_creation_input_tokens": 30, "output_tokens": 7}},
            Usage(60, 7, cached_tokens=20, cache_write_tokens=30),
        ),
        # Anthropic's first event of a stream
        ({"message": SimpleNamespace(usage=SimpleNamespace(input_tokens=60, output_tokens=1))}, Usage(60, 1)),
        # OpenAI's Responses, whole and streamed
        (SimpleNamespace(usage=RESPONSES_USAGE), Usage(60, 7, 5, 20)),
        (SimpleNamespace(response=SimpleNamespace(usage=RESPONSES_USAGE)), Usage(60, 7, 5, 20)),
        # Google: thoughts are counted beside the answer
        (
            {"usage_metadata": {"prompt_token_count": 60, "candidates_token_count": 7,
                                "thoughts_token_count": 5, "cached_content_token_count": None}},
            Usage(60, 12, 5),
        ),
        # Ollama: a prompt that it has in its cache is left out
        ({"eval_count": 7}, Usage(0, 7)),
        ({"prompt_eval_count": 60, "eval_count": 7}, Usage(60, 7)),
        # Groq's streams
        (SimpleNamespace(usage=None, x_groq={"usage": {"prompt_tokens": 60, "completion_tokens": 7}}), Usage(60, 7)),
        # nothing at all, and MistralAI's defaults where the server sent nothing
        (None, None),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, None),
        (SimpleNamespace(choices=[]), None),
    ],
)  # fmt: skip
def test_every_providers_shape_is_read(raw: Any, expected: Usage | None):
    assert read_usage(shape(raw)) == expected


def test_counts_that_an_integration_puts_beside_the_response_are_read():
    assert read_usage(shape({}, prompt_tokens=60, completion_tokens=7)) == Usage(60, 7)
