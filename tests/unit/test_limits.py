import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_index.packs.mixture_of_agents.errors import RecipeError
from llama_index.packs.mixture_of_agents.limits import EndpointLimits, Limiter, MemoryLimiter
from llama_index.packs.mixture_of_agents.limits._window import MINUTE, QUANTUM, SLACK

KEY = "openai:gpt-4.1-mini"
A_BIT = QUANTUM / 100


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock, requests: int | None = None, tokens: int | None = None) -> MemoryLimiter:
    return MemoryLimiter({KEY: EndpointLimits(requests, tokens)}, clock)


def test_what_fits_is_reserved_at_once_and_the_next_waits_until_a_minute_has_passed():
    clock = Clock()
    three = limiter(clock, requests=3)
    assert [three.reserve(KEY, 1, 0) for _ in range(3)] == [0.0, 0.0, 0.0]
    seconds = three.reserve(KEY, 1, 0)
    assert MINUTE + SLACK <= seconds <= MINUTE + SLACK + QUANTUM
    clock.now += seconds - A_BIT
    assert three.reserve(KEY, 1, 0) == pytest.approx(A_BIT)
    clock.now += A_BIT
    assert three.reserve(KEY, 1, 0) == 0.0


def test_what_is_refused_is_not_counted():
    clock = Clock()
    some = limiter(clock, requests=10, tokens=100)
    assert some.reserve(KEY, 1, 90) == 0.0
    assert some.reserve(KEY, 1, 20) > 0
    assert some.reserve(KEY, 9, 10) == 0.0


def test_endpoints_are_counted_apart_and_one_without_limits_has_none():
    one = limiter(Clock(), requests=1)
    assert one.reserve(KEY, 1, 0) == 0.0
    assert [one.reserve("another", 1000, 10**9) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_more_than_a_minute_allows_counts_as_all_of_it():
    clock = Clock()
    small = limiter(clock, tokens=100)
    assert small.reserve(KEY, 1, 500) == 0.0
    seconds = small.reserve(KEY, 1, 1)
    clock.now += seconds
    assert small.reserve(KEY, 1, 500) == 0.0


def test_tokens_that_were_not_used_are_free_again_and_those_beyond_count():
    some = limiter(Clock(), tokens=100)
    assert some.reserve(KEY, 1, 100) == 0.0
    some.settle(KEY, -60)
    assert some.reserve(KEY, 1, 61) > 0
    assert some.reserve(KEY, 1, 60) == 0.0
    some.settle(KEY, -60)
    some.settle(KEY, 50)
    assert some.reserve(KEY, 1, 11) > 0
    assert some.reserve(KEY, 1, 10) == 0.0


def test_a_cool_down_stops_an_endpoint_alone_and_a_shorter_one_does_not_end_it():
    clock = Clock()
    some = limiter(clock, requests=100)
    some.cool_down(KEY, 30.0)
    some.cool_down(KEY, 5.0)
    assert some.reserve(KEY, 1, 0) == 30.0
    assert some.reserve("another", 1, 0) == 0.0
    clock.now += 30.0
    assert some.reserve(KEY, 1, 0) == 0.0


def test_a_clock_that_is_set_back_frees_nothing_and_blocks_for_a_minute_at_most():
    clock = Clock(5000.0)
    one = limiter(clock, requests=1)
    assert one.reserve(KEY, 1, 0) == 0.0
    clock.now -= 3600
    seconds = one.reserve(KEY, 1, 0)
    assert MINUTE <= seconds <= MINUTE + SLACK + QUANTUM
    clock.now += seconds
    assert one.reserve(KEY, 1, 0) == 0.0


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3), st.floats(0, SLACK)), max_size=200),
)
def test_no_minute_sees_more_requests_than_the_limit(limit, steps):
    clock = Clock()
    some = limiter(clock, requests=limit)
    sent = list[float]()
    for pause, requests, late in steps:
        clock.now += pause
        if some.reserve(KEY, requests, 0) == 0.0:
            sent += [clock.now + late] * min(requests, limit)
    for end in sent:
        assert sum(end - MINUTE < one <= end for one in sent) <= limit


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 60), st.floats(0, 1), st.floats(0, 50)),
        max_size=60,
    )
)
def test_no_minute_uses_more_tokens_than_the_limit_though_unused_ones_come_back(steps):
    clock = Clock()
    some = limiter(clock, tokens=100)
    used = list[tuple[float, int]]()
    due = list[tuple[float, int]]()  # when a request settles, and what it gives back
    for pause, tokens, share, seconds in steps:
        until = clock.now + pause
        for when, back in sorted(one for one in due if one[0] <= until):
            clock.now = when
            some.settle(KEY, -back)
        due = [one for one in due if one[0] > until]
        clock.now = until
        if some.reserve(KEY, 1, tokens) == 0.0:
            used.append((clock.now, round(tokens * share)))
            due.append((clock.now + seconds, tokens - round(tokens * share)))
    for end, _ in used:
        assert sum(tokens for when, tokens in used if end - MINUTE < when <= end) <= 100


def test_a_busy_minute_takes_little_room():
    clock = Clock()
    some = limiter(clock, requests=10**6, tokens=10**9)
    for _ in range(100_000):
        clock.now += 0.01
        some.reserve(KEY, 1, 100)
    assert len(some._windows[KEY].grants) <= (MINUTE + SLACK) / QUANTUM + 2


def test_the_limiter_of_a_process_is_a_limiter():
    assert isinstance(limiter(Clock()), Limiter)


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_minute": 0},
        {"tokens_per_minute": 1.5},
        {"in_flight": 0},
        {"in_flight": "all"},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(RecipeError, match=f"EndpointLimits.{next(iter(wrong))}"):
        EndpointLimits(**wrong)
