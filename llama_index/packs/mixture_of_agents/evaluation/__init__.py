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
from .campaign import EvaluationSettings, aevaluate, evaluate
from .ceiling import Aggregation, Ceiling
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
    "Pair",
    "Record",
    "Scorer",
    "WinRate",
    "aevaluate",
    "arms_of",
    "evaluate",
    "make_scorer",
]
