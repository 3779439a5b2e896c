"""How many requests an endpoint takes at once, found on a simulated clock."""

import pytest
from hidden_limit import Fixed, served

from llama_index.packs.mixture_of_agents.limits import Adaptive

pytestmark = pytest.mark.slow
MINUTE = 60.0
AT_ONCE = [3, 10, 40, 150]


@pytest.mark.parametrize("places", AT_ONCE)
@pytest.mark.parametrize(("latency", "spread"), [(0.5, 0.1), (2.0, 0.3), (1.0, 0.5)])
def test_against_a_provider_that_refuses_it_is_within_10_percent_after_a_minute(
    places, latency, spread
):
    found, best = (
        served(policy, places, 3 * MINUTE, queues=False, latency=latency, spread=spread)
        for policy in (Adaptive(), Fixed(places))
    )
    then = MINUTE, 3 * MINUTE
    assert found.per_second(*then) >= 0.9 * best.per_second(*then)
    assert 0.9 * places <= found.mean_limit(MINUTE) <= 1.1 * places
    assert found.refused < 0.02


@pytest.mark.parametrize("places", AT_ONCE)
def test_against_a_provider_with_a_queue_it_is_as_fast_and_its_line_stays_short(places):
    found = served(Adaptive(), places, 3 * MINUTE, queues=True)
    best = served(Fixed(places), places, 3 * MINUTE, queues=True)
    then = MINUTE, 3 * MINUTE
    assert found.per_second(*then) >= 0.9 * best.per_second(*then)
    assert found.mean_limit(MINUTE) <= 2 * places + 15, "the line at the provider stays short"


def test_it_grows_while_it_goes_well_and_only_while_its_limit_is_what_holds_requests_up():
    idle, busy = Adaptive(), Adaptive()
    for _ in range(100):
        idle.answered(idle.sent(), 1.0, in_flight=2)
        busy.answered(busy.sent(), 1.0, in_flight=busy.limit)
    assert idle.limit == 4
    assert busy.limit > 20


def test_it_never_falls_below_one_and_comes_back():
    one = Adaptive()
    for _ in range(100):
        one.refused()
    assert one.limit == 1
    for _ in range(2000):
        one.answered(one.sent(), 1.0, in_flight=one.limit)
    assert one.limit > 10


def test_answers_of_different_lengths_do_not_shrink_it():
    outcome = served(Adaptive(), 300, MINUTE, queues=False, spread=0.7)
    assert outcome.limits[-1][1] >= 200
