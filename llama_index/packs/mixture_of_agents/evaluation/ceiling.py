"""What several models can reach together, and what an aggregator makes of their answers.

No vote, router or cascade can be right where all members are wrong, so 1 - beta is a ceiling, with beta the share of
such questions (arXiv 2606.27288). An aggregator that writes a new answer can exceed it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from .statistics import Array, correlation, exact_interval, is_binary


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What the aggregator made of the proposals that it read, for right and wrong answers.

    Attributes:
        had_right: Questions with a right proposal among those it read.
        lost: Of these, how many it answered wrong.
        had_none: Questions without a right proposal.
        gained: Of these, how many it answered right.
        layers: The mean score of each layer's proposals, and at the end that of the answers.
    """

    had_right: int
    lost: int
    had_none: int
    gained: int
    layers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the members can reach together.

    Attributes:
        members: Their names.
        questions: How many questions all of them answered.
        oracle: The mean score of the best answer to each question.
        best: The member with the best score.
        best_score: Its score.
        beta: The share of questions that all members get wrong; None where scores are not right or wrong.
        beta_low: The lower end of beta's exact 95 % interval (Clopper and Pearson).
        beta_high: Its upper end.
        correlations: The correlation of every two members' scores; None where one of them never changes.
        effective: How many independent members they are worth.
        worth: What the oracle loses without each member.
        aggregation: What the aggregator made of their proposals, where a mixture was asked.
    """

    members: tuple[str, ...]
    questions: int
    oracle: float
    best: str
    best_score: float
    beta: float | None
    beta_low: float | None
    beta_high: float | None
    correlations: tuple[tuple[float | None, ...], ...]
    effective: float
    worth: Mapping[str, float]
    aggregation: Aggregation | None = None

    @property
    def room(self) -> float:
        """What choosing among the members' answers can gain over the best of them."""
        return self.oracle - self.best_score


def ceiling_of(
    scores: Mapping[str, Array], aggregation: Aggregation | None = None
) -> Ceiling | None:
    """What members can reach together.

    Args:
        scores: Each member's scores for the same questions.
        aggregation: What an aggregator made of their answers.

    Returns:
        The ceiling; None without members or questions.
    """
    names = list(scores)
    if not names or not len(scores[names[0]]):
        return None
    table = np.array([scores[name] for name in names])
    count = table.shape[1]
    means = {name: float(row.mean()) for name, row in zip(names, table, strict=True)}
    best = max(names, key=lambda name: means[name])
    wrong = int((table.max(axis=0) == 0).sum())
    low, high = exact_interval(wrong, count)
    binary = is_binary(table)
    oracle = float(table.max(axis=0).mean())
    correlations = correlations_of(table)
    return Ceiling(
        tuple(names), count, oracle, best, means[best],
        wrong / count if binary else None, low if binary else None, high if binary else None,
        correlations, effective_number(correlations), _worth(names, table, oracle), aggregation,
    )  # fmt: skip


def correlations_of(table: Array) -> tuple[tuple[float | None, ...], ...]:
    """The correlation of every two rows where both have values; None where one of them never changes."""
    count, known = len(table), ~np.isnan(table)
    found: dict[tuple[int, int], float | None] = {}
    for one, other in combinations(range(count), 2):
        both = known[one] & known[other]
        found[one, other] = found[other, one] = correlation(table[one][both], table[other][both])
    return tuple(
        tuple(1.0 if one == other else found[one, other] for other in range(count))
        for one in range(count)
    )


def effective_number(correlations: Sequence[Sequence[float | None]]) -> float:
    """How many independent members they are worth, by Kish's design effect: k / (1 + (k - 1) r), from 1 to k."""
    count = len(correlations)
    known = [
        value
        for one, other in combinations(range(count), 2)
        if (value := correlations[one][other]) is not None
    ]
    mean = max(0.0, sum(known) / len(known)) if known else 0.0
    return count / (1 + (count - 1) * mean)


def _worth(names: Sequence[str], table: Array, oracle: float) -> dict[str, float]:
    if len(names) == 1:
        return {names[0]: oracle}
    rest = {name: np.delete(table, place, axis=0) for place, name in enumerate(names)}
    return {name: oracle - float(left.max(axis=0).mean()) for name, left in rest.items()}


def aggregation_of(
    answers: Sequence[tuple[float, Sequence[Mapping[str, Any]]]],
    score: Callable[[int, str], float],
) -> Aggregation | None:
    """What an aggregator made of its proposals.

    Args:
        answers: The score of each answer, with its mixture's proposals (``layer``, ``text``).
        score: The score of a text as the answer to a question, which goes by its place.

    Returns:
        The counts; None where scores are not right or wrong, or no proposals are known.
    """
    by_layer: dict[int, list[float]] = {}
    counts = {"had_right": 0, "lost": 0, "had_none": 0, "gained": 0}
    for place, (final, proposals) in enumerate(answers):
        last = max((one["layer"] for one in proposals), default=0)
        read: list[float] = []
        for proposal in proposals:
            made = score(place, proposal["text"])
            by_layer.setdefault(proposal["layer"], []).append(made)
            read += [made] if proposal["layer"] == last else []
        if not {final, *read} <= {0.0, 1.0}:
            return None
        if read:
            right = any(read)
            counts["had_right" if right else "had_none"] += 1
            counts["lost"] += right and not final
            counts["gained"] += bool(not right and final)
    if not by_layer:
        return None
    means = [sum(made) / len(made) for _, made in sorted(by_layer.items())]
    end = sum(final for final, _ in answers) / len(answers)
    return Aggregation(**counts, layers=(*means, end))
