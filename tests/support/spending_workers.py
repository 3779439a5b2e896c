"""Processes that run batches of one account."""

import multiprocessing
from pathlib import Path
from typing import Any

from limited_workers import outcomes_of

from llama_index.packs.mixture_of_agents.batch import run_batch
from llama_index.packs.mixture_of_agents.limits import SqliteLimiter
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

PRICES = {"scripted": (1.0, 2.0)}


def reply(_: Any) -> str:
    return "an answer of five words"


def work(number: int, folder: Path, max_cost: float, start: Any, spent: Any) -> None:
    ledger = SqliteLimiter(folder / "limits.db", {}, timeout=60)
    questions = [f"question {number} of {each}" for each in range(500)]
    start.wait()
    report = run_batch(
        ScriptedLLM(reply), questions, folder / f"{number}.jsonl", prices=PRICES, in_flight=4,
        max_cost=max_cost, account="nightly", ledger=ledger,
    )  # fmt: skip
    spent.put((report.spent.usd, report.stopped))


def spent_by(processes: int, folder: Path, max_cost: float) -> list[tuple[Any, str]]:
    """US dollars that each process has spent, and why it stopped."""
    spawn = multiprocessing.get_context("spawn")
    start, spent = spawn.Barrier(processes, timeout=100), spawn.Queue()
    return outcomes_of(work, processes, (folder, max_cost, start, spent), spent)
