"""An endpoint that fails again and again is left alone for a while, and the result says so."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from asking import QUESTION, ask
from hypothesis import given
from hypothesis import strategies as st
from members import ONCE

from llama_index.packs.mixture_of_agents import (
    AggregatorFailed,
    MixtureOfAgents,
    QuorumNotMet,
    moa,
)
from llama_index.packs.mixture_of_agents._engine.endpoint import CircuitBreaker
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import Breaker, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, failures: int = 3, cooldown: float = 10) -> CircuitBreaker:
    breaker = CircuitBreaker(failures, cooldown, clock)
    for _ in range(failures):
        assert breaker.admit() == "closed"
        breaker.failed("closed", "no")
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert opened(Clock()).admit() == "open"


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = CircuitBreaker(2, 10, Clock())
    for _ in range(5):
        breaker.failed("closed", "no")
        breaker.succeeded()
    assert breaker.admit() == "closed"


def test_after_the_cooldown_one_call_probes_and_the_others_wait_for_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 9.9
    assert breaker.admit() == "open"
    assert breaker.remaining == pytest.approx(0.1)
    clock.now = 10
    assert [breaker.admit() for _ in range(3)] == ["probe", "open", "open"]


def test_a_probe_that_succeeds_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 10
    breaker.admit()
    breaker.succeeded()
    assert [breaker.admit() for _ in range(3)] == ["closed"] * 3


def test_a_probe_that_fails_keeps_it_open_for_as_long_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 15
    breaker.failed(breaker.admit(), "still no")
    assert breaker.reason == "still no"
    clock.now = 24.9
    assert breaker.admit() == "open"
    clock.now = 25
    assert breaker.admit() == "probe"


def test_a_probe_that_says_nothing_lets_the_next_one_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 10
    breaker.gave_up(breaker.admit())
    assert breaker.admit() == "probe"


def test_a_call_that_began_before_it_opened_and_succeeds_closes_it() -> None:
    breaker = opened(Clock())
    breaker.succeeded()
    assert breaker.admit() == "closed"


@given(st.lists(st.sampled_from(["ask", "succeed", "fail", "give up", "wait"]), max_size=60))
def test_while_it_is_open_one_call_at_most_goes_through_and_none_before_its_time(
    steps: list[str],
) -> None:
    clock = Clock()
    breaker = CircuitBreaker(2, 10, clock)
    under_way: list[Any] = []
    in_a_row, opened_at = 0, None
    for step in steps:
        if step == "wait":
            clock.now += 4
        elif step == "ask":
            admission = breaker.admit()
            assert (admission == "closed") == (opened_at is None)
            if opened_at is not None:
                ready = clock.now >= opened_at + 10 and "probe" not in under_way
                assert admission == ("probe" if ready else "open")
            under_way += [admission] if admission != "open" else []
        elif under_way:
            admission = under_way.pop(0)
            if step == "succeed":
                breaker.succeeded()
                in_a_row, opened_at = 0, None
                under_way = ["closed" for _ in under_way]
            elif step == "fail":
                breaker.failed(admission, "no")
                in_a_row += 1
                if admission == "probe" or (opened_at is None and in_a_row >= 2):
                    opened_at = clock.now
            else:
                breaker.gave_up(admission)


# --- in a mixture --------------------------------------------------------------------------------


def limits(failures: int = 2, cooldown: float = 3600) -> Limits:
    return Limits(breaker=Breaker(failures, cooldown))


class Down(Exception):
    status_code = 500


async def test_a_proposer_whose_endpoint_is_down_is_skipped_and_the_result_says_so() -> None:
    down, well = ScriptedLLM(Down("down"), model="down"), ScriptedLLM("fine", model="well")
    recipe = moa([down, well], ScriptedLLM("end"), layers=1, call=ONCE, limits=limits())
    mixture = MixtureOfAgents(recipe)
    for _ in range(2):
        assert (await ask(mixture)).failures[0].kind == FailureKind.SERVER_ERROR
    result = await ask(mixture)
    (skipped,) = result.failures
    assert (skipped.agent, skipped.kind, skipped.attempts) == ("down", FailureKind.CIRCUIT_OPEN, 0)
    assert "server_error: Down: down" in skipped.message
    assert result.degraded == ("layer 1 has 1 of 2 proposals (down: circuit_open)",)
    assert len(down.asked) == 2
    skipped_call = next(call for call in result.calls if call.failure)
    assert skipped_call.usage.requests == 0


async def test_what_runs_learn_at_the_same_time_is_learned_once() -> None:
    down = ScriptedLLM(Down("down"), model="down")
    recipe = moa([down, ScriptedLLM("fine")], ScriptedLLM("end"), layers=1, call=ONCE)
    mixture = MixtureOfAgents(replace(recipe, limits=limits(failures=3)))
    await asyncio.gather(*(ask(mixture) for _ in range(3)))
    await asyncio.gather(*(ask(mixture) for _ in range(20)))
    assert len(down.asked) == 3


async def test_a_quorum_that_needs_a_skipped_endpoint_fails_at_once() -> None:
    down = ScriptedLLM(Down("down"))
    mixture = MixtureOfAgents(moa([down], None, layers=1, call=ONCE, limits=limits(1)))
    for _ in range(3):
        with pytest.raises(QuorumNotMet):
            await ask(mixture)
    assert len(down.asked) == 1


async def test_a_probe_makes_one_request_only() -> None:
    llm = ScriptedLLM(Down("down"), model="down")
    policy = CallPolicy(retries=2, backoff=0)
    recipe = moa([llm, ScriptedLLM("fine")], ScriptedLLM("end"), layers=1, call=policy)
    mixture = MixtureOfAgents(replace(recipe, limits=limits(1, cooldown=0)))
    await ask(mixture)
    assert len(llm.asked) == 3
    await ask(mixture)
    assert len(llm.asked) == 4


async def test_an_aggregator_whose_endpoint_is_down_leaves_the_answer_to_its_fallback() -> None:
    down = ScriptedLLM(Down("down"), model="down")
    recipe = moa([ScriptedLLM("fine")], down, layers=1, fallbacks=(ScriptedLLM("instead"),))
    mixture = MixtureOfAgents(replace(recipe, call=ONCE, limits=limits()))
    for _ in range(4):
        result = await ask(mixture)
        assert result.answer == "instead"
    assert result.failures[0].kind == FailureKind.CIRCUIT_OPEN
    assert len(down.asked) == 2


async def test_without_a_fallback_an_open_circuit_is_an_error_that_says_so() -> None:
    recipe = moa([ScriptedLLM("fine", model="p")], ScriptedLLM(Down("down")), layers=1)
    mixture = MixtureOfAgents(replace(recipe, call=ONCE, limits=limits(1)))
    with pytest.raises(AggregatorFailed, match="server_error"):
        await ask(mixture)
    with pytest.raises(AggregatorFailed, match="circuit_open"):
        await ask(mixture)


@pytest.mark.parametrize("reply", ["", "<think>so</think>"], ids=["empty", "thinking"])
async def test_answers_that_are_of_no_use_do_not_open_a_circuit(reply: str) -> None:
    llm = ScriptedLLM(reply)
    recipe = moa([llm, ScriptedLLM("fine")], ScriptedLLM("end"), layers=1, call=ONCE)
    mixture = MixtureOfAgents(replace(recipe, limits=limits(1)))
    for _ in range(3):
        await ask(mixture)
    assert len(llm.asked) == 3


async def test_a_straggler_says_nothing_about_its_endpoint() -> None:
    async def slow(_: Any) -> str:
        await asyncio.Event().wait()
        return "never"

    llm = ScriptedLLM(slow, model="slow")
    recipe = moa([llm, ScriptedLLM("fine")], None, layers=1, grace=0, limits=limits(1))
    mixture = MixtureOfAgents(recipe)
    for _ in range(3):
        assert (await ask(mixture)).failures[0].kind == FailureKind.STRAGGLER
    assert len(llm.asked) == 3


async def test_a_breaker_can_be_switched_off() -> None:
    llm = ScriptedLLM(Down("down"))
    recipe = moa([llm, ScriptedLLM("fine")], ScriptedLLM("end"), layers=1, call=ONCE)
    mixture = MixtureOfAgents(replace(recipe, limits=limits(0)))
    for _ in range(8):
        await ask(mixture)
    assert len(llm.asked) == 8


def open_aggregator(**policies: Any) -> tuple[MixtureOfAgents, ScriptedLLM]:
    """A mixture whose only aggregator's circuit opens with its first run, and its proposer."""
    proposer = ScriptedLLM("a proposal")
    limits = Limits(breaker=Breaker(failures=1, cooldown=60))
    broken = ScriptedLLM(ConnectionError("gone"), model="broken")
    recipe = moa([proposer], broken, layers=1, call=ONCE, limits=limits, **policies)
    return MixtureOfAgents(recipe), proposer


async def test_nothing_is_asked_while_the_circuit_of_the_only_aggregator_is_open() -> None:
    mixture, proposer = open_aggregator()
    with pytest.raises(AggregatorFailed):
        await mixture.achat(QUESTION)
    with pytest.raises(AggregatorFailed, match="broken") as raised:
        await mixture.achat(QUESTION)
    assert len(proposer.asked) == 1, "the second run asks nothing"
    assert raised.value.retry_after == pytest.approx(60, abs=30)
    assert [failure.kind for failure in raised.value.failures] == [FailureKind.CIRCUIT_OPEN]
    assert not raised.value.result.calls


async def test_a_run_goes_on_while_a_fallbacks_circuit_is_closed() -> None:
    mixture, proposer = open_aggregator(fallbacks=[ScriptedLLM("the end", model="second")])
    for _ in range(3):
        response = await mixture.achat(QUESTION)
        assert response.message.content == "the end"
    assert len(proposer.asked) == 3


async def test_a_run_goes_on_where_a_proposal_may_stand_in_for_the_aggregator() -> None:
    mixture, proposer = open_aggregator(or_best_proposal=True)
    for _ in range(2):
        response = await mixture.achat(QUESTION)
        assert response.message.content == "a proposal"
    assert len(proposer.asked) == 2


async def test_a_circuit_that_opens_in_mid_run_says_when_to_come_back_too() -> None:
    limits = Limits(breaker=Breaker(failures=1, cooldown=60))
    broken = ScriptedLLM(ConnectionError("gone"), model="broken")
    recipe = moa([ScriptedLLM("a"), broken], broken, layers=1, call=ONCE, limits=limits, quorum=1)
    with pytest.raises(AggregatorFailed) as raised:
        await MixtureOfAgents(recipe).achat(QUESTION)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after > 0
