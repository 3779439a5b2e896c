"""What an evaluation found, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from llama_index.packs.mixture_of_agents.errors import EvaluationError

from .ceiling import Ceiling

_FORMAT = "mixture-of-agents-evaluation/1"


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Return whether a value lies in the interval.

        Args:
            value: The value.
        """
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class ArmScore:
    """One arm's results. Costs, tokens and calls are means for a question, as if the arm had been asked alone.

    Attributes:
        name: The arm's name.
        kind: Its part in the comparison; "oracle" for the computed one.
        questions: How many questions have a score.
        score: The mean score.
        interval: Its interval; None where there are too few questions.
        usd: US dollars a question; None where a price is not known.
        tokens: Tokens a question, in and out.
        calls: Calls a question.
        seconds: The median of the seconds a question took.
        seconds_95: Their 95th percentile.
        failures: How many questions have no answer.
        degraded: How many answers are less than the recipe asked for.
    """

    name: str
    kind: str
    questions: int
    score: float
    interval: Interval | None = None
    usd: float | None = None
    tokens: float = 0.0
    calls: float = 0.0
    seconds: float = 0.0
    seconds_95: float = 0.0
    failures: int = 0
    degraded: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms on the questions that both answered.

    Attributes:
        first: One arm's name.
        second: The other's.
        questions: How many questions both answered.
        difference: The first arm's mean score less the second's.
        interval: The difference's interval; None where there are too few questions.
        p: McNemar's exact test for right and wrong, else Student's t test.
        p_holm: The same, adjusted for the number of pairs.
        wins: Questions on which the first is better.
        losses: Questions on which the second is better.
        detectable: The smallest true difference that this many questions would show in 80 % of evaluations.
        needed: How many questions would show the observed difference in 80 % of evaluations.
    """

    first: str
    second: str
    questions: int
    difference: float
    interval: Interval | None
    p: float
    p_holm: float
    wins: int
    losses: int
    detectable: float | None
    needed: int | None

    @property
    def better(self) -> str:
        """The arm that is better; "" where the difference may be chance."""
        chance = self.interval is None or self.interval.covers(0.0) or self.p_holm >= 0.05
        return "" if chance else (self.first if self.difference > 0 else self.second)

    def seen_from(self, name: str) -> "Pair":
        """Return the same pair with this arm as the first.

        Args:
            name: The name of one of its two arms.
        """
        if name == self.first:
            return self
        turned = Interval(-self.interval.high, -self.interval.low) if self.interval else None
        return replace(
            self, first=self.second, second=self.first, difference=-self.difference, interval=turned,
            wins=self.losses, losses=self.wins,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often one arm's answers are better than another's, by judges that saw both orders.

    Attributes:
        first: The arm.
        second: The arm that it is compared with.
        questions: How many questions have a verdict.
        rate: The share of wins, a tie as half of one.
        interval: Its interval.
        controlled: The rate that equally long answers would have, by AlpacaEval 2's regression; None where there are
            too few questions for it.
        controlled_interval: Its interval, which counts the regression's own uncertainty.
        length: The first arm's mean length, in characters.
        other_length: The second arm's.
    """

    first: str
    second: str
    questions: int
    rate: float
    interval: Interval | None
    controlled: float | None
    controlled_interval: Interval | None
    length: float
    other_length: float


@dataclass(frozen=True, slots=True)
class Judging:
    """How the judges judged.

    Attributes:
        judges: Their names.
        judgments: How many answers, or pairs of answers, they judged.
        unread: How many of these have no readable verdict; these are missing, and never guessed.
        flips: The share of pairs in which the order of the answers decided; each counts as a tie.
        first_place: Of these, the share in which the first place won.
        alpha: Krippendorff's alpha of several judges.
        effective: How many independent judges they are worth.
    """

    judges: tuple[str, ...]
    judgments: int
    unread: int
    flips: float | None
    first_place: float | None
    alpha: float | None
    effective: float


@dataclass(frozen=True, slots=True)
class Record:
    """One question with every arm's answer.

    Attributes:
        id: The question's id.
        question: Its text.
        right: The right answer, where there is a column of them.
        answers: Each arm's answer; a failed one is missing.
        scores: Each answer's score.
        proposals: The mixture's proposals: ``layer``, ``agent``, ``text``.
    """

    id: str
    question: str
    right: Any
    answers: Mapping[str, str]
    scores: Mapping[str, float]
    proposals: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; ``print`` it.

    Attributes:
        scorer: How answers were scored.
        questions: How many questions there are.
        arms: The arms, in the order in which they were asked, and the oracle.
        pairs: Every two arms that were asked.
        ceiling: What the members can reach together.
        remarks: What a reader must know besides.
        usd: US dollars that were paid; None where a price is not known.
        stopped: Why it ended early; "" where it did not.
        judging: How the judges judged, where LLMs scored.
        win_rates: Each arm against the mixture, where judges compared pairs.
        records: Every question with its answers.
    """

    scorer: str
    questions: int
    arms: tuple[ArmScore, ...]
    pairs: tuple[Pair, ...] = ()
    ceiling: Ceiling | None = None
    remarks: tuple[str, ...] = ()
    usd: float | None = None
    stopped: str = ""
    judging: Judging | None = None
    win_rates: tuple[WinRate, ...] = ()
    records: tuple[Record, ...] = field(default=(), repr=False)

    def arm(self, name: str) -> ArmScore:
        """Return an arm by its name.

        Args:
            name: The arm's name.

        Raises:
            KeyError: There is none.
        """
        return {arm.name: arm for arm in self.arms}[name]

    def pair(self, first: str, second: str) -> Pair:
        """Return a pair, seen from its first arm.

        Args:
            first: An arm's name.
            second: The other arm's name.

        Raises:
            KeyError: There is none.
        """
        pairs = {frozenset((pair.first, pair.second)): pair for pair in self.pairs}
        return pairs[frozenset((first, second))].seen_from(first)

    @property
    def conclusion(self) -> str:
        """What to do, in one sentence."""
        from .conclusion import conclusion

        return conclusion(self)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return all of it as JSON, without loss.

        Args:
            indent: The spaces for each level; None for a single line.
        """
        data: str = (
            _adapter().dump_json(_Saved(_FORMAT, self.conclusion, self), indent=indent).decode()
        )
        return data

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """Return the evaluation that ``to_json`` wrote.

        Args:
            text: The JSON.

        Raises:
            EvaluationError: The text is not such an evaluation.
        """
        try:
            saved: _Saved = _adapter().validate_json(text)
        except ValueError as error:
            raise EvaluationError(f"this is not a saved evaluation: {error}") from None
        if saved.format != _FORMAT:
            raise EvaluationError(f"this is not a saved evaluation: its format is {saved.format!r}")
        return saved.evaluation

    def to_html(self) -> str:
        """Return the report as one self-contained page.

        Raises:
            ImportError: plotly is not installed.
        """
        from .web_report import page

        return page(self)

    def __str__(self) -> str:
        from .tables import report

        return report(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True, slots=True)
class _Saved:
    format: str
    conclusion: str
    evaluation: Evaluation


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(_Saved)
