"""Tokens, requests and times of a result against what the providers' log says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from asking import QUESTION, ask, in_every_way
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from members import six_calls

from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents._providers.usage import estimate_usage, read_usage
from llama_index.packs.mixture_of_agents.events import CallFinished, Usage
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import (
    CLOSE_MIDWAY,
    HANG,
    SimulatedProviders,
    failure,
)
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PROPOSERS = ("gpt-4.1-mini", "gpt-4o", "mistral-small-latest", "mistral-large-latest")


def logged(providers: SimulatedProviders, model: str = "*") -> Usage:
    """What the providers say they reported and received."""
    records = providers.log(model)
    return sum(
        (
            Usage(r.input_tokens, r.output_tokens, r.reasoning_tokens, r.cached_tokens, 1)
            for r in records
        ),
        Usage(),
    )


@in_every_way
async def test_usage_equals_the_providers_log(providers: SimulatedProviders, way: str):
    providers.configure("gpt-4o", reasoning_tokens=7)
    providers.configure("gpt-4.1", reasoning_tokens=3, cached_tokens=2)
    result = await ask(six_calls(providers), way)
    assert result.usage == logged(providers)
    assert result.usage.reasoning_tokens == 2 * 7 + 3
    assert result.usage.cached_tokens == 2
    for layer in result.layers:
        for call in layer.calls:
            assert call.usage in [
                Usage(r.input_tokens, r.output_tokens, r.reasoning_tokens, r.cached_tokens, 1)
                for r in providers.log(call.model)
            ]
    assert sum((layer.usage for layer in result.layers), Usage()) == result.usage


@in_every_way
async def test_tokens_of_a_mixture_in_a_mixture_are_those_of_its_members(providers, way):
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    inner = MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1"), layers=1))
    result = await ask(MixtureOfAgents(moa([inner], inner, layers=1)), way)
    told = logged(providers)
    assert result.usage.total_tokens == told.total_tokens
    assert not result.usage.estimated


@in_every_way
async def test_retries_and_failures_are_counted(providers: SimulatedProviders, way: str):
    providers.configure("gpt-4o", script=[failure(500), failure(429, retry_after=0)])
    providers.configure("mistral-small-latest", script=[failure(401)])
    providers.configure("gpt-4.1", script=[failure(503)])
    result = await ask(six_calls(providers), way)
    assert result.usage == logged(providers)
    assert result.usage.requests == providers.counts().arrived == 2 * 4 + 1 + 2 + 1
    retried = next(call for call in result.calls if call.model == "gpt-4o")
    assert (retried.usage.requests, retried.attempts) == (3, 3)
    (failed,) = (call for call in result.calls if call.failure)
    assert failed.usage == Usage(requests=1)


@in_every_way
async def test_times_agree_with_the_providers_log(providers: SimulatedProviders, way: str):
    for model in (*PROPOSERS, "gpt-4.1"):
        providers.configure(model, latency=0.05, per_token=0.002)
    result = await ask(six_calls(providers), way)
    for call in result.calls:
        of_model = providers.log(call.model)
        record = of_model[0 if call.layer == 1 or call.role == "aggregator" else 1]
        assert record.first_byte is not None  # what is noted after it may be noted late
        assert call.elapsed >= record.first_byte - record.arrived - 0.002 >= 0.045
    layers = result.layers
    assert layers[0].calls[-1].ended <= layers[1].calls[0].started + 0.001
    assert result.elapsed >= layers[-1].calls[-1].ended
    if "stream" in way:
        call, first = result.calls[-1], result.time_to_first_token
        assert first is not None
        assert call.started + 0.045 <= first <= call.ended
    else:
        assert result.time_to_first_token is None


@in_every_way
async def test_what_a_provider_does_not_report_is_estimated_and_says_so(
    providers: SimulatedProviders, way: str
):
    providers.configure("mistral-small-latest", reports_usage=False, reply="one two three")
    providers.configure("gpt-4.1", reports_usage=False, reply="one two three four")
    result = await ask(six_calls(providers), way)
    assert result.usage.estimated
    for call in result.calls:
        silent = call.model in ("mistral-small-latest", "gpt-4.1")
        assert call.usage.estimated == silent
        assert call.usage.requests == 1
    first, last = next(c for c in result.calls if "small" in c.model), result.calls[-1]
    assert first.usage == estimate_usage(QUESTION, "one two three") + Usage(requests=1)
    assert first.usage.output_tokens == 3
    assert last.usage.output_tokens == 4


@pytest.mark.parametrize("way", ["chat", "achat"])
async def test_an_attempt_that_timed_out_is_estimated(providers: SimulatedProviders, way: str):
    providers.configure("gpt-4o", script=[HANG])
    quick = CallPolicy(timeout=1.5, backoff=0)
    recipe = moa([providers.openai("gpt-4o")], providers.openai("gpt-4.1"), layers=1, call=quick)
    result = await ask(MixtureOfAgents(recipe), way)
    (call,) = result.layers[0].calls
    whole = logged(providers, "gpt-4o")
    assert call.usage.estimated
    assert call.usage.requests == 2
    assert call.usage.output_tokens == whole.output_tokens
    assert call.usage.input_tokens > whole.input_tokens


@pytest.mark.parametrize("way", ["chat", "achat"])
async def test_a_cancelled_straggler_is_estimated(providers: SimulatedProviders, way: str):
    providers.configure("gpt-4o", script=[HANG])
    others = [name for name in PROPOSERS if name != "gpt-4o"]
    for name in others:
        providers.hold(name)
    running = asyncio.ensure_future(ask(six_calls(providers, quorum=3, grace=0.0), way))
    await providers.await_for(arrived=4)
    for name in others:
        providers.release(name)
    result = await running
    cancelled = next(call for call in result.calls if call.model == "gpt-4o")
    assert cancelled.failure
    assert cancelled.failure.kind == "straggler"
    assert cancelled.usage == Usage(6, 0, requests=1, estimated=True)
    assert result.layers[0].usage.requests == 4


@pytest.mark.parametrize("way", ["chat", "achat"])
async def test_both_requests_of_a_hedged_call_are_counted(providers: SimulatedProviders, way: str):
    providers.configure("gpt-4o", script=[HANG])
    hedging = CallPolicy(hedge_after=0.2)
    recipe = moa([providers.openai("gpt-4o")], providers.openai("gpt-4.1"), layers=1, call=hedging)
    result = await ask(MixtureOfAgents(recipe), way)
    call, whole = result.calls[0], logged(providers, "gpt-4o")
    assert call.hedged
    assert call.usage.requests == whole.requests == 2
    assert call.usage.estimated
    assert call.usage.output_tokens == whole.output_tokens
    assert call.usage.input_tokens == whole.input_tokens + 6, "the one that hung is estimated"


async def test_a_stream_that_broke_off_counts_what_came(providers: SimulatedProviders):
    words = " ".join(f"word{number}" for number in range(40))
    providers.configure("gpt-4.1", reply=words, script=[CLOSE_MIDWAY] * 9)
    mixture = six_calls(providers)
    with pytest.raises(Exception, match="broke off") as caught:
        await ask(mixture, "astream_chat")
    call: CallFinished = caught.value.result.calls[-1]  # type: ignore[attr-defined]
    assert call.usage.estimated
    assert call.usage.requests == 1
    assert 20 < call.usage.output_tokens < 60


async def test_a_request_that_never_left_has_no_tokens(providers: SimulatedProviders):
    nobody = providers.openai("gpt-4o", api_base="http://127.0.0.1:9/v1")
    aggregator, once = providers.openai("gpt-4.1"), CallPolicy(retries=0)
    recipe = moa([nobody, providers.openai("gpt-4.1")], aggregator, layers=1, call=once)
    result = await ask(MixtureOfAgents(recipe), "achat")
    failed = next(call for call in result.calls if call.failure)
    assert failed.usage == Usage(requests=1)


async def test_nothing_is_counted_while_the_provider_reports():
    """Loading the tokenizer takes a quarter of a second: it must not happen on the way of an answer."""
    counted: list[str] = []

    def broken_tokenizer(text: str) -> list[int]:
        counted.append(text)
        raise LookupError("no such encoding")

    before, Settings.tokenizer = Settings.tokenizer, broken_tokenizer
    try:
        reporting = moa([ScriptedLLM("a")], ScriptedLLM("b"))
        assert (await ask(MixtureOfAgents(reporting), "achat")).usage == Usage(30, 15, requests=3)
        assert not counted
        silent = moa([ScriptedLLM("eight letters", usage=None)], ScriptedLLM("b"), layers=1)
        result = await ask(MixtureOfAgents(silent), "achat")
    finally:
        Settings.tokenizer = before
    assert counted
    assert result.calls[0].usage == Usage(6, 4, requests=1, estimated=True)


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
