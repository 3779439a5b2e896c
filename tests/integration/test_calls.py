"""One call over HTTP: how long it may take, and where it is made."""

import asyncio

import pytest
from asking import QUESTION, ask, stream_into, sync_and_async, whole_and_streamed
from members import (
    llm_of,
    of_both_classes,
    one_proposer,
    under_writer,
)

from llama_index.packs.mixture_of_agents import (
    AggregatorFailed,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    moa,
)
from llama_index.packs.mixture_of_agents.errors import RunError
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import (
    HANG,
    HANG_MIDWAY,
    OK,
    SimulatedProviders,
    failure,
)
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

# --- time ----------------------------------------------------------------------------------------


@of_both_classes
@sync_and_async
async def test_an_attempt_that_hangs_is_given_up_and_made_again(
    providers: SimulatedProviders, model: str, way: str
) -> None:
    providers.configure(model, script=[HANG, OK], reply="at last")
    policy = CallPolicy(timeout=1, backoff=0)
    result = await ask(one_proposer(llm_of(providers, model), policy), way)
    assert result.answer == "at last"
    assert result.calls[0].attempts == 2
    if way == "achat":
        await providers.await_for(model, hung_up=1, open=0, timeout=2)


@of_both_classes
async def test_a_stream_may_take_longer_than_an_attempt_as_long_as_it_goes_on(
    providers: SimulatedProviders, model: str
) -> None:
    words = " ".join(f"word{number}" for number in range(12))
    providers.configure(model, reply=words, per_token=0.12)
    pieces: list[str] = []
    await stream_into(pieces, under_writer(llm_of(providers, model), CallPolicy(timeout=1)))
    assert "".join(pieces) == words


@of_both_classes
async def test_a_stream_that_falls_silent_is_given_up(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, script=[HANG_MIDWAY], reply="one two three four five six")
    pieces: list[str] = []
    with pytest.raises(AggregatorFailed, match="timeout"):
        await stream_into(pieces, under_writer(llm_of(providers, model), CallPolicy(timeout=1)))
    assert "".join(pieces).startswith("one two")
    await providers.await_for(model, hung_up=1, open=0, timeout=2)


@of_both_classes
async def test_a_stream_that_never_begins_is_asked_for_again(
    providers: SimulatedProviders, model: str
) -> None:
    providers.configure(model, script=[HANG, OK], reply="at last")
    pieces: list[str] = []
    policy = CallPolicy(timeout=1, backoff=0)
    await stream_into(pieces, under_writer(llm_of(providers, model), policy))
    assert "".join(pieces) == "at last"


# --- where ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@of_both_classes
@whole_and_streamed
def test_an_llm_whose_client_belongs_to_a_loop_that_is_gone_is_asked_in_a_thread(
    providers: SimulatedProviders, model: str, way: str
) -> None:
    # Without retries of its own to switch off, the mixture asks this very object, and so its client.
    llm = llm_of(providers, model, max_retries=0)
    asyncio.run(llm.achat(QUESTION))
    mixture = under_writer(llm, CallPolicy(retries=0))

    first, second = (asyncio.run(ask(mixture, way)) for _ in range(2))
    assert first.answer == second.answer != ""
    assert not first.degraded
    # What the closed loop refused may have left all the same; a socket is written to at once.
    assert first.calls[-1].attempts == 2
    assert second.calls[-1].attempts == 1
    assert len(providers.log(model)) <= 1 + 2 + 1


async def test_samples_that_a_server_ignores_are_asked_for_one_by_one(
    providers: SimulatedProviders,
) -> None:
    class IgnoresN(ScriptedLLM):
        __module__ = "llama_index.llms.openai.base"

    llm = IgnoresN(*["one", "two", "three"] * 2)  # pyright: ignore[reportCallIssue]
    recipe = moa([Proposer(llm, name="p", samples=3)], None, layers=1)
    mixture = MixtureOfAgents(recipe)
    for _ in range(2):
        result = await ask(mixture)
        assert [proposal.text for proposal in result.proposals] == ["one", "two", "three"]
    assert ["n" in asked.kwargs for asked in llm.asked] == [True, *[False] * 5]


async def test_a_failure_holds_the_exception_it_stands_for_and_the_runs_error_its_cause(
    providers: SimulatedProviders,
) -> None:
    import pickle

    import openai

    providers.configure("gpt-4.1", chances=[(failure(429), 1.0)])
    policy = CallPolicy(retries=0)
    llms = [providers.openai("gpt-4.1") for _ in range(2)]
    with pytest.raises(RunError) as raised:
        await MixtureOfAgents(moa(llms, None, layers=1, call=policy)).achat(QUESTION)
    error = raised.value
    assert all(isinstance(one.exception, openai.RateLimitError) for one in error.failures)
    assert isinstance(error.__cause__, openai.RateLimitError)
    again = pickle.loads(pickle.dumps(error.failures[0]))
    assert again == error.failures[0]
    assert again.exception is None
    assert MixtureResult.from_json(error.result.to_json()) == error.result
