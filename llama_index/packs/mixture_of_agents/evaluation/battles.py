"""The judgments of public scorers, read back so that an evaluation's statistics can be put on them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llama_index.packs.mixture_of_agents.errors import EvaluationError

from .ballots import verdict_of
from .formats import first_record
from .jury import win_rate
from .scorecard import WinRate
from .statistics import Array
from .tables import win_rate_words

_STRONG = 3
"""Arena-Hard counts a clear win ("A>>B") as three."""
_ARENA = {
    "A>>B": (1.0, _STRONG),
    "A>B": (1.0, 1),
    "A=B": (0.5, 1),
    "A<B": (0.0, 1),
    "A<<B": (0.0, _STRONG),
}
_MIRRORED = {"B>>A": "A<<B", "B>A": "A<B", "B=A": "A=B", "B<A": "A>B", "B<<A": "A>>B"}


@dataclass(frozen=True, slots=True)
class Judgment:
    """One judgment of a public scorer.

    Attributes:
        question: The question's id.
        first: The model.
        second: The model that it is compared with; "" for a rating.
        outcome: How far the first wins, from 0 to 1; None where the judge's words could not be read.
        rating: The rating, where there is no other model.
        length: The first answer's length in characters, where it is known.
        other_length: The second's.
        turn: MT-Bench's turn.
        flipped: Whether the order of the answers decided.
    """

    question: str
    first: str
    second: str = ""
    outcome: float | None = None
    rating: float | None = None
    length: int | None = None
    other_length: int | None = None
    turn: int = 1
    flipped: bool = False


def read_judgments(path: str | Path) -> list[Judgment]:
    """Read AlpacaEval's ``annotations.json``, MT-Bench's ``*_pair.jsonl`` and ``*_single.jsonl``, Arena-Hard's judgments.

    Args:
        path: the file.

    Returns:
        The judgments, in the file's order.

    Raises:
        EvaluationError: A record is none of these.
        OSError: The file cannot be read.
    """
    text = Path(path).read_text("utf-8-sig")
    try:
        records: list[Any] = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
        return [_judgment(record, number) for number, record in enumerate(records, 1)]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        problem = f"these are not judgments of AlpacaEval, MT-Bench or Arena-Hard ({error!r})"
        raise EvaluationError(f"{path}: {problem}") from None


def is_judgments(path: str | Path) -> bool:
    """Whether a file holds judgments of a public scorer rather than questions, by its first record."""
    first = first_record(path)
    return bool(
        {"preference", "games", "g1_winner"} & first.keys() or {"judge", "score"} <= first.keys()
    )


def report_of(judgments: Iterable[Judgment]) -> str:
    """The win rate of each pair of models, and the mean of each model's ratings, in lines."""
    found = list(judgments)
    lines = [f"{win_rate_words(one)}; {one.questions:,} judgments." for one in win_rates_of(found)]
    ratings: dict[str, list[float]] = defaultdict(list)
    for one in found:
        if one.rating is not None:
            ratings[one.first].append(one.rating)
    for model, given in ratings.items():
        lines.append(f"{model}: mean rating {np.mean(given):.2f}; {len(given):,} judgments.")
    unread = sum(one.outcome is None and one.rating is None for one in found)
    return "\n".join([*lines, f"{unread:,} of {len(found):,} judgments could not be read."])


def win_rates_of(judgments: Iterable[Judgment]) -> tuple[WinRate, ...]:
    """Return the win rate of each pair of models, with intervals that count a question's turns as one cluster.

    Where lengths are known (AlpacaEval), it is length-controlled too.

    Args:
        judgments: the judgments; those of single answers are skipped.
    """
    pairs: dict[tuple[str, str], list[Judgment]] = defaultdict(list)
    for one in judgments:
        if one.second and one.outcome is not None:
            pairs[one.first, one.second].append(one)
    return tuple(_rate(first, second, found) for (first, second), found in pairs.items())


def _rate(first: str, second: str, found: list[Judgment]) -> WinRate:
    def column(name: str) -> Array:
        return np.array([getattr(one, name) or 0 for one in found], float)

    questions = np.array([one.question for one in found])
    clusters = questions if len(set(questions)) < len(questions) else None
    outcomes, mine, theirs = column("outcome"), column("length"), column("other_length")
    return win_rate(first, second, outcomes, (mine, theirs), clusters)


def _judgment(record: Mapping[str, Any], number: int) -> Judgment:
    if "preference" in record:
        return _of_alpaca_eval(record, number)
    if "games" in record:
        return _of_arena_hard(record)
    if "g1_winner" in record:
        return _of_pair(record)
    rating = float(record["score"])
    name, model, turn = str(record["question_id"]), record["model"], int(record.get("turn", 1))
    return Judgment(name, model, rating=None if rating == -1 else rating, turn=turn)


def _of_alpaca_eval(record: Mapping[str, Any], number: int) -> Judgment:
    """From 1 (the baseline is better) to 2 (the model is); 0 is an old way to write a tie."""
    preference = record["preference"]
    known = None if preference is None or preference != preference else float(preference)  # noqa: PLR0124 - NaN
    outcome = None if known is None else (known or 1.5) - 1
    return Judgment(
        str(number), record["generator_2"], record["generator_1"], outcome,
        length=len(record["output_2"]), other_length=len(record["output_1"]),
    )  # fmt: skip


def _of_pair(record: Mapping[str, Any]) -> Judgment:
    places = {"model_1": "A", "model_2": "B", "tie": "tie"}
    forward, backward = (places.get(record[name]) for name in ("g1_winner", "g2_winner"))
    turned = {"A": "B", "B": "A"}.get(backward or "", backward)  # the places in the second game
    verdict = verdict_of(forward, turned)
    return Judgment(
        str(record["question_id"]), record["model_1"], record["model_2"], verdict.outcome,
        turn=int(record.get("turn", 1)), flipped=verdict.flipped,
    )  # fmt: skip


def _of_arena_hard(record: Mapping[str, Any]) -> Judgment:
    """The baseline stands first in the first game, the model in the second."""
    winners = [_arena(game) for game in record["games"][:2]]
    name, first, second = str(record["uid"]), record["model"], record["baseline"]
    if None in winners:
        return Judgment(name, first, second)
    (lost, heavy), (won, weight) = (one for one in winners if one)
    outcome = ((1 - lost) * heavy + won * weight) / (heavy + weight)
    return Judgment(name, first, second, outcome, flipped=lost == won != 0.5)


def _arena(game: Mapping[str, Any] | None) -> tuple[float, int] | None:
    label: Any = (game or {}).get("score")
    if label is None:
        return None
    return _ARENA[str(_MIRRORED.get(label, label))]
