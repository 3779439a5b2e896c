"""Limits in a Redis server, which really runs (make redis)."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from asking import ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limiting import STEPS
from redis_server import running_redis

from llama_index.packs.mixture_of_agents import MixtureOfAgents, Proposer, moa
from llama_index.packs.mixture_of_agents.errors import ConfigError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.limits import (
    EndpointLimits,
    Leases,
    Ledger,
    Limiter,
    MemoryLimiter,
    RedisLimiter,
)
from llama_index.packs.mixture_of_agents.limits._window import MINUTE, QUANTUM, SLACK
from llama_index.packs.mixture_of_agents.policies import Limits
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

pytestmark = pytest.mark.redis
KEY = "openai:gpt-4.1-mini"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis(server: str) -> str:
    """The URL of a server that holds nothing."""
    import redis

    redis.Redis.from_url(server).flushall()
    return server


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS, st.none() | st.integers(1, 10), st.none() | st.integers(1, 200))
def test_the_script_counts_as_the_limiter_of_a_process_does(
    redis: str, steps: Any, requests: int | None, tokens: int | None
) -> None:
    import redis as client

    client.Redis.from_url(redis).flushall()
    now, limits = 1000.0, {KEY: EndpointLimits(requests, tokens)}
    theirs, ours = RedisLimiter(redis, limits, lambda: now), MemoryLimiter(limits, lambda: now)
    for pause, (what, *values) in steps:
        now += pause
        expected = getattr(ours, what)(KEY, *values)
        assert getattr(theirs, what)(KEY, *values) == pytest.approx(expected, abs=1e-5)


def test_workers_whose_clocks_differ_by_hours_keep_one_limit(redis: str) -> None:
    limits = {KEY: EndpointLimits(40)}
    workers = [
        Leases(
            RedisLimiter(redis, limits), limits, lambda hours=hours: time.monotonic() + hours * 3600
        )
        for hours in (-5, 0, 12)
    ]
    passed = sum(not worker.reserve(KEY, 1, 0) for _ in range(20) for worker in workers)
    assert passed == 40
    for worker in workers:
        assert MINUTE / 2 < worker.reserve(KEY, 1, 0) <= MINUTE + SLACK + QUANTUM


def test_the_time_of_a_reservation_is_the_servers(redis: str) -> None:
    import redis as client

    limiter = RedisLimiter(redis, {KEY: EndpointLimits(1)})
    seconds, micro = client.Redis.from_url(redis).time()  # type: ignore[misc]
    assert limiter.reserve(KEY, 1, 0) == 0.0
    wait = limiter.reserve(KEY, 1, 0)
    state: Any
    (state,) = client.Redis.from_url(redis).mget(f"mixture-of-agents:window:{KEY}")  # type: ignore[misc]
    quantum = int(state.split()[1])
    assert quantum * QUANTUM == pytest.approx(seconds + micro / 1e6, abs=5)
    assert wait <= MINUTE + SLACK + QUANTUM


def test_one_workers_cool_down_stops_all_and_ends(redis: str) -> None:
    limits = {KEY: EndpointLimits(100)}
    one, other = (Leases(RedisLimiter(redis, limits), limits) for _ in range(2))
    one.cool_down(KEY, 30.0)
    assert 29 < other.reserve(KEY, 1, 0) <= 30
    assert other.reserve("another", 1, 0) == 0.0


def test_what_no_longer_counts_leaves_the_server(redis: str) -> None:
    import redis as client

    limiter = RedisLimiter(redis, {})
    limiter.reserve(KEY, 1, 1)
    limiter.cool_down("cooling", 300.0)
    server = client.Redis.from_url(redis)
    assert 60 <= server.ttl(f"mixture-of-agents:window:{KEY}") <= 63  # type: ignore[operator]
    assert 298 <= server.ttl("mixture-of-agents:window:cooling") <= 302  # type: ignore[operator]


def test_money_of_several_workers_adds_up_exactly(redis: str) -> None:
    workers = [RedisLimiter(redis, {}) for _ in range(3)]
    for worker in workers * 10:
        worker.spend("a batch", Decimal("0.0000001"))
    assert workers[0].spend("a batch", Decimal(0)) == Decimal("0.000003")
    assert workers[0].spend("another", Decimal(1)) == 1


def test_a_server_out_of_reach_is_an_error_that_names_it_without_its_password(server: str) -> None:
    port = server.rpartition(":")[2].partition("/")[0]
    limiter = RedisLimiter(f"redis://me:{'secret'}@127.0.0.1:{port}/0", {})
    with pytest.raises(LimiterUnavailable, match=f"Redis at 127.0.0.1:{port} cannot") as caught:
        limiter.reserve(KEY, 1, 0)
    assert "secret" not in str(caught.value)
    with pytest.raises(LimiterUnavailable, match=r"127.0.0.1:1 cannot"):
        RedisLimiter("redis://127.0.0.1:1/0", {}).spend("a batch", Decimal(0))


def test_a_url_that_makes_no_sense_is_an_error_at_once() -> None:
    with pytest.raises(ConfigError, match=r"limits in Redis"):
        RedisLimiter("http://127.0.0.1:6379", {})


def test_the_limiter_in_redis_is_a_limiter_and_a_ledger(redis: str) -> None:
    assert isinstance(RedisLimiter(redis, {}), Limiter)
    assert isinstance(RedisLimiter(redis, {}), Ledger)


async def test_a_mixture_keeps_to_a_limit_in_redis(
    redis: str, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMITS_OF_THE_TEST", redis)
    limits = Limits(endpoints={"openai": EndpointLimits(3)}, store="$LIMITS_OF_THE_TEST")
    proposers = [Proposer(providers.openai("gpt-4.1"), name=f"p{i}") for i in range(5)]
    recipe = moa(proposers, None, layers=1, limits=limits, quorum=3, grace=0.0)
    result = await ask(MixtureOfAgents(recipe))
    assert len(result.failures) == 2
    assert len(providers.log()) == 3
    assert RedisLimiter(redis, limits.endpoints).reserve("openai", 1, 0) > 0
