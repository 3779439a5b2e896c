"""Why an answer is of no use: refusals, token limits, in whole answers and in streams."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from llama_index.packs.mixture_of_agents._providers.responses import (
    Answer,
    assembled,
    explained,
    read,
    verdict,
)
from llama_index.packs.mixture_of_agents._providers.streams import read_stream
from llama_index.packs.mixture_of_agents._providers.usage import read_usage
from llama_index.packs.mixture_of_agents.errors import FailureKind


def response(raw: Any, text: str = "") -> ChatResponse:
    return ChatResponse(message=ChatMessage(role="assistant", content=text), raw=raw, delta=text)


def choice(reason: str | None = None, **said: Any) -> dict[str, Any]:
    return {"choices": [{**said, "finish_reason": reason}]}


def streamed(*chunks: ChatResponse) -> Answer:
    async def stream() -> AsyncIterator[ChatResponse]:
        for chunk in chunks:
            yield chunk

    async def on_chunk(piece: str, chunk: ChatResponse) -> None:
        pass

    got = asyncio.run(read_stream(stream(), on_chunk, []))
    return assembled(got.text, got.last, got.finish_reason)


def test_a_refusal_is_one_whether_it_comes_whole_or_streamed():
    whole = read(response(choice("stop", message={"refusal": "I cannot help."})))[0]
    usage = response({"choices": [], "usage": {"prompt_tokens": 3}})
    words = [response(choice(delta={"refusal": word})) for word in ("", "I ", "cannot ", "help.")]
    piecewise = streamed(*words, response(choice("stop", delta={})), usage)
    at_once = streamed(response(choice("stop", delta={"refusal": "I cannot help."})))
    for answer in (whole, piecewise, at_once):
        assert verdict(answer) == FailureKind.CONTENT_FILTER


def test_an_answer_beside_an_empty_refusal_is_an_answer():
    answer = streamed(response(choice("stop", delta={"refusal": None}), "Yes."))
    assert (answer.text, verdict(answer)) == ("Yes.", None)


@pytest.mark.parametrize(
    ("text", "advises_to_keep"), [("", False), ("<think>hmm</think>", False), ("Half of", True)]
)
def test_an_answer_that_was_cut_off_before_it_began_is_not_advised_to_be_kept(
    text: str, advises_to_keep: bool
):
    answer = read(response(choice("length", message={}), text))[0]
    kind = verdict(answer)
    assert kind == FailureKind.TRUNCATED
    words = explained(kind, answer)
    assert "max_tokens" in words
    assert ("keep" in words) == advises_to_keep


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_below_zero_takes_nothing_from_what_others_used(name: str):
    counts = {"prompt_tokens": 3, "completion_tokens": 2, name: -1}
    usage = read_usage(response({"usage": counts}))
    assert usage
    assert min(usage.input_tokens, usage.output_tokens) == 0
