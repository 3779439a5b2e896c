"""What is tried again, when, and how many requests reach the wire."""

from dataclasses import replace

import pytest
from asking import QUESTION, ask, stream_into, sync_and_async
from llama_index.core.base.llms.types import ChatMessage
from members import AT_ONCE, llm_of, of_both_classes, one_proposer, under_writer

from llama_index.packs.mixture_of_agents import (
    AggregatorFailed,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    QuorumNotMet,
    moa,
)
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import CallRetried
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import (
    BROKEN_JSON,
    CLOSE_MIDWAY,
    EMPTY_ANSWER,
    EMPTY_BODY,
    ERROR_IN_STREAM,
    OK,
    RESET,
    RESET_MIDWAY,
    Outcome,
    Reply,
    SimulatedProviders,
    failure,
)
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


async def failed(mixture: MixtureOfAgents, way: str = "achat") -> MixtureResult:
    with pytest.raises(QuorumNotMet) as raised:
        await ask(mixture, way)
    return raised.value.result


@of_both_classes
@sync_and_async
async def test_a_persistent_500_makes_one_request_and_one_per_retry_whatever_the_class_does_itself(
    providers: SimulatedProviders, model: str, way: str
) -> None:
    providers.configure(model, script=[failure(500)] * 50)
    policy = CallPolicy(backoff=0.01)
    result = await failed(one_proposer(llm_of(providers, model), policy), way)
    assert len(providers.log(model)) == 1 + policy.retries == 3
    (of_p,) = result.failures
    assert (of_p.kind, of_p.status, of_p.attempts) == (FailureKind.SERVER_ERROR, 500, 3)


async def test_a_client_that_the_user_made_does_not_retry_either(
    providers: SimulatedProviders,
) -> None:
    import openai

    providers.configure("gpt-4.1", script=[failure(500)] * 50)
    with openai.OpenAI(api_key="k", base_url=providers.openai_base, max_retries=5) as client:
        llm = providers.openai("gpt-4.1", openai_client=client)
        await failed(one_proposer(llm, AT_ONCE), "chat")
        assert client.max_retries == 5, "the user's own is left as it is"
    assert llm.max_retries == 3
    assert len(providers.log()) == 3


@of_both_classes
@pytest.mark.parametrize(
    "outcome",
    [
        failure(408),
        failure(409),
        failure(429),
        failure(500),
        failure(503),
        RESET,
        RESET_MIDWAY,
        CLOSE_MIDWAY,
        BROKEN_JSON,
        EMPTY_BODY,
        EMPTY_ANSWER,
    ],
    ids=lambda outcome: f"{outcome.kind}-{outcome.status}",
)
async def test_what_another_attempt_may_cure_is_tried_again(
    providers: SimulatedProviders, model: str, outcome: Outcome
) -> None:
    providers.configure(model, script=[outcome, OK], reply="at last")
    result = await ask(one_proposer(llm_of(providers, model)))
    assert result.answer == "at last"
    assert not result.degraded
    (call,) = result.calls
    assert (call.attempts, call.usage.requests, len(providers.log(model))) == (2, 2, 2)
    (retried,) = [event for event in result.events if isinstance(event, CallRetried)]
    assert (retried.call, retried.attempt) == (call.call, 1)
    assert retried.failure.kind in {
        FailureKind.SERVER_ERROR,
        FailureKind.RATE_LIMITED,
        FailureKind.CONNECTION,
        FailureKind.BAD_RESPONSE,
        FailureKind.EMPTY,
    }


@of_both_classes
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
async def test_what_no_attempt_can_cure_is_asked_once(
    providers: SimulatedProviders, model: str, status: int
) -> None:
    providers.configure(model, script=[failure(status)] * 5)
    result = await failed(one_proposer(llm_of(providers, model)))
    assert len(providers.log(model)) == 1
    assert (result.failures[0].status, result.failures[0].attempts) == (status, 1)


async def test_a_content_filter_is_not_asked_again(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", reply=Reply("I", finish_reason="content_filter"))
    result = await failed(one_proposer(providers.openai("gpt-4.1")))
    assert result.failures[0].kind == FailureKind.CONTENT_FILTER
    assert len(providers.log()) == 1


@of_both_classes
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_provider_that_says_when_to_come_back_is_obeyed(
    providers: SimulatedProviders, model: str, as_date: bool
) -> None:
    seconds = 2 if as_date else 0.3  # dates have whole seconds only
    limited = failure(429, retry_after=seconds, retry_after_as_date=as_date)
    providers.configure(model, script=[limited, OK])
    result = await ask(one_proposer(llm_of(providers, model)))
    first, second = providers.log(model)
    least = seconds - 1 if as_date else seconds
    assert first.ended
    assert second.arrived - first.ended >= least * 0.95
    (retried,) = [event for event in result.events if isinstance(event, CallRetried)]
    assert least * 0.95 <= retried.wait <= seconds
    assert retried.failure.status == 429


async def test_a_wait_that_is_too_long_ends_the_call_at_once(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", script=[failure(429, retry_after=3600)])
    result = await failed(one_proposer(providers.openai("gpt-4.1"), CallPolicy(max_wait=10)))
    assert len(providers.log()) == 1
    assert result.failures[0].kind == FailureKind.RATE_LIMITED
    assert result.elapsed < 5


@pytest.mark.parametrize("bound", ["call", "layer", "run"])
async def test_a_wait_beyond_a_deadline_is_not_begun(bound: str) -> None:
    limited = ConnectionResetError("gone")
    llm = ScriptedLLM(limited, "too late")
    policy = CallPolicy(backoff=50, max_wait=100, deadline=5 if bound == "call" else None)
    mixture = one_proposer(llm, policy, deadline=5 if bound == "run" else 200)
    if bound == "layer":
        (layer,) = mixture.recipe.layers
        layers = (replace(layer, deadline=5),)
        mixture = MixtureOfAgents(replace(mixture.recipe, layers=layers))
    result = await failed(mixture)
    assert len(llm.asked) == 1
    assert result.failures[0].kind == FailureKind.CONNECTION
    assert result.elapsed < 4


async def test_waits_double_and_are_never_the_same_for_all() -> None:
    error = ConnectionResetError("gone")
    policy = CallPolicy(backoff=0.01, retries=4)
    waits: list[list[float]] = []
    for _ in range(5):
        result = await ask(one_proposer(ScriptedLLM(error, error, error, error, "done"), policy))
        waits.append([e.wait for e in result.events if isinstance(e, CallRetried)])
    for of_run in waits:
        for number, wait in enumerate(of_run):
            assert 0.01 * 2**number <= wait <= 0.01 * 2**number + 0.01
    assert len({tuple(of_run) for of_run in waits}) > 1


async def test_a_refused_parameter_is_dropped_and_remembered(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", refuses=["temperature"])
    mixture = one_proposer(providers.openai("gpt-4.1"), CallPolicy(retries=0), temperature=0.7)
    (call,) = (await ask(mixture)).calls
    assert call.attempts == 2
    (call,) = (await ask(mixture)).calls
    assert call.attempts == 1
    sent = ["temperature" in record.body for record in providers.log()]
    assert sent == [True, False, False]


async def test_a_parameter_refused_to_six_calls_at_once_is_dropped_from_all(
    providers: SimulatedProviders,
) -> None:
    providers.configure("mistral-small-latest", refuses=["temperature"])
    llm = providers.mistral("mistral-small-latest")
    recipe = moa([Proposer(llm, samples=6)], None, layers=1, temperature=0.7, call=AT_ONCE)
    result = await ask(MixtureOfAgents(recipe))
    assert len(result.proposals) == 6
    assert not result.failures


async def test_a_refused_max_tokens_of_the_constructor_is_dropped_too(
    providers: SimulatedProviders,
) -> None:
    providers.configure("gpt-4.1", refuses=["max_tokens"])
    llm = providers.openai("gpt-4.1", max_tokens=100)
    result = await ask(one_proposer(llm))
    assert result.answer
    assert llm.max_tokens == 100
    assert ["max_tokens" in record.body for record in providers.log()] == [True, False]


async def test_a_parameter_that_is_refused_even_when_it_is_not_sent_ends_the_call() -> None:
    class Stubborn(Exception):
        status_code = 400

    llm = ScriptedLLM(Stubborn("temperature is not supported"))
    result = await failed(one_proposer(llm, temperature=0.5))
    assert result.failures[0].kind == FailureKind.BAD_REQUEST
    assert len(llm.asked) == 2


async def test_a_reasoning_model_is_never_sent_the_default_temperature(
    providers: SimulatedProviders,
) -> None:
    providers.configure("o3-mini", only_default=["temperature"])
    await ask(one_proposer(providers.openai("o3-mini"), temperature=0.7))
    (record,) = providers.log()
    assert record.body.get("temperature", 1) == 1


@of_both_classes
@pytest.mark.parametrize("outcome", [failure(500), failure(429), RESET], ids=lambda one: one.kind)
async def test_a_stream_that_fails_before_its_first_token_is_asked_for_again(
    providers: SimulatedProviders, model: str, outcome: Outcome
) -> None:
    providers.configure(model, script=[outcome, OK], reply="one two three")
    mixture = under_writer(llm_of(providers, model))
    pieces: list[str] = []
    await stream_into(pieces, mixture)
    assert "".join(pieces) == "one two three"
    assert len(providers.log(model)) == 2


@of_both_classes
@pytest.mark.parametrize(
    "outcome", [RESET_MIDWAY, CLOSE_MIDWAY, BROKEN_JSON, ERROR_IN_STREAM], ids=lambda one: one.kind
)
async def test_a_stream_that_breaks_after_its_first_token_is_not_begun_again(
    providers: SimulatedProviders, model: str, outcome: Outcome
) -> None:
    providers.configure(model, script=[outcome, OK], reply="one two three four five six")
    mixture = under_writer(llm_of(providers, model))
    pieces: list[str] = []
    with pytest.raises(AggregatorFailed, match="broke off") as raised:
        await stream_into(pieces, mixture)
    got = "".join(pieces)
    assert got.startswith("one two")
    assert len(providers.log(model)) == 1
    result = raised.value.result
    assert result.answer == got, "the result holds what came"
    assert result.error
    (of_writer,) = raised.value.failures
    assert of_writer.agent == "writer"


def sent_messages(providers: SimulatedProviders, request: int) -> list[tuple[str, str]]:
    messages = providers.log("gpt-4.1")[request].body["messages"]
    return [(message["role"], message["content"]) for message in messages]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, "System role not supported"),
        failure(500, "Jinja error: System role not supported"),
        failure(400, "'messages[0].role' does not support 'system' with this model."),
        failure(400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
        failure(400, "Conversation roles must alternate user/assistant/user/assistant/..."),
    ],
)
async def test_a_refused_system_message_goes_into_the_last_user_message_from_then_on(
    providers: SimulatedProviders, refusal: Outcome, streamed: bool
):
    providers.configure("gpt-4.1", script=[refusal])
    mixture = MixtureOfAgents(moa([ScriptedLLM("A function.")], providers.openai(), layers=1))
    for _ in range(2):
        if streamed:
            async for _ in await mixture.astream_chat(QUESTION):
                pass
        else:
            await mixture.achat(QUESTION)
    first, second, third = (sent_messages(providers, number) for number in range(3))
    assert [role for role, _ in first] == ["system", "user"]
    assert second == third == [("user", f"{first[1][1]}\n\n{first[0][1]}")]


async def test_turns_of_one_role_are_merged_where_roles_must_alternate(
    providers: SimulatedProviders,
):
    providers.configure("gpt-4.1", script=[failure(400, "roles must alternate")])
    mixture = MixtureOfAgents(moa([ScriptedLLM("x")], providers.openai(), layers=1))
    await mixture.achat([ChatMessage(role="user", content=turn) for turn in ("One.", "Two.")])
    assert [role for role, _ in sent_messages(providers, 0)] == ["system", "user", "user"]
    ((role, text),) = sent_messages(providers, 1)
    assert (role, text[:11]) == ("user", "One.\n\nTwo.\n")


async def test_a_template_that_refuses_again_says_how_references_can_be_placed(
    providers: SimulatedProviders,
):
    providers.configure("gpt-4.1", script=[failure(400, "System role not supported")] * 2)
    mixture = MixtureOfAgents(moa([ScriptedLLM("x")], providers.openai(), layers=1))
    with pytest.raises(AggregatorFailed) as raised:
        await mixture.achat(QUESTION)
    assert "bad_request 400 after 2 attempts" in str(raised.value)
    assert 'placement="user"' in str(raised.value)
