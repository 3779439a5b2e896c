"""One limit for several processes, which really run."""

import os
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import httpx
import pytest
from limited_workers import most_in_a_minute, sent_by
from programs import start_python
from serving import MODULE, serving
from spending_workers import spent_by
from wire import BODY

from llama_index.packs.mixture_of_agents.limits import EndpointLimits, SqliteLimiter
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # eight processes on any machine


def test_eight_processes_never_exceed_a_limit_of_requests_and_use_97_percent_of_it(
    tmp_path: Path,
) -> None:
    sent = sent_by(8, tmp_path / "limits.db", EndpointLimits(1500), seconds=600, wanted=5)
    assert most_in_a_minute([(when, 1) for when, _ in sent]) <= 1500
    assert len(sent) >= 0.97 * 10 * 1500


def test_eight_processes_never_exceed_a_limit_of_tokens_and_use_97_percent_of_it(
    tmp_path: Path,
) -> None:
    limits = EndpointLimits(tokens_per_minute=100_000)
    sent = sent_by(8, tmp_path / "limits.db", limits, seconds=600, wanted=5)
    assert most_in_a_minute(sent) <= 100_000
    assert sum(tokens for _, tokens in sent) >= 0.97 * 10 * 100_000


def spend(path: Path, times: int) -> None:
    ledger = SqliteLimiter(path, {}, timeout=60)
    for _ in range(times):
        ledger.spend("a batch", Decimal("0.0000001"))


def test_no_process_loses_what_another_one_spent(tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    workers = [get_context("fork").Process(target=spend, args=(path, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert SqliteLimiter(path, {}).spend("a batch", Decimal(0)) == Decimal("0.00002")


def test_batches_of_several_processes_keep_to_one_bound_within_what_is_in_flight(
    tmp_path: Path,
) -> None:
    outcomes = spent_by(3, tmp_path, max_cost=0.01)
    total = SqliteLimiter(tmp_path / "limits.db", {}).spend("nightly", Decimal(0))
    assert total == sum(spent for spent, _ in outcomes)
    one = Decimal("0.00004")  # more than an answer costs
    assert Decimal("0.01") - one <= total <= Decimal("0.01") + 3 * 4 * one
    assert all(stopped.startswith("the next question") for _, stopped in outcomes)


FILE = """
recipe = "moa_lite"
proposers = ["openai:gpt-4.1-mini"]
aggregator = "openai:gpt-4.1"
[limits]
store = "sqlite:limits.db"
[limits.endpoints.openai]
requests_per_minute = 21
"""


def test_two_batches_and_a_server_keep_one_limit(
    tmp_path: Path, providers: SimulatedProviders
) -> None:
    store, config, asked = (
        tmp_path / "limits.db",
        tmp_path / "moa.toml",
        {**BODY, "model": "moa_lite"},
    )
    config.write_text(FILE.replace("limits.db", store.as_posix()))
    (tmp_path / "questions.txt").write_text("\n".join(f"Why {number}?" for number in range(20)))
    with serving(providers, models=("-c", str(config))) as (_, _, curl):
        assert httpx.post(curl[1], json=asked, timeout=60).status_code == 200  # two requests
        batches = [
            start_python(
                "-m", MODULE, "batch", "questions.txt", "--out", f"{name}.jsonl", "-c", str(config),
                folder=folder_of(tmp_path / name), cwd=tmp_path,
                env={**os.environ, **providers.environment, "HOME": str(tmp_path)},
            )
            for name in ("one", "other")
        ]  # fmt: skip
        providers.wait_for("*", timeout=120, arrived=21)
        limiter = SqliteLimiter(store, {"openai": EndpointLimits(21)})
        assert limiter.reserve("openai", 1, 0) > 30
        for batch in batches:
            batch.terminate()
            batch.join()
    assert providers.counts().arrived == 21


def folder_of(path: Path) -> Path:
    path.mkdir()
    return path
