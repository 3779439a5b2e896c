"""What an evaluation's folder says was paid."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from llama_index.packs.mixture_of_agents.batch.outcomes import answer_of
from llama_index.packs.mixture_of_agents.cache import SqliteKVStore, cost_of_entries

from .arms import Arm


def spent_in(folder: Path, but: Path | None = None) -> Decimal:
    """US dollars that the batches of a folder have cost so far, failures that were asked again included.

    Args:
        folder: The evaluation's folder.
        but: A batch that is left out, by the file of its answers.
    """
    left_out = () if but is None else (but, but.with_suffix(".failed.jsonl"))
    total = Decimal(0)
    for file in folder.glob("*/*.jsonl"):
        if file not in left_out:
            with file.open("rb") as lines:
                whole = [line for line in lines if line.endswith(b"\n")]
            total += sum(answer_of(json.loads(line)).cost.at_least for line in whole)
    for file in folder.glob("*/*.batch.json"):
        if but is None or file != but.with_suffix(".batch.json"):
            total += Decimal(json.loads(file.read_text("utf-8"))["failures_cost"]["usd"])
    return total


def lost_in(folder: Path, store: SqliteKVStore, arms: Sequence[Arm]) -> Decimal:
    """US dollars for calls that are in the cache, and in no answer.

    An evaluation that was killed paid for them, and did not come to write the answers that they belong to. Later answers
    take these calls from the cache, so they count as free there.
    """
    prices = {model: price for arm in arms for model, price in arm.recipe.prices.items()}
    return max(Decimal(0), cost_of_entries(store, prices).at_least - spent_in(folder))
