"""From answers to an evaluation: scores, intervals, pairs, the ceiling."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from llama_index.packs.mixture_of_agents.batch import Answer, Question

from .arms import Arm, Means
from .ceiling import Aggregation, aggregation_of, ceiling_of
from .scorecard import ArmScore, Evaluation, Interval, Pair, Record
from .scoring import Scorer
from .statistics import (
    Array,
    Bounds,
    detectable,
    difference_interval,
    difference_test,
    holm,
    is_binary,
    needed,
    score_interval,
)

FEW = 30
"""Fewer questions than these get a remark."""
Scores = Mapping[str, Mapping[str, float]]
"""Arm -> question's id -> score."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one answer took, as if its arm had been asked alone."""

    usd: float | None
    input_tokens: int
    output_tokens: int
    calls: int
    seconds: float


def _taken(answer: Answer) -> _Taken:
    calls = answer.calls
    costs = [call["cost_usd"] for call in calls]
    return _Taken(
        None if None in costs else sum(costs),
        sum(call["input_tokens"] for call in calls),
        sum(call["output_tokens"] for call in calls),
        len(calls),
        _seconds(answer),
    )


def _seconds(answer: Answer) -> float:
    """How long an answer took. Where the cache gave a part, the slowest call of each step, one step after the other."""
    if not any(call["cached"] for call in answer.calls):
        return answer.seconds
    slowest: dict[tuple[int, str], float] = {}
    for call in answer.calls:
        step = (call["layer"], call["role"])
        slowest[step] = max(slowest.get(step, 0.0), call["seconds"])
    return sum(slowest.values())


def means_of(answers: Iterable[Answer]) -> Means | None:
    """What an arm's answers took on average; None where there are none."""
    taken = [_taken(answer) for answer in answers if answer.kind is None]
    if not taken:
        return None
    count, costs = len(taken), [one.usd for one in taken if one.usd is not None]
    return Means(
        sum(costs) / count if len(costs) == count else None,
        sum(one.input_tokens for one in taken) / count,
        sum(one.output_tokens for one in taken) / count,
        sum(one.calls for one in taken) / count,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """What an evaluation is made of.

    Attributes:
        arms: The arms.
        answers: Each arm's answers by their question's id.
        scores: Each arm's scores by their question's id.
        questions: The questions.
        scored_by: How they were scored.
        scorer: Scores an answer; None where judges did.
        groups: The group of each question, by its id; empty where all are independent.
        wrong: Whether a failure counts as wrong, rather than as no answer.
        seed: Makes the bootstrap repeatable.
        remarks: What else a reader must know.
        usd: US dollars that were paid.
        stopped: Why not all was asked.
    """

    arms: Sequence[Arm]
    answers: Mapping[str, Mapping[str, Answer]]
    scores: Scores
    questions: Sequence[Question]
    scored_by: str
    scorer: Scorer | None
    groups: Mapping[str, str]
    wrong: bool = False
    seed: int = 0
    remarks: Sequence[str] = ()
    usd: float | None = None
    stopped: str = ""


def compare(material: Material) -> Evaluation:
    """Compare the arms by their scores."""
    arms, answers, scores = material.arms, material.answers, material.scores
    asked, groups = {one.id: one for one in material.questions}, material.groups
    main = mixture_of(arms)
    members = {arm.name: scores[arm.name] for arm in arms if arm.kind == "member"}
    reports = [_arm_score(arm, answers[arm.name], scores[arm.name], groups) for arm in arms]
    remarks = (*material.remarks, *_remarks(len(asked), reports, material.wrong))
    common = _common(members)
    table = {name: _column(member, common) for name, member in members.items()}
    ceiling = ceiling_of(table, _aggregation(material, asked))
    if ceiling and len(members) > 1:
        reports.append(_oracle(table, _labels(groups, common)))
    return Evaluation(
        material.scored_by, len(asked), tuple(reports), _pairs(scores, groups, material.seed, main.name if main else ""),
        ceiling, remarks, material.usd, material.stopped, records=tuple(_records(material)),
    )  # fmt: skip


def scores_of(
    questions: Mapping[str, Question], answers: Mapping[str, Answer], scorer: Scorer, wrong: bool
) -> dict[str, float]:
    """The scores of an arm's answers; a failure has none, or counts as wrong."""
    scores: dict[str, float] = {}
    for name, answer in answers.items():
        if name in questions and (answer.kind is None or wrong):
            scores[name] = scorer(questions[name], answer.text) if answer.kind is None else 0.0
    return scores


def _column(scores: Mapping[str, float], names: Iterable[str]) -> Array:
    return np.array([scores[name] for name in names], float)


def _common(several: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The questions that all of them have a score for, in order."""
    columns = list(several.values())
    return [name for name in (columns[0] if columns else ()) if all(name in one for one in columns)]


def _labels(groups: Mapping[str, str], names: Iterable[str]) -> Array | None:
    return np.array([groups[name] for name in names]) if groups else None


def _arm_score(
    arm: Arm,
    answers: Mapping[str, Answer],
    scores: Mapping[str, float],
    groups: Mapping[str, str],
) -> ArmScore:
    values = _column(scores, scores)
    given = [answer for answer in answers.values() if answer.kind is None]
    means, seconds = means_of(given), [_seconds(answer) for answer in given] or [0.0]
    return ArmScore(
        arm.name, arm.kind, len(values), float(values.mean()) if len(values) else 0.0,
        _interval(score_interval(values, _labels(groups, scores))),
        means.usd if means else None, means.input_tokens + means.output_tokens if means else 0.0,
        means.calls if means else 0.0, float(np.median(seconds)), float(np.percentile(seconds, 95)),
        len(answers) - len(given), sum(bool(answer.degraded) for answer in given),
    )  # fmt: skip


def _oracle(table: Mapping[str, Array], clusters: Array | None) -> ArmScore:
    best = np.max(list(table.values()), axis=0)
    interval = _interval(score_interval(best, clusters))
    return ArmScore("oracle of the members", "oracle", len(best), float(best.mean()), interval)


def _interval(bounds: Bounds | None) -> Interval | None:
    return Interval(*bounds) if bounds else None


def _pairs(scores: Scores, groups: Mapping[str, str], seed: int, main: str) -> tuple[Pair, ...]:
    """Every two arms. The pairs of the main arm are one family of tests, the others are another."""
    found: list[tuple[str, str, Array, Array | None, float]] = []
    for one, other in combinations(scores, 2):
        names = _common({one: scores[one], other: scores[other]})
        if names:
            first, second = _column(scores[one], names), _column(scores[other], names)
            labels, binary = _labels(groups, names), is_binary(first) and is_binary(second)
            p = difference_test(first - second, labels, binary=binary)
            found.append((one, other, first - second, labels, p))
    found.sort(key=lambda one: main not in one[:2])
    own = sum(main in one[:2] for one in found)
    p_values = [p for *_, p in found]
    adjusted = [*holm(p_values[:own]), *holm(p_values[own:])]
    return tuple(
        Pair(
            one, other, len(values), float(values.mean()),
            _interval(difference_interval(values, labels, seed)), p, p_holm,
            int((values > 0).sum()), int((values < 0).sum()),
            detectable(values, labels), needed(values, labels),
        )
        for (one, other, values, labels, p), p_holm in zip(found, adjusted, strict=True)
    )  # fmt: skip


def _aggregation(material: Material, questions: Mapping[str, Question]) -> Aggregation | None:
    mixture, scorer = mixture_of(material.arms), material.scorer
    if mixture is None or scorer is None:
        return None
    scores = material.scores[mixture.name]
    given = [one for one in material.answers[mixture.name].values() if one.question.id in scores]
    given = [answer for answer in given if answer.kind is None]
    asked = [questions[answer.question.id] for answer in given]
    return aggregation_of(
        [(scores[answer.question.id], answer.proposals) for answer in given],
        lambda place, text: scorer(asked[place], text),
    )


def mixture_of(arms: Iterable[Arm]) -> Arm | None:
    """The mixture among the arms."""
    return next((arm for arm in arms if arm.kind == "mixture"), None)


def _remarks(count: int, arms: Collection[ArmScore], wrong: bool) -> list[str]:
    found: list[str] = []
    if count < FEW:
        found.append(
            f"{count} questions are few: only large differences can show, and the intervals are rough"
        )
    for arm in arms:
        if arm.failures:
            what = "count as wrong" if wrong else "are left out of its score and its pairs"
            found.append(f"{arm.name} has no answer to {arm.failures} questions; these {what}")
    if any(arm.usd is None for arm in arms if arm.questions):
        found.append("some costs are not known, since some models have no price")
    return found


def question_text(question: Question) -> str:
    """A question's text; of a conversation, its last message."""
    return question.text or str(question.conversation()[-1].content or "")


def _records(material: Material) -> Iterable[Record]:
    mixture, scorer = mixture_of(material.arms), material.scorer
    for question in material.questions:
        name = question.id
        given = {arm: found[name] for arm, found in material.answers.items() if name in found}
        made = given.get(mixture.name) if mixture else None
        yield Record(
            name,
            question_text(question),
            scorer.right(question) if scorer and scorer.column else None,
            {arm: answer.text for arm, answer in given.items() if answer.kind is None},
            {arm: found[name] for arm, found in material.scores.items() if name in found},
            tuple(made.proposals) if made else (),
        )
