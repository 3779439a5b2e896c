"""The table of a run: seconds that can be compared, and the mark at the call that slowest of its layer."""

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.display.rows import footnotes, held_up, rows
from llama_index.packs.mixture_of_agents.errors import Failure, FailureKind
from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    Event,
    LayerFinished,
    LayerStarted,
    Proposal,
    Role,
    RunFinished,
    RunStarted,
)

START = RunStarted("r", 0.0, "Why?", (("a", "b", "c"),), "boss")
LAYER = LayerStarted(1, ("a", "b", "c"), 1.0)


def call(
    number: int,
    agent: str,
    started: float,
    ended: float,
    kind: FailureKind | None = None,
    role: Role = "proposer",
) -> CallFinished:
    layer = 2 if role == "aggregator" else 1
    failure = Failure(agent, agent, layer, kind, "no") if kind else None
    proposals = () if kind else (Proposal(agent, agent, "yes"),)
    return CallFinished(
        number, layer, agent, role, agent, "sim", started, ended, proposals, failure
    )


def run(*events: Event) -> MixtureResult:
    return MixtureResult((START, LAYER, *events))


def marked(result: MixtureResult) -> list[str]:
    return [row.agent for row in rows(result) if row.critical]


def test_the_mark_stands_at_the_call_that_ended_last_though_another_took_longer() -> None:
    result = run(call(1, "a", 1.0, 3.0), call(2, "b", 2.5, 3.5), call(3, "c", 1.0, 2.0))
    assert marked(result) == ["b"]


def test_seconds_of_proposers_are_counted_from_their_layers_start() -> None:
    result = run(call(1, "a", 1.0, 3.0), call(2, "b", 2.5, 3.5), call(3, "c", 1.0, 2.0))
    assert [row.seconds for row in rows(result)][:3] == ["2.00", "2.50", "1.00"]


def test_an_aggregators_seconds_are_its_own_and_it_is_never_marked() -> None:
    result = run(call(1, "a", 1.0, 3.0), call(2, "boss", 3.0, 9.0, role="aggregator"))
    assert marked(result) == ["a"]
    assert [row.seconds for row in rows(result)][:2] == ["2.00", "6.00"]
    assert [one.agent for one in held_up(result)] == ["a"]


def test_a_straggler_that_was_cancelled_is_never_marked() -> None:
    late = call(2, "b", 1.0, 4.0, FailureKind.STRAGGLER)
    grace = run(call(1, "a", 1.0, 3.0), late, LayerFinished(1, (), "quorum", 4.0))
    assert marked(grace) == ["a"]
    alone = run(late)
    assert marked(alone) == []


def test_a_call_that_was_cancelled_with_its_run_is_never_marked() -> None:
    cancelled = call(2, "b", 1.0, 4.0, FailureKind.CANCELLED)
    assert marked(run(call(1, "a", 1.0, 3.0), cancelled)) == ["a"]


def test_a_call_that_the_layers_deadline_ended_is_marked() -> None:
    late = call(2, "b", 1.0, 4.0, FailureKind.TIMEOUT)
    assert marked(run(call(1, "a", 1.0, 3.0), late)) == ["b"]


def test_a_judge_that_ends_after_the_proposers_is_marked_with_its_own_seconds() -> None:
    judged = run(call(1, "a", 1.0, 3.0), call(2, "judge", 3.0, 4.0, role="judge"))
    assert marked(judged) == ["judge"]
    assert [row.seconds for row in rows(judged)][:2] == ["2.00", "1.00"]


def test_the_mark_is_explained_only_where_it_stands() -> None:
    explained = "* the slowest call of its layer."
    assert explained in footnotes(run(call(1, "a", 1.0, 3.0)))
    answered = RunFinished(9.0, ChatMessage(role="assistant", content="yes"), "boss")
    alone = MixtureResult((START, call(1, "boss", 3.0, 9.0, role="aggregator"), answered))
    assert explained not in footnotes(alone)
