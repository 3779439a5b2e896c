"""Batches that share an account keep to one bound together."""

from decimal import Decimal

import pytest

from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
from llama_index.packs.mixture_of_agents.batch import arun_batch, run_batch
from llama_index.packs.mixture_of_agents.errors import BatchError, LimiterUnavailable
from llama_index.packs.mixture_of_agents.limits import MemoryLimiter, SqliteLimiter
from llama_index.packs.mixture_of_agents.policies import EndpointLimits, Limits
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"scripted": (1.0, 2.0)}
TEXTS = [f"question {number}" for number in range(100)]


def echo(messages):
    return "an answer of five words"


def settings(ledger=None, **more):
    return {"account": "nightly", "ledger": ledger, "prices": PRICES, "in_flight": 2, **more}


class Unreliable(MemoryLimiter):
    """A ledger that can be reached only a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__({})
        self.times = times

    def spend(self, account: str, usd: Decimal) -> Decimal:
        if self.times <= 0:
            raise LimiterUnavailable("the ledger is out of reach")
        self.times -= 1
        return super().spend(account, usd)


def cost_of_one(tmp_path):
    report = run_batch(ScriptedLLM(echo), TEXTS[:1], tmp_path / "one.jsonl", prices=PRICES)
    return report.spent.at_least


def test_what_one_batch_spent_is_not_there_for_the_next(tmp_path):
    one, ledger = cost_of_one(tmp_path), MemoryLimiter({})
    bound = float(one * 10)
    first = run_batch(
        ScriptedLLM(echo), TEXTS[:6], tmp_path / "a.jsonl", max_cost=bound, **settings(ledger)
    )
    second = run_batch(
        ScriptedLLM(echo), TEXTS, tmp_path / "b.jsonl", max_cost=bound, **settings(ledger)
    )
    assert (first.answered, first.stopped) == (6, "")
    assert second.answered == 4
    assert "is left" in second.stopped
    assert ledger.spend("nightly", Decimal(0)) == one * 10
    other = settings(ledger) | {"account": "another"}
    report = run_batch(ScriptedLLM(echo), TEXTS[:10], tmp_path / "c.jsonl", max_cost=bound, **other)
    assert report.answered == 10


def test_a_mixtures_account_is_in_the_store_of_its_limits(tmp_path):
    store = f"sqlite:{tmp_path / 'limits.db'}"
    recipe = moa([ScriptedLLM(echo)], None, layers=1, prices=PRICES, limits=Limits(store=store))
    report = run_batch(
        MixtureOfAgents(recipe), TEXTS[:3], tmp_path / "answers.jsonl", account="nightly"
    )
    ledger = SqliteLimiter(tmp_path / "limits.db", {})
    assert ledger.spend("nightly", Decimal(0)) == report.spent.at_least > 0


def test_an_account_that_nobody_can_share_is_refused(tmp_path):
    for llm in (ScriptedLLM(echo), MixtureOfAgents(moa([ScriptedLLM(echo)], None, layers=1))):
        with pytest.raises(BatchError, match=r"account = 'nightly': nothing is shared.*sqlite"):
            run_batch(llm, TEXTS, tmp_path / "answers.jsonl", account="nightly")


async def test_a_ledger_out_of_reach_stops_the_batch_and_says_so(tmp_path):
    for times, most in ((0, 0), (5, 7)):
        llm, ledger = ScriptedLLM(echo), Unreliable(times)
        with pytest.raises(
            BatchError, match=r"account 'nightly' lacks .* the ledger is out of reach"
        ):
            await arun_batch(
                llm, TEXTS, tmp_path / f"{times}.jsonl", max_cost=1, **settings(ledger)
            )
        assert len(llm.asked) <= most


async def test_a_batch_whose_limits_are_out_of_reach_stops_at_once_and_says_so(tmp_path):
    llm = ScriptedLLM(echo)
    endpoints = {"scripted": EndpointLimits(requests_per_minute=100)}
    limits = Limits(endpoints=endpoints, store=f"sqlite:{tmp_path / 'no folder' / 'limits.db'}")
    mixture = MixtureOfAgents(moa([llm], None, layers=1, limits=limits))
    out = tmp_path / "answers.jsonl"
    report = await arun_batch(mixture, TEXTS, out, in_flight=3, max_failures=0)
    assert "no folder" in report.stopped
    assert not report.answered
    assert not llm.asked
    assert report.failed <= 4
