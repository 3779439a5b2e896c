"""When a batch may end: by its questions, and by the rounds of its batches at providers."""

import pytest

from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.batch.forecast import Forecast, rounds_of
from llama_index.packs.mixture_of_agents.batch.outcomes import OpenBatch, Report
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def test_a_mixtures_rounds_are_its_layers_and_its_aggregator():
    members = [ScriptedLLM(model=name) for name in ("a", "b")]
    mixture = MixtureOfAgents(moa(members, ScriptedLLM(), layers=2))
    assert rounds_of(mixture) == (2, 2, 1)
    assert rounds_of(members[0]) == (1,)


@pytest.mark.parametrize(
    ("report", "limit", "left"),
    [
        (Report(100, 0, 25, seconds=10.0), None, 30.0),
        (Report(100, 50, 20, 5, seconds=10.0), None, 10.0),
        (Report(100, 0, 5, seconds=10.0), 10, 10.0),
        (Report(100, 60, 40, seconds=10.0), None, 0.0),
        (Report(100, 0, 0, seconds=10.0), None, None),
        (Report(None, 0, 25, seconds=10.0), None, None),
        (Report(100, 0, 25, seconds=10.0, stopped="too dear"), None, None),
    ],
)
def test_questions_that_are_left_take_as_long_as_those_before(report, limit, left):
    assert Forecast((1,), limit).seconds_left(report, started=0, now=0.0) == left


@pytest.mark.parametrize(
    ("received", "done", "left"),
    [(0, 0, None), (0, 30, 500.0), (60, 0, 200.0), (120, 0, 50.0), (125, 0, 20.0)],
)
def test_each_round_of_batches_counts_the_same_however_many_requests_it_has(received, done, left):
    forecast = Forecast((6, 6, 1), None)
    forecast.received = lambda: received
    batches = [OpenBatch("b", "m", 0.0, done, 60)] if done else []
    report = Report(10, seconds=100.0, batches=batches)
    assert forecast.seconds_left(report, started=10, now=100.0) == pytest.approx(left)


def test_questions_of_later_turns_take_all_rounds():
    forecast = Forecast((1, 1), None)
    forecast.received = lambda: 30
    report = Report(100, answered=10, seconds=60.0)  # and ten more have had their first round
    assert forecast.seconds_left(report, started=20, now=60.0) == pytest.approx(60 * 85 / 15)


def test_the_time_of_batches_that_an_earlier_process_began_counts():
    forecast = Forecast((1, 1), None)
    begun = [OpenBatch("b", "m", 0.0, 5, 10)]
    report = Report(10, seconds=10.0, batches=begun)
    assert forecast.seconds_left(report, started=10, now=100.0) == pytest.approx(300.0)
    forecast.received = lambda: 10
    later = Report(10, seconds=20.0)
    assert forecast.seconds_left(later, started=10, now=110.0) == pytest.approx(110.0)
