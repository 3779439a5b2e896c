"""A batch on a Ray cluster of two nodes on this machine (make ray)."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.batch import run_batch
from llama_index.packs.mixture_of_agents.errors import BatchError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.limits import (
    EndpointLimits,
    Gate,
    Leases,
    RayLimiter,
    connect,
)
from llama_index.packs.mixture_of_agents.simulation import failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray refuses its own settings
]
QUESTIONS = int(os.environ.get("RAY_QUESTIONS", "120"))
KEY = "simulated-key"
ON_RAY = {"engine": "ray"}


@pytest.fixture(scope="module")
def cluster():
    """A head without workers, so that a node that is lost is never the driver's, and two nodes."""
    before = dict(os.environ)
    os.environ |= {
        "OPENAI_API_KEY": KEY,
        "MISTRAL_API_KEY": KEY,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray then stays on the loopback address
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # by default all else goes before Ray's workers
    }
    ray, utils = import_module("ray"), import_module("ray.cluster_utils")

    noticed = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    made = utils.Cluster(
        initialize_head=True, head_node_args=_node(num_cpus=0, _system_config=noticed)
    )
    made.add_node(**_node())
    made.add_node(**_node())
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no tests
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ |= before


def _node(num_cpus=2, **more):
    return {
        "num_cpus": num_cpus, "node_ip_address": "127.0.0.1", "object_store_memory": 100 * 2**20, **more
    }  # fmt: skip


def of_seven(providers) -> MixtureOfAgents:
    """Six proposers in two layers, and an aggregator: 13 calls."""
    names = ("gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o-mini", "gpt-4o", "gpt-4.1")
    proposers = [*map(providers.openai, names), providers.mistral()]
    return MixtureOfAgents(llm=providers.openai("gpt-4.1"), proposers=proposers, num_layers=2)


def of_two(providers) -> MixtureOfAgents:
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral()]
    return MixtureOfAgents(llm=providers.openai("gpt-4.1"), proposers=proposers, num_layers=1)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(path: Path) -> dict[str, dict]:
    """The rows by id, without what differs from one run to the next."""
    found = rows(path)
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: {**row, "seconds": 0} for row in found}


def test_the_answers_are_those_of_one_process(cluster, providers, tmp_path):
    asked = [
        {"id": f"q{number}", "question": f"What is {number} + 1?", "level": number}
        for number in range(40)
    ]
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    run_batch(of_two(providers), asked, here)
    report = run_batch(of_two(providers), asked, there, workers=2, **ON_RAY)
    assert (report.answered, report.failed, report.stopped) == (40, 0, "")
    assert answers(there) == answers(here)


@pytest.mark.timeout(max(240, QUESTIONS))
def test_a_lost_node_costs_no_answer_and_doubles_none(cluster, providers, tmp_path):
    asked = [f"What is {number} + 1?" for number in range(QUESTIONS)]
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    run_batch(of_seven(providers), asked, here, in_flight=32)
    lost = cluster.add_node(**_node())
    begun = []

    def watch(report):
        if report.answered > QUESTIONS // 4 and not begun:
            begun.append(cluster.remove_node(lost, allow_graceful=False))

    report = run_batch(of_seven(providers), asked, there, watch=watch, workers=6, **ON_RAY)
    assert (report.answered, report.failed, report.stopped) == (QUESTIONS, 0, "")
    assert begun
    assert answers(there) == answers(here)


def test_parquet_in_and_out(cluster, providers, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": ["a", "b"], "question": ["What is 1 + 1?", "What is 2 + 1?"]})
    pq.write_table(table, tmp_path / "questions.parquet")
    out = tmp_path / "answers.parquet"
    run_batch(of_two(providers), tmp_path / "questions.parquet", out, workers=1, **ON_RAY)
    assert sorted(pq.read_table(out)["id"].to_pylist()) == ["a", "b"]


def test_a_batch_goes_on_with_a_cluster_and_without(cluster, providers, tmp_path):
    asked, out = [f"What is {number} + 1?" for number in range(30)], tmp_path / "answers.jsonl"
    run_batch(of_two(providers), asked, out, limit=10)
    with_ray = run_batch(of_two(providers), asked, out, limit=10, workers=1, **ON_RAY)
    last = run_batch(of_two(providers), asked, out)
    assert (with_ray.skipped, with_ray.answered) == (10, 10)
    assert (last.skipped, last.answered) == (20, 10)
    assert len(providers.log("gpt-4.1")) == len(answers(out)) == 30


def test_failures_in_a_row_stop_all_workers(cluster, providers, tmp_path):
    providers.configure("*", chances=[(failure(401), 1.0)])
    asked = [f"What is {number} + 1?" for number in range(1_000)]
    report = run_batch(of_two(providers), asked, tmp_path / "answers.jsonl", workers=2, **ON_RAY)
    assert report.stopped.startswith("20 questions failed one after the other")
    assert report.answered == 0
    assert report.failed < 600  # those in flight, and those that are handed over


def test_a_bound_in_dollars_holds_for_all_workers(cluster, providers, tmp_path):
    providers.configure("*", reply="An answer.", input_tokens=10, output_tokens=200)
    llm = providers.openai("gpt-4.1", max_tokens=200)
    report = run_batch(
        llm, [f"What is {number} + 1?" for number in range(100)], tmp_path / "answers.jsonl",
        max_cost=0.04, prices={"gpt-4.1": (2.0, 8.0)}, workers=2, **ON_RAY,
    )  # fmt: skip
    assert Decimal("0.036") < report.cost.at_least <= Decimal("0.04")
    assert "is left" in report.stopped


def test_what_cannot_be_sent_to_workers_is_refused(tmp_path):
    class Bound(ScriptedLLM):
        def __reduce__(self):
            raise TypeError("it holds a connection")

    unsendable = Bound("fine")  # pyright: ignore[reportCallIssue]
    with pytest.raises(BatchError, match="cannot be sent to the workers of a cluster"):
        run_batch(unsendable, ["Why?"], tmp_path / "answers.jsonl", **ON_RAY)


def test_a_node_without_keys_is_told_before_anything_is_asked(cluster, providers, tmp_path):
    bare = cluster.add_node(**_node(env_vars={"OPENAI_API_KEY": ""}))
    try:
        with pytest.raises(BatchError, match=r"has no key for gpt-4.1, gpt-4.1-mini; set it in"):
            run_batch(of_two(providers), ["Why?"], tmp_path / "answers.jsonl", **ON_RAY)
    finally:
        cluster.remove_node(bare)
    assert not providers.log()


ENDPOINT = "openai gpt-4.1"
A_MINUTE = {ENDPOINT: EndpointLimits(requests_per_minute=60)}


def sends(limiter: RayLimiter, base: str, requests: int) -> None:
    """Send requests as fast as the limits allow; run by a worker."""

    async def all_of_them() -> None:
        gate, llm = Gate(Leases(limiter, A_MINUTE)), OpenAI("gpt-4.1", api_key=KEY, api_base=base)
        await llm.acomplete("Why?", model="gpt-4.1-mini")  # making a client may take a second
        for _ in range(requests):
            await gate.enter(ENDPOINT, 10)
            await llm.acomplete("Why?")

    asyncio.run(all_of_them())


def test_four_workers_together_never_exceed_a_limit(cluster, providers):
    ray, limiter = import_module("ray"), RayLimiter(A_MINUTE, "four workers")
    send = ray.remote(num_cpus=1)(sends)
    ray.get([send.remote(limiter, providers.openai_base, 20) for _ in range(4)])
    times = [record.arrived for record in providers.log("gpt-4.1")]
    assert len(times) == 80
    assert all(later - one >= 60 for one, later in zip(times, times[60:], strict=False))


def test_one_workers_retry_after_stops_all(cluster, providers):
    ray, limiter = import_module("ray"), connect("ray:retry after", {})
    ask = ray.remote(num_cpus=1)(lambda other: other.reserve(ENDPOINT, 1, 10))
    assert ray.get([ask.remote(limiter) for _ in range(4)]) == [0.0] * 4
    ray.get(ray.remote(lambda other: other.cool_down(ENDPOINT, 3_000)).remote(limiter))
    assert all(2_900 < wait <= 3_000 for wait in ray.get([ask.remote(limiter) for _ in range(4)]))
    assert limiter.reserve("openai gpt-4.1-mini", 1, 10) == 0.0


def test_money_of_several_workers_adds_up(cluster):
    ray, limiter = import_module("ray"), RayLimiter({}, "money")
    spend = ray.remote(lambda other: other.spend("batch", Decimal("0.1")))
    ray.get([spend.remote(limiter) for _ in range(10)])
    assert limiter.spend("batch", Decimal(0)) == 1


def test_a_limiter_whose_node_is_lost_lets_nothing_through_for_a_minute(cluster):
    ray, limiter = import_module("ray"), RayLimiter({}, "lost")
    assert limiter.reserve(ENDPOINT, 1, 0) == 0.0
    ray.kill(ray.get_actor("lost", namespace="mixture-of-agents"), no_restart=False)
    wait = 0.0
    while not wait:  # until it is dead, and started again
        with suppress(LimiterUnavailable):
            wait = limiter.reserve(ENDPOINT, 1, 0)
    assert 30 < wait <= 61
