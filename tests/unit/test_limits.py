"""How much may be sent in a minute: pure counts, on a simulated clock."""

import asyncio
import sqlite3
import threading
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limiting import STEPS
from members import settle

from llama_index.packs.mixture_of_agents.errors import LimiterUnavailable, RecipeError
from llama_index.packs.mixture_of_agents.limits import (
    EndpointLimits,
    Gate,
    Leases,
    Ledger,
    Limiter,
    MemoryLimiter,
    SqliteLimiter,
)
from llama_index.packs.mixture_of_agents.limits._leases import LEASE
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


def test_a_request_of_more_tokens_than_a_minute_allows_counts_as_all_of_them():
    clock = Clock()
    small = limiter(clock, tokens=100)
    assert small.reserve(KEY, 1, 500) == 0.0
    seconds = small.reserve(KEY, 1, 1)
    clock.now += seconds
    assert small.reserve(KEY, 1, 500) == 0.0


def test_several_requests_that_a_minute_never_allows_together_are_refused():
    some = limiter(Clock(), requests=3, tokens=100)
    assert some.reserve(KEY, 4, 0) == MINUTE
    assert some.reserve(KEY, 2, 101) == MINUTE
    assert some.reserve(KEY, 3, 100) == 0.0


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


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
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
            sent += [clock.now + late] * requests
    for end in sent:
        assert sum(end - MINUTE < one <= end for one in sent) <= limit


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
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
    for _ in range(20_000):
        clock.now += 0.05
        some.reserve(KEY, 1, 100)
    assert len(some._windows[KEY].grants) <= (MINUTE + SLACK) / QUANTUM + 2


def test_the_limiters_are_limiters_and_ledgers(tmp_path):
    for one in (limiter(Clock()), SqliteLimiter(tmp_path / "limits.db", {})):
        assert isinstance(one, Limiter)
        assert isinstance(one, Ledger)
    assert isinstance(Leases(limiter(Clock()), {}), Limiter)


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


# --- in a file -----------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS, st.integers(1, 10), st.integers(1, 200), st.integers())
def test_two_limiters_of_one_file_count_as_one_does(tmp_path, steps, requests, tokens, name):
    clock, limits = Clock(), {KEY: EndpointLimits(requests, tokens)}
    ours = MemoryLimiter(limits, clock)
    path = tmp_path / f"{name}.db"
    path.unlink(missing_ok=True)
    two = [SqliteLimiter(path, limits, clock) for _ in range(2)]
    for number, (pause, (what, *values)) in enumerate(steps):
        clock.now += pause
        expected = getattr(ours, what)(KEY, *values)
        assert getattr(two[number % 2], what)(KEY, *values) == expected


def test_money_adds_up_exactly_in_a_file_and_in_a_process(tmp_path):
    path = tmp_path / "limits.db"
    memory = MemoryLimiter({})
    for ledgers in ([memory, memory], [SqliteLimiter(path, {}), SqliteLimiter(path, {})]):
        for ledger in ledgers * 10:
            ledger.spend("a batch", Decimal("0.0000001"))
        assert ledgers[0].spend("a batch", Decimal(0)) == Decimal("0.000002")
        assert ledgers[0].spend("another", Decimal(0)) == 0


def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path):
    (tmp_path / "text.db").write_text("no database" * 100)
    for path in (tmp_path / "text.db", tmp_path / "missing" / "limits.db", tmp_path):
        with pytest.raises(LimiterUnavailable, match=f"{path.name}"):
            SqliteLimiter(path, {}).reserve(KEY, 1, 0)


def test_a_file_that_another_process_locks_too_long_is_an_error_and_works_again_later(tmp_path):
    path = tmp_path / "limits.db"
    limiter = SqliteLimiter(path, {KEY: EndpointLimits(1)}, timeout=0.01)
    assert limiter.reserve(KEY, 1, 0) == 0.0
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LimiterUnavailable, match="locked"):
            limiter.reserve(KEY, 1, 0)
        other.execute("ROLLBACK")
    other.close()
    assert limiter.reserve(KEY, 1, 0) > 0


# --- leases --------------------------------------------------------------------------------------


class Counting:
    """A shared limiter that counts how often it is asked."""

    def __init__(self, limiter: MemoryLimiter) -> None:
        self._limiter, self.asked = limiter, list[tuple[int, int]]()
        self.settled, self.cooled = list[int](), list[float]()
        self.is_reached, self.heard = True, threading.Event()

    def reserve(self, key: str, requests: int, tokens: int) -> float:
        if not self.is_reached:
            raise LimiterUnavailable("the limits are out of reach")
        self.asked.append((requests, tokens))
        return self._limiter.reserve(key, requests, tokens)

    def settle(self, key: str, tokens: int) -> None:
        self.settled.append(tokens)
        self._limiter.settle(key, tokens)

    def cool_down(self, key: str, seconds: float) -> None:
        self.cooled.append(seconds)
        self._limiter.cool_down(key, seconds)
        self.heard.set()


def leases(clock: Clock, requests: int | None = None, tokens: int | None = None):
    shared = Counting(limiter(clock, requests, tokens))
    return shared, Leases(shared, {KEY: EndpointLimits(requests, tokens)}, clock)


def test_a_busy_worker_asks_the_store_rarely():
    clock = Clock()
    shared, mine = leases(clock, requests=60_000)
    for _ in range(1000):
        clock.now += 0.01
        assert mine.reserve(KEY, 1, 100) == 0.0
    assert len(shared.asked) < 150, "the first period asks for each request"
    assert sum(requests for requests, _ in shared.asked) < 1.1 * 1000


def test_a_worker_that_sends_one_request_reserves_one():
    shared, mine = leases(Clock(), requests=60)
    assert mine.reserve(KEY, 1, 500) == 0.0
    assert shared.asked == [(1, 500)]


def test_what_was_reserved_ahead_and_not_used_in_time_is_not_used_later():
    clock = Clock()
    shared, mine = leases(clock, requests=6000)
    while not mine.take(KEY, 1, 0):
        clock.now += LEASE / 10
        mine.reserve(KEY, 1, 0)
    clock.now += LEASE
    assert not mine.take(KEY, 1, 0)
    assert shared.asked[-1][0] > 1


def test_a_worker_takes_the_last_request_of_a_minute_though_it_wanted_more():
    clock = Clock()
    _, mine = leases(clock, requests=100)
    passed = 0
    while not mine.reserve(KEY, 1, 0):
        passed += 1
        clock.now += 0.01
    assert passed == 100


def test_a_store_that_answers_slowly_lets_requests_through_nevertheless():
    clock = Clock()
    limits = {KEY: EndpointLimits(100)}

    class Slow(MemoryLimiter):
        def reserve(self, key: str, requests: int, tokens: int) -> float:
            clock.now += 3 * LEASE
            return super().reserve(key, requests, tokens)

    assert Leases(Slow(limits, clock), limits, clock).reserve(KEY, 1, 0) == 0.0
    assert clock.now == 1000.0 + 3 * LEASE, "asked once"


def test_a_cool_down_drops_what_is_reserved_ahead():
    clock = Clock()
    _, mine = leases(clock, requests=6000)
    while not mine.take(KEY, 1, 0):
        clock.now += LEASE / 10
        mine.reserve(KEY, 1, 0)
    mine.cool_down(KEY, 20.0)
    assert mine.reserve(KEY, 1, 0) == pytest.approx(20.0)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(200, 3000),
    st.lists(
        st.tuples(
            st.integers(0, 2), st.floats(0, 2), st.integers(0, 250), st.floats(0, SLACK - LEASE)
        ),
        max_size=300,
    ),
)
def test_no_minute_sees_more_than_the_limits_whoever_leases(requests, tokens, steps):
    clock, limits = Clock(), {KEY: EndpointLimits(requests, tokens)}
    shared = MemoryLimiter(limits, clock)
    workers = [Leases(shared, limits, lambda ahead=i * 1000: clock.now + ahead) for i in range(3)]
    sent = list[tuple[float, int]]()
    for worker, pause, size, late in steps:
        clock.now += pause
        size = min(size, tokens)  # noqa: PLW2901
        if not workers[worker].reserve(KEY, 1, size):
            sent.append((clock.now + late, size))
    for end, _ in sent:
        minute = [size for when, size in sent if end - MINUTE < when <= end]
        assert len(minute) <= requests
        assert sum(minute) <= tokens


# --- the gate ------------------------------------------------------------------------------------


def gate_to(shared: Limiter, limits: EndpointLimits) -> Gate:
    return Gate(Leases(shared, {KEY: limits}))


async def test_requests_pass_a_gate_in_the_order_of_coming_as_room_appears():
    clock = Clock()
    gate = Gate(limiter(clock, tokens=100))
    order = list[str]()

    async def pass_through(name: str, tokens: int) -> None:
        await gate.enter(KEY, tokens)
        order.append(name)

    await pass_through("first", 100)
    waiting = [asyncio.create_task(pass_through(*one)) for one in (("large", 80), ("small", 20))]
    await settle()
    assert order == ["first"]
    gate.settle(KEY, -50)
    await settle()
    assert order == ["first"], "the small one does not overtake"
    gate.settle(KEY, -50)
    await asyncio.gather(*waiting)
    assert order == ["first", "large", "small"]


async def test_a_line_is_reserved_for_at_once_and_later_requests_need_no_store():
    shared = Counting(MemoryLimiter({KEY: EndpointLimits(6000)}))
    gate = gate_to(shared, EndpointLimits(6000))
    await asyncio.gather(*(gate.enter(KEY, 10) for _ in range(100)))
    assert sum(requests for requests, _ in shared.asked) == 100
    assert len(shared.asked) < 50  # usually 1; the thread may run between two requests


@pytest.mark.parametrize(
    "limits", [EndpointLimits(3), EndpointLimits(tokens_per_minute=30)], ids=["requests", "tokens"]
)
async def test_a_line_longer_than_a_minute_allows_passes_as_far_as_that(limits):
    gate = gate_to(MemoryLimiter({KEY: limits}), limits)
    waiting = [asyncio.create_task(gate.enter(KEY, 10)) for _ in range(7)]
    await asyncio.wait(waiting, timeout=0.3)
    assert [task.done() for task in waiting] == [True] * 3 + [False] * 4
    for task in waiting:
        task.cancel()


async def test_a_request_that_no_longer_waits_gives_its_turn_to_the_next():
    gate = Gate(limiter(Clock(), tokens=100))
    await gate.enter(KEY, 100)
    first, second = (asyncio.create_task(gate.enter(KEY, tokens)) for tokens in (100, 50))
    await settle()
    first.cancel()
    gate.settle(KEY, -50)
    await second
    assert first.cancelled()


async def test_a_store_out_of_reach_lets_nothing_through():
    shared = Counting(MemoryLimiter({}))
    gate = gate_to(shared, EndpointLimits())
    shared.is_reached = False
    outcomes = await asyncio.gather(*(gate.enter(KEY, 1) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LimiterUnavailable] * 3
    shared.is_reached = True
    await gate.enter(KEY, 1)


async def test_a_gate_passes_on_cool_downs_and_corrections_to_the_store():
    shared = Counting(MemoryLimiter({KEY: EndpointLimits(100)}))
    gate = gate_to(shared, EndpointLimits(100))
    await gate.enter(KEY, 10)
    gate.settle(KEY, -4)
    gate.cool_down(KEY, 30.0)
    waiting = asyncio.create_task(gate.enter(KEY, 10))
    assert await asyncio.to_thread(shared.heard.wait, 30)
    await settle()
    assert (shared.settled, shared.cooled) == ([-4], [30.0])
    assert not waiting.done()
    waiting.cancel()


async def test_a_store_that_fails_at_a_correction_lets_the_next_requests_through():
    class Broken(MemoryLimiter):
        def settle(self, key: str, tokens: int) -> None:
            raise RuntimeError(f"no such correction: {key}, {tokens}")

    limits = EndpointLimits(100)
    gate = gate_to(Broken({KEY: limits}), limits)
    await gate.enter(KEY, 10)
    gate.settle(KEY, -4)
    for _ in range(10):
        await asyncio.wait_for(gate.enter(KEY, 10), 10)


async def test_no_thread_is_left_when_nothing_waits():
    before = set(threading.enumerate())
    gate = Gate(limiter(Clock(), requests=1))
    await gate.enter(KEY, 0)
    waiting = [asyncio.create_task(gate.enter(KEY, 0)) for _ in range(3)]
    await settle()
    (thread,) = set(threading.enumerate()) - before
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()


def test_a_gate_serves_several_event_loops_at_once(tmp_path):
    limits = {KEY: EndpointLimits(30)}
    gate = Gate(Leases(SqliteLimiter(tmp_path / "limits.db", limits), limits))
    passed = list[int]()

    async def some() -> None:
        for _ in range(10):
            await gate.enter(KEY, 1)
            passed.append(1)

    threads = [threading.Thread(target=lambda: asyncio.run(some())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 30
    assert SqliteLimiter(tmp_path / "limits.db", limits).reserve(KEY, 1, 0) > 0
