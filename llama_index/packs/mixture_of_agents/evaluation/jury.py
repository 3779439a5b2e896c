"""Answers judged by LLMs: each judge is a batch, so judgments are kept and bounded in cost like answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from llama_index.packs.mixture_of_agents.batch import Answer, Question

from .agreement import effective_votes, krippendorff_alpha, table_of
from .arms import Arm
from .ballots import (
    RUBRIC,
    Verdict,
    choice_of_judge,
    pair_ballots,
    panel_means,
    rating_ballot,
    rating_in,
    verdict_of,
)
from .scorecard import Interval, Judging, WinRate
from .statistics import Array, score_interval
from .win_rates import length_controlled, length_controlled_interval

Answers: TypeAlias = Mapping[str, Answer]
Ask: TypeAlias = Callable[[Arm, Sequence[Question], str], Awaitable[Answers]]
"""Asks a judge, and keeps its answers under a name."""


@dataclass(slots=True)
class _Tally:
    judgments: int = 0
    unread: int = 0
    pairs: int = 0
    flips: int = 0
    first_place: int = 0


class Jury:
    """One or several judges.

    Args:
        judges: The judges.
        ask: Asks one of them.
        rubric: What a good answer is like.
    """

    def __init__(self, judges: Sequence[Arm], ask: Ask, rubric: str = "") -> None:
        self._judges, self._ask, self._rubric = judges, ask, rubric or RUBRIC
        self._votes: dict[str, dict[str, float]] = {judge.name: {} for judge in judges}
        self._tally = _Tally()
        self._wins: list[tuple[str, str, dict[str, float]]] = []

    async def rate(
        self, arm: str, questions: Mapping[str, str], answers: Answers
    ) -> dict[str, float]:
        """Each answer's mean rating, from 1 to 10. What no judge could rate is missing."""
        ballots = [
            rating_ballot(name, questions[name], answer.text, self._rubric)
            for name, answer in answers.items()
            if answer.kind is None
        ]
        votes: list[dict[str, float]] = []
        for judge in self._judges:
            replies = await self._ask(judge, ballots, f"{judge.name} rates {arm}")
            read = {ballot.id: rating_in(_text(replies, ballot.id)) for ballot in ballots}
            vote = {name: rating for name, rating in read.items() if rating is not None}
            self._count(judge, arm, vote, len(ballots), len(ballots) - len(vote))
            votes.append(vote)
        return panel_means(votes)

    async def compare(
        self, arm: str, other: str, questions: Mapping[str, str], answers: Mapping[str, Answers]
    ) -> dict[str, float]:
        """How far one arm's answers win against another's: 1, 0.5 or 0, the mean of the judges.

        Answers of the same words are a tie; nobody is asked.
        """
        mine, theirs = answers[arm], answers[other]
        both = [
            name
            for name, answer in mine.items()
            if name in theirs and not answer.kind and not theirs[name].kind
        ]
        equal = {name: 0.5 for name in both if mine[name].text == theirs[name].text}
        pairs = {
            name: pair_ballots(
                name, questions[name], mine[name].text, theirs[name].text, self._rubric
            )
            for name in both
            if name not in equal
        }
        ballots = [ballot for pair in pairs.values() for ballot in pair]
        votes: list[dict[str, float]] = []
        for judge in self._judges:
            replies = await self._ask(judge, ballots, f"{judge.name} compares {arm} with {other}")
            verdicts = {name: _verdict(replies, pair) for name, pair in pairs.items()}
            votes.append(self._heard(judge, arm, verdicts))
        outcomes = equal | panel_means(votes)
        self._wins.append((arm, other, outcomes))
        return outcomes

    def _heard(self, judge: Arm, arm: str, verdicts: Mapping[str, Verdict]) -> dict[str, float]:
        vote = {name: one.outcome for name, one in verdicts.items() if one.outcome is not None}
        self._count(judge, arm, vote, len(verdicts), len(verdicts) - len(vote))
        self._tally.pairs += len(vote)
        self._tally.flips += sum(one.flipped for one in verdicts.values())
        self._tally.first_place += sum(one.first_place for one in verdicts.values())
        return vote

    def _count(
        self, judge: Arm, arm: str, vote: Mapping[str, float], asked: int, unread: int
    ) -> None:
        self._votes[judge.name] |= {f"{arm}/{name}": value for name, value in vote.items()}
        self._tally.judgments += asked
        self._tally.unread += unread

    def judging(self) -> Judging:
        """How the judges judged."""
        table, tally = table_of(list(self._votes.values())), self._tally
        several = len(self._judges) > 1 and table.size > 0
        return Judging(
            tuple(self._votes), tally.judgments, tally.unread,
            tally.flips / tally.pairs if tally.pairs else None,
            tally.first_place / tally.flips if tally.flips else None,
            krippendorff_alpha(table) if several else None,
            effective_votes(table) if several else 1.0,
        )  # fmt: skip

    def win_rates(
        self, answers: Mapping[str, Answers], groups: Mapping[str, str]
    ) -> tuple[WinRate, ...]:
        """The win rate of each pair that was compared, raw and length-controlled."""
        rates: list[WinRate] = []
        for arm, other, outcomes in self._wins:
            if outcomes:
                lengths = (_lengths(answers[arm], outcomes), _lengths(answers[other], outcomes))
                clusters = np.array([groups[name] for name in outcomes]) if groups else None
                values = np.array(list(outcomes.values()))
                rates.append(win_rate(arm, other, values, lengths, clusters))
        return tuple(rates)


def win_rate(
    first: str,
    second: str,
    outcomes: Array,
    lengths: tuple[Array, Array],
    clusters: Array | None = None,
) -> WinRate:
    """The win rate of one arm against another, raw and length-controlled."""
    raw = score_interval(outcomes, clusters)
    controlled = length_controlled(outcomes, *lengths)
    bounds = None
    if controlled is not None:
        bounds = length_controlled_interval(outcomes, *lengths, clusters)
    return WinRate(
        first, second, len(outcomes), float(outcomes.mean()), Interval(*raw) if raw else None,
        controlled, Interval(*bounds) if bounds else None, *(float(one.mean()) for one in lengths),
    )  # fmt: skip


def _lengths(answers: Answers, names: Mapping[str, float]) -> Array:
    return np.array([len(answers[name].text) for name in names], float)


def _text(replies: Answers, name: str) -> str:
    return replies[name].text if name in replies else ""


def _verdict(replies: Answers, pair: Sequence[Question]) -> Verdict:
    forward, backward = (choice_of_judge(_text(replies, ballot.id)) for ballot in pair)
    return verdict_of(forward, backward)
