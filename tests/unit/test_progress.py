"""What ``moa batch`` says while it runs."""

from datetime import datetime
from decimal import Decimal

import pytest

from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.batch.outcomes import OpenBatch, Report
from llama_index.packs.mixture_of_agents.cli.progress import Progress, end_words
from llama_index.packs.mixture_of_agents.pricing import Cost
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

NOW = datetime.fromisoformat("2026-03-01T18:30")
RECIPE = moa([ScriptedLLM()], ScriptedLLM(), layers=1)


def batch(model: str, minutes: float, done: int) -> OpenBatch:
    return OpenBatch("b", model, NOW.timestamp() - 60 * minutes, done, 5_000)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (600.0, "ends about 18:40"),
        (20_000.0, "ends about 2 Mar 00:03"),
        (None, ""),
        (0.0, ""),
        (1e300, ""),
    ],
)
def test_the_end_is_a_time_of_day_or_a_date(seconds, words):
    assert end_words(seconds, NOW) == words


def test_without_a_terminal_there_is_a_line_a_minute(capsys):
    seconds = iter([0.0, 30.0, 61.0, 90.0, 120.0, 130.0])
    progress = Progress("questions.txt", RECIPE, clock=lambda: next(seconds), now=lambda: NOW)
    report = Report(answered=3, failed=1, spent=Cost(Decimal("0.41")), seconds_left=600.0)
    for _ in range(4):
        progress(report)
    assert capsys.readouterr().err.splitlines() == [
        "4 questions done, 1 failed, $0.41, ends about 18:40"
    ]
    progress(
        Report(
            10_000, 50, 150, spent=Cost(unpriced=("m",)),
            batches=[batch("mini", 12, 3_200), batch("mini", 2, 0), batch("gpt", 100, 4_999)],
        )
    )  # fmt: skip
    assert capsys.readouterr().err.splitlines() == [
        "200 of 10,000 questions done, 0 failed, batches open: gpt 4,999 of 5,000 requests done "
        "in 1 h 40 min, mini 3,200 of 10,000 in 12 min (2 batches)"
    ]


def test_a_batch_of_a_machine_whose_clock_is_ahead_is_new(capsys):
    progress = Progress("questions.txt", RECIPE, clock=iter([0.0, 61.0]).__next__, now=lambda: NOW)
    progress(Report(spent=Cost(unpriced=("m",)), batches=[batch("mini", -90, 0)]))
    assert "mini 0 of 5,000 requests done in 0 min\n" in capsys.readouterr().err
