"""Whether a mixture is worth its money: several ways to answer the same questions, compared at equal cost.

    print(evaluate(recipe, "questions.jsonl", "number", max_cost=5.0))

Needs the extra ``eval``.
"""

from importlib.util import find_spec

if not all(map(find_spec, ("scipy", "sklearn", "statsmodels"))):
    raise ImportError(
        'an evaluation needs more: pip install "llama-index-packs-mixture-of-agents[eval]"'
    )

from .arms import Arm, arms_of
from .battles import Judgment, read_judgments, win_rates_of
from .campaign import EvaluationSettings, aevaluate, evaluate
from .ceiling import Aggregation, Ceiling
from .formats import read_public, second_turns, write_public
from .scorecard import ArmScore, Evaluation, Interval, Judging, Pair, Record, WinRate
from .scoring import Scorer, make_scorer

__all__ = [
    "Aggregation",
    "Arm",
    "ArmScore",
    "Ceiling",
    "Evaluation",
    "EvaluationSettings",
    "Interval",
    "Judging",
    "Judgment",
    "Pair",
    "Record",
    "Scorer",
    "WinRate",
    "aevaluate",
    "arms_of",
    "evaluate",
    "make_scorer",
    "read_judgments",
    "read_public",
    "second_turns",
    "win_rates_of",
    "write_public",
]
