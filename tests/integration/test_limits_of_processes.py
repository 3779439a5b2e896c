"""One limit for several processes, which really run."""

from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path

import pytest
from limited_workers import most_in_a_minute, sent_by
from spending_workers import spent_by

from llama_index.packs.mixture_of_agents.limits import EndpointLimits, SqliteLimiter

pytestmark = pytest.mark.timeout(300)  # eight processes on any machine


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
