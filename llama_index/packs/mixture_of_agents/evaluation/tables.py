"""The report as plain text."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .ceiling import Ceiling
    from .scorecard import ArmScore, Evaluation, Interval, Judging, Pair, WinRate


def report(evaluation: "Evaluation") -> str:
    """The whole report: the arms, the mixture's pairs, the ceiling, and what to do."""
    parts = [
        f"{evaluation.questions:,} questions, scored by {evaluation.scorer}",
        table(ARM_TITLES, [arm_row(evaluation, arm) for arm in evaluation.arms]),
    ]
    shown = main_pairs(evaluation)
    if shown:
        parts.append(table(PAIR_TITLES, [pair_row(evaluation, pair) for pair in shown]))
    if evaluation.ceiling and len(evaluation.ceiling.members) > 1:
        parts.append("\n".join(ceiling_lines(evaluation, evaluation.ceiling)))
    if evaluation.judging:
        parts.append("\n".join(judging_lines(evaluation, evaluation.judging)))
    remarks = [f"Note: {remark}." for remark in evaluation.remarks]
    if evaluation.stopped:
        remarks.append(f"Stopped: {evaluation.stopped}.")
    parts += ["\n".join(remarks)] if remarks else []
    return "\n\n".join([*parts, evaluation.conclusion])


ARM_TITLES = (
    "arm", "score", "95 % interval", "$ a question", "tokens", "calls", "seconds", "95th", "failed",
    "degraded",
)  # fmt: skip
PAIR_TITLES = (
    "pair", "difference", "95 % interval", "p (Holm)", "better:worse", "could be shown",
)  # fmt: skip


def main_pairs(evaluation: "Evaluation") -> "list[Pair]":
    """The mixture's pairs, seen from it; all pairs where there is not a mixture."""
    mixture = next((arm.name for arm in evaluation.arms if arm.kind == "mixture"), None)
    if mixture is None:
        return list(evaluation.pairs)
    own = [pair for pair in evaluation.pairs if mixture in (pair.first, pair.second)]
    return [pair.seen_from(mixture) for pair in own]


def arm_row(evaluation: "Evaluation", arm: "ArmScore") -> list[str]:
    """An arm as cells."""
    scored = [
        arm.name,
        share_words(evaluation, arm.score) if arm.questions else "",
        interval_words(evaluation, arm.interval),
    ]
    if arm.kind == "oracle":
        return [*scored, *[""] * (len(ARM_TITLES) - len(scored))]
    return [
        *scored,
        "unknown" if arm.usd is None else f"{arm.usd:.3g}",
        f"{arm.tokens:,.0f}",
        f"{arm.calls:.1f}",
        f"{arm.seconds:.1f}",
        f"{arm.seconds_95:.1f}",
        str(arm.failures),
        str(arm.degraded),
    ]


def pair_row(evaluation: "Evaluation", pair: "Pair") -> list[str]:
    """A pair as cells."""
    low_high = pair.interval
    ends = (
        [points(evaluation, end, unit=False) for end in (low_high.low, low_high.high)]
        if low_high
        else []
    )
    return [
        f"{pair.first} - {pair.second}",
        points(evaluation, pair.difference),
        " to ".join(ends),
        f"{pair.p_holm:.3f}",
        f"{pair.wins}:{pair.losses}",
        "" if pair.detectable is None else points(evaluation, pair.detectable, sign=False),
    ]


def ceiling_lines(evaluation: "Evaluation", ceiling: "Ceiling") -> list[str]:
    """What the members can reach together, in sentences."""
    lines: list[str] = []
    if ceiling.beta is not None and ceiling.beta_low is not None and ceiling.beta_high is not None:
        ends = [share_words(evaluation, 1 - end) for end in (ceiling.beta_high, ceiling.beta_low)]
        lines.append(
            f"All members are wrong on {share_words(evaluation, ceiling.beta)}, so no vote, router or cascade over them "
            f"can exceed {share_words(evaluation, 1 - ceiling.beta)} here ({ends[0]} to {ends[1]})."
        )
    lines.append(
        f"{len(ceiling.members)} members are worth {ceiling.effective:.1f} independent ones "
        f"(mean correlation of their errors {_mean_correlation(ceiling)})."
    )
    worth = ", ".join(
        f"{name} {points(evaluation, value, sign=False)}" for name, value in ceiling.worth.items()
    )
    lines.append(f"Without it the oracle loses: {worth}.")
    made = ceiling.aggregation
    if made:
        lines.append(
            f"The aggregator answered wrong {made.lost} of {made.had_right} times with a right proposal before it, "
            f"and right {made.gained} of {made.had_none} times without one."
        )
        steps = " > ".join(share_words(evaluation, mean) for mean in made.layers)
        gains = ", ".join(points(evaluation, b - a) for a, b in pairwise(made.layers))
        lines.append(f"Mean score layer by layer, then of the answers: {steps} ({gains}).")
    return lines


def judging_lines(evaluation: "Evaluation", judging: "Judging") -> list[str]:
    """How the judges judged, and each arm's win rate, in sentences."""
    lines = [
        f"{win_rate_words(one)}; {one.length:,.0f} characters against {one.other_length:,.0f}."
        for one in evaluation.win_rates
    ]
    lines.append(f"{judging.unread} of {judging.judgments:,} judgments could not be read.")
    if judging.flips is not None:
        place = (
            ""
            if judging.first_place is None
            else f", to the first place in {judging.first_place:.0%}"
        )
        lines.append(
            f"The order of the answers decided {judging.flips:.1%} of the pairs{place}; these are ties."
        )
    if len(judging.judges) > 1:
        alpha = "unknown" if judging.alpha is None else f"{judging.alpha:.2f}"
        lines.append(
            f"{len(judging.judges)} judges are worth {judging.effective:.1f} independent ones "
            f"(Krippendorff's alpha {alpha})."
        )
    return lines


def win_rate_words(rate: "WinRate") -> str:
    """A win rate with its intervals."""
    controlled = "unknown" if rate.controlled is None else f"{100 * rate.controlled:.1f} %"
    return (
        f"{rate.first} against {rate.second}: win rate {100 * rate.rate:.1f} %{_between(rate.interval)}, "
        f"length-controlled {controlled}{_between(rate.controlled_interval)}"
    )


def _between(interval: "Interval | None") -> str:
    return f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})" if interval else ""


def _mean_correlation(ceiling: "Ceiling") -> str:
    values = [
        value
        for place, row in enumerate(ceiling.correlations)
        for value in row[place + 1 :]
        if value is not None
    ]
    return f"{sum(values) / len(values):.2f}" if values else "unknown"


def is_share(evaluation: "Evaluation") -> bool:
    """Whether all scores lie from 0 to 1, and read best as percentages."""
    return all(0 <= score <= 1 for record in evaluation.records for score in record.scores.values())


def share_words(evaluation: "Evaluation", score: float) -> str:
    """A score: a percentage where all scores lie from 0 to 1."""
    return f"{100 * score:.1f} %" if is_share(evaluation) else f"{score:.3g}"


def interval_words(evaluation: "Evaluation", interval: "Interval | None") -> str:
    """An interval of scores."""
    if interval is None:
        return ""
    scale, form = (100, ".1f") if is_share(evaluation) else (1, ".3g")
    return f"{scale * interval.low:{form}} to {scale * interval.high:{form}}"


def points(
    evaluation: "Evaluation", difference: float, *, sign: bool = True, unit: bool = True
) -> str:
    """A difference of scores: percentage points where all scores lie from 0 to 1."""
    share = is_share(evaluation)
    number = f"{100 * difference if share else difference:{'+' if sign else ''}{'.1f' if share else '.3g'}}"
    number = number[1:] if number in ("+0.0", "-0.0", "+0", "-0") else number
    return f"{number}{' points' if unit and share else ''}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their titles, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        numbers = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        return "  ".join([first.ljust(widths[0]), *numbers]).rstrip()

    return "\n".join([line(titles), *map(line, rows)])
