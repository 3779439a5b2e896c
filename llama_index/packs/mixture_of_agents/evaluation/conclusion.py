"""What to do, in one sentence."""

from typing import TYPE_CHECKING

from .tables import points, share_words

if TYPE_CHECKING:
    from .ceiling import Ceiling
    from .scorecard import ArmScore, Evaluation, Pair


def conclusion(evaluation: "Evaluation") -> str:
    """What to do, in one sentence."""
    arms = [arm for arm in evaluation.arms if arm.kind != "oracle" and arm.questions]
    mixture = next((arm for arm in arms if arm.kind == "mixture"), None)
    if not arms:
        return "No answer was scored, so nothing can be said."
    if mixture is None or len(arms) == 1:
        if evaluation.ceiling and all(arm.kind == "member" for arm in arms):
            return _of_ceiling(evaluation, evaluation.ceiling)
        return _of_arms(evaluation, arms)
    return _of_mixture(evaluation, mixture, [arm for arm in arms if arm is not mixture])


def _of_mixture(evaluation: "Evaluation", mixture: "ArmScore", rivals: "list[ArmScore]") -> str:
    pairs = {
        arm.name: evaluation.pair(mixture.name, arm.name)
        for arm in rivals
        if _has(evaluation, mixture, arm)
    }
    compared = [arm for arm in rivals if arm.name in pairs]
    if not compared:
        return "The mixture and the other arms have no question in common, so nothing can be said."
    best = max(compared, key=lambda arm: (arm.score, -(arm.usd or 0.0)))
    pair = pairs[best.name]
    unbeaten = [arm for arm in compared if pairs[arm.name].better != mixture.name]
    if not unbeaten:
        return (
            f"Use the mixture: it is {_gain(evaluation, pair)} better than {best.name}, "
            f"and costs {_times(mixture, best)}."
        )
    if pair.better == mixture.name:  # another arm is too near to be told apart
        pair = max((pairs[arm.name] for arm in unbeaten), key=lambda one: one.p)
        best = next(arm for arm in unbeaten if arm.name == pair.second)
    if pair.better == best.name:
        worse = f"the mixture is {_gain(evaluation, pair)} worse, and costs {_times(mixture, best)}"
        return f"Use {_alone(best)}: {worse}."
    known = mixture.usd is not None and best.usd is not None
    cheaper = known and (mixture.usd or 0) < (best.usd or 0) * _CLEARLY
    use = "the mixture: it" if cheaper else f"{_alone(best)}: the mixture"
    return f"Use {use} costs {_times(mixture, best)}, and {_noise(evaluation, pair)}."


_CLEARLY = 0.95
"""A mixture is cheaper if it costs at most this part."""


def _has(evaluation: "Evaluation", one: "ArmScore", other: "ArmScore") -> bool:
    return any({pair.first, pair.second} == {one.name, other.name} for pair in evaluation.pairs)


def _alone(arm: "ArmScore") -> str:
    return f"{arm.name} alone" if arm.kind in ("member", "aggregator") else arm.name


def _gain(evaluation: "Evaluation", pair: "Pair") -> str:
    interval = pair.interval
    assert interval
    ends = sorted(abs(end) for end in (interval.low, interval.high))
    low, high = (points(evaluation, end, sign=False, unit=False) for end in ends)
    return f"{points(evaluation, abs(pair.difference), sign=False)} ({low} to {high})"


def _times(one: "ArmScore", other: "ArmScore") -> str:
    if one.usd is None or other.usd is None:
        return "an unknown amount"
    if not other.usd:
        return "as little" if not one.usd else "more"
    return f"{one.usd / other.usd:.1f} times as much as {other.name}"


def _noise(evaluation: "Evaluation", pair: "Pair") -> str:
    """Why a difference proves nothing."""
    if not pair.difference:
        return "scores the same"
    difference = points(evaluation, pair.difference)
    if pair.interval and not pair.interval.covers(0.0):
        return f"its {difference} may be chance among so many pairs (p = {pair.p_holm:.2f})"
    if pair.needed is None:
        return f"its {difference} are within the noise"
    return f"its {difference} are within the noise; about {pair.needed:,} questions would be needed to tell"


def _of_arms(evaluation: "Evaluation", arms: "list[ArmScore]") -> str:
    best = max(arms, key=lambda arm: arm.score)
    others = [arm for arm in arms if arm is not best and _has(evaluation, best, arm)]
    equal = [arm for arm in others if evaluation.pair(best.name, arm.name).better != best.name]
    if not others:
        return f"{best.name} was asked alone, so there is nothing to compare it with."
    if not equal:
        return f"Use {best.name}: it is better than every other arm."
    cheapest = min([best, *equal], key=lambda arm: float("inf") if arm.usd is None else arm.usd)
    names = ", ".join(arm.name for arm in equal)
    cheap = f" {cheapest.name} is the cheapest of them." if cheapest.usd is not None else ""
    return f"{best.name} has the best score, but cannot be told from {names}.{cheap}"


def _of_ceiling(evaluation: "Evaluation", ceiling: "Ceiling") -> str:
    best = f"{ceiling.best} alone reaches {share_words(evaluation, ceiling.best_score)}"
    if len(ceiling.members) == 1:
        return f"{best}: one member makes no mixture."
    if ceiling.beta is None or ceiling.beta_low is None:
        return f"The best of the members' answers reaches {share_words(evaluation, ceiling.oracle)}; {best}."
    bound = share_words(evaluation, 1 - ceiling.beta_low)
    top = f"No vote, router or cascade over these models can exceed {share_words(evaluation, 1 - ceiling.beta)} here"
    if ceiling.room <= 0.02:
        return f"{top} (at most {bound}), and {best}: a mixture that chooses among their answers cannot pay."
    room = points(evaluation, ceiling.room, sign=False)
    return f"{top} (at most {bound}), and {best}: there are at most {room} to gain by choosing among their answers."
