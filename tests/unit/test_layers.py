"""When a layer goes on, whom it leaves behind, and what it says of that."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asking import ask
from members import AT_ONCE, Closed, forever, settle

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    DeadlineExceeded,
    Layer,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    QuorumNotMet,
    Recipe,
    RecipeError,
)
from llama_index.packs.mixture_of_agents._engine.calls import Caller, Request, RunState
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import LayerFinished
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

NEVER = 60.0


def waiting_for(event: asyncio.Event, answer: str) -> Callable[[Any], Any]:
    async def reply(_: Any) -> str:
        await event.wait()
        return answer

    return reply


def named(**replies: Any) -> tuple[Proposer, ...]:
    return tuple(Proposer(ScriptedLLM(reply), name=name) for name, reply in replies.items())


def one_layer(*proposers: Proposer, **settings: Any) -> tuple[MixtureOfAgents, ScriptedLLM]:
    """A mixture of one layer, and its aggregator."""
    aggregator = ScriptedLLM("the end")
    of_recipe = {name: settings.pop(name) for name in ("deadline", "call") if name in settings}
    recipe = Recipe((Layer(proposers, **settings),), Aggregator(aggregator), **of_recipe)
    return MixtureOfAgents(recipe), aggregator


def reason_of(result: MixtureResult) -> str:
    (closed,) = [event for event in result.events if isinstance(event, LayerFinished)]
    return closed.reason


def names(result: MixtureResult) -> list[str]:
    (closed,) = [event for event in result.events if isinstance(event, LayerFinished)]
    return [reference.agent for reference in closed.references]


async def test_a_layer_waits_for_all_unless_told_otherwise() -> None:
    last = asyncio.Event()
    mixture, _ = one_layer(*named(a="A", b=waiting_for(last, "B")))
    run = asyncio.ensure_future(ask(mixture))
    await settle()
    assert not run.done()
    last.set()
    result = await run
    assert (reason_of(result), names(result)) == ("all", ["a", "b"])
    assert not result.degraded


async def test_one_good_proposal_is_enough_and_the_others_are_on_record() -> None:
    mixture, aggregator = one_layer(*named(a=Closed("no"), b="B", c=Closed("nor I")))
    result = await ask(mixture)
    assert result.answer == "the end"
    assert names(result) == ["b"]
    assert "nor I" not in str(aggregator.asked)
    assert result.degraded == (
        "layer 1 has 1 of 3 proposals (a: authentication, c: authentication)",
    )


async def test_too_few_proposals_raise_an_error_that_lists_every_proposer() -> None:
    mixture, aggregator = one_layer(*named(a=Closed("no"), b="B", c=""), quorum=2, call=AT_ONCE)
    with pytest.raises(QuorumNotMet) as raised:
        await ask(mixture)
    message = str(raised.value)
    assert message.startswith("layer 1 needed 2 of 3 proposals and got 1\n  - a (scripted): ")
    assert "authentication 403 after 1 attempt" in message
    assert "c (scripted): empty after 3 attempts" in message
    assert [failure.agent for failure in raised.value.failures] == ["a", "c"]
    assert not aggregator.asked
    result = raised.value.result
    assert result.error == "layer 1 needed 2 of 3 proposals and got 1"
    assert [proposal.text for proposal in result.proposals] == ["B"]


async def test_with_a_quorum_and_no_grace_the_layer_goes_on_at_once() -> None:
    mixture, _ = one_layer(*named(a=forever, b="B", c="C"), quorum=2, grace=0)
    result = await asyncio.wait_for(ask(mixture), NEVER)
    assert (reason_of(result), names(result)) == ("quorum", ["b", "c"])
    (straggler,) = result.failures
    assert (straggler.agent, straggler.kind) == ("a", FailureKind.STRAGGLER)
    assert result.degraded == ("layer 1 has 2 of 3 proposals (a: straggler)",)


async def test_within_the_grace_a_straggler_still_counts() -> None:
    late = asyncio.Event()
    mixture, _ = one_layer(*named(a=waiting_for(late, "A"), b="B"), quorum=1, grace=30)
    run = asyncio.ensure_future(ask(mixture))
    await settle()
    assert not run.done()
    late.set()
    result = await asyncio.wait_for(run, NEVER)
    assert (reason_of(result), names(result)) == ("all", ["a", "b"])


async def test_the_grace_begins_when_the_quorum_is_there() -> None:
    first = asyncio.Event()
    mixture, _ = one_layer(*named(a=forever, b=waiting_for(first, "B")), quorum=1, grace=0.05)
    run = asyncio.ensure_future(ask(mixture))
    await asyncio.sleep(0.2)
    assert not run.done(), "without a quorum no grace time runs out"
    first.set()
    result = await asyncio.wait_for(run, NEVER)
    assert (reason_of(result), names(result)) == ("quorum", ["b"])


async def test_failures_do_not_count_as_proposals() -> None:
    mixture, _ = one_layer(*named(a=Closed("no"), b="B", c="C"), quorum=2, grace=30)
    result = await asyncio.wait_for(ask(mixture), NEVER)
    assert (reason_of(result), names(result)) == ("all", ["b", "c"])


async def test_a_layers_deadline_closes_it_with_what_it_has() -> None:
    recipe = Recipe(
        (Layer(named(a=forever, b="B"), deadline=0.1),), Aggregator(ScriptedLLM("the end"))
    )
    result = await asyncio.wait_for(ask(MixtureOfAgents(recipe)), NEVER)
    assert (reason_of(result), names(result)) == ("deadline", ["b"])
    (late,) = result.failures
    assert (late.agent, late.kind) == ("a", FailureKind.TIMEOUT)


async def test_a_layers_deadline_without_a_quorum_is_an_error() -> None:
    recipe = Recipe((Layer(named(a=forever), deadline=0.05),), Aggregator(ScriptedLLM("the end")))
    with pytest.raises(QuorumNotMet, match=r"a.*timeout"):
        await asyncio.wait_for(ask(MixtureOfAgents(recipe)), NEVER)


async def test_the_runs_deadline_keeps_a_part_for_the_aggregator() -> None:
    mixture, _ = one_layer(*named(a=forever, b="B"), deadline=0.6)
    result = await asyncio.wait_for(ask(mixture), NEVER)
    assert result.answer == "the end"
    assert 0.4 <= result.elapsed <= 0.6


async def test_no_proposal_before_the_runs_deadline_is_its_own_error() -> None:
    mixture, _ = one_layer(*named(a=forever), deadline=0.2)
    with pytest.raises(DeadlineExceeded, match="got 0 before the run's deadline"):
        await asyncio.wait_for(ask(mixture), NEVER)


async def test_a_straggler_that_was_being_tried_again_says_what_had_gone_wrong() -> None:
    gone = ConnectionResetError("gone away")
    policy = CallPolicy(backoff=20)
    mixture, _ = one_layer(*named(a=gone, b="B"), quorum=1, grace=0.05, call=policy)
    result = await asyncio.wait_for(ask(mixture), NEVER)
    (straggler,) = result.failures
    assert straggler.kind == FailureKind.STRAGGLER
    assert "before that, connection: ConnectionResetError: gone away" in straggler.message
    assert straggler.attempts == 1


async def test_samples_that_came_count_when_another_of_the_same_proposer_is_late() -> None:
    llm = ScriptedLLM("first", forever, "third", forever, "fifth")
    recipe = Recipe(
        (Layer((Proposer(llm, name="p", samples=5),), quorum=3, grace=0),),
        Aggregator(ScriptedLLM("the end")),
    )
    result = await asyncio.wait_for(ask(MixtureOfAgents(recipe)), NEVER)
    assert names(result) == ["p#1", "p#3", "p#5"]
    assert [failure.agent for failure in result.failures] == ["p#2", "p#4"]


@pytest.mark.parametrize("quorum", [-1, 3])
def test_a_quorum_that_no_layer_can_reach_is_refused(quorum: int) -> None:
    with pytest.raises(RecipeError, match=r"Layer\.quorum"):
        Layer(named(a="A", b="B"), quorum=quorum)


async def test_an_error_of_our_own_code_ends_the_layer_at_once() -> None:
    class Buggy(Caller):
        async def make(self, request: Request, run: RunState, number: int) -> Any:
            if request.agent.name == "b":
                raise AssertionError("a bug")
            return await super().make(request, run, number)

    mixture, _ = one_layer(*named(a=forever, b="never asked"))
    with pytest.raises(AssertionError, match="a bug"):
        await asyncio.wait_for(ask(mixture.with_caller(Buggy(mixture.recipe))), NEVER)


@pytest.mark.parametrize("grace", [None, NEVER])
async def test_a_bug_in_one_call_ends_its_layer_at_once(grace: float | None) -> None:
    class Broken(Caller):
        def make(self, request: Request, run: RunState, number: int) -> Any:
            return bug() if request.agent.name == "bug" else super().make(request, run, number)

    async def bug() -> None:
        raise ZeroDivisionError

    mixture, _ = one_layer(*named(slow=forever, bug="never asked"), quorum=1, grace=grace)
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(ask(mixture.with_caller(Broken(mixture.recipe))), 2)
    assert asyncio.all_tasks() == before
