"""Messages in OpenAI's format are read alike by the server and by a batch."""

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._messages.openai_format import message_of
from llama_index.packs.mixture_of_agents.server.chat_request import messages_of
from llama_index.packs.mixture_of_agents.server.chat_schema import ChatRequest

PIXEL = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "Go on."}], "name": "house"},
    {"role": "user", "content": "Why?", "name": "ann"},
    {"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}},
    ]},
    {"role": "assistant", "content": None, "refusal": "I will not.", "name": "bot"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "Nor now."}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "content": "I look.", "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "c1", "content": "a pixel"},
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_the_server_and_a_batch_read_a_message_alike(message):
    request = ChatRequest.model_validate({"model": "one", "messages": [message]})
    assert messages_of(request) == [message_of(message)]


def test_names_and_refusals_are_kept():
    assert message_of(MESSAGES[2]).additional_kwargs == {"name": "ann"}
    refused = message_of(MESSAGES[4])
    assert (refused.content, refused.additional_kwargs) == ("I will not.", {"name": "bot"})


@pytest.mark.parametrize("arguments", ["[" * 100_000, "", "no json", "[1]", "1"])
def test_arguments_that_are_no_object_stay_as_they_were_written(arguments):
    function = {"name": "look", "arguments": arguments}
    read = message_of({"role": "assistant", "tool_calls": [{**CALL, "function": function}]})
    assert isinstance(read, ChatMessage)
    (call,) = read.blocks
    assert call.tool_kwargs == arguments  # type: ignore[union-attr]
