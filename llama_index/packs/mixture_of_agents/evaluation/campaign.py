"""An evaluation from its questions to its numbers: each arm is a batch, and all arms share one cache."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import iterate_blocking
from llama_index.packs.mixture_of_agents._messages.digests import digest
from llama_index.packs.mixture_of_agents._providers.facts import model_name
from llama_index.packs.mixture_of_agents.batch import Answer, Question, Report, arun_batch
from llama_index.packs.mixture_of_agents.batch.input_files import Questions, unique
from llama_index.packs.mixture_of_agents.batch.outcomes import answer_of
from llama_index.packs.mixture_of_agents.cache import SqliteKVStore, cached
from llama_index.packs.mixture_of_agents.errors import EvaluationError
from llama_index.packs.mixture_of_agents.pricing import Cost, Prices, dollars
from llama_index.packs.mixture_of_agents.recipe import Recipe

from .arms import (
    Arm,
    ArmSource,
    Equal,
    arms_of,
    equal_samples,
    foreseen,
    recipe_of,
    self_consistency,
    self_moa,
    unpriced_words,
    with_limits,
    with_prices,
)
from .comparison import Material, compare, means_of, mixture_of, question_text, scores_of
from .expenses import lost_in, spent_in
from .formats import FORMATS, Format, format_of, read_public, second_turns, write_public
from .jury import Jury
from .scorecard import Evaluation
from .scoring import Scorer, make_scorer

BY_JUDGES = ("rubric", "pairwise")
"""Scorers that ask judges."""
UNSCORED = "none"
"""The scorer that scores nothing: answers are only asked for, and written."""
_SAMPLE = 10
"""Questions that the cost is estimated from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """How an evaluation is run.

    Attributes:
        folder: Where answers and cache are kept, so that an evaluation that was stopped goes on. None: nowhere.
        equal: What the baselines of a mixture may take: its "cost" or its number of "calls". None: no baselines.
        ceiling: Ask the members alone.
        cluster: The column that says which questions belong together; "" where all are independent.
        failures: "left_out" takes a question without an answer out of this arm's score and pairs; "wrong" counts it as
            wrong, for every arm.
        max_cost: US dollars that all arms together may cost, with what was spent before.
        in_flight: How many questions are asked at once.
        system: A system prompt for questions that have none.
        prices: US dollars per million tokens in and out, by model; the recipes' own go first.
        seed: Makes the bootstrap repeatable.
        judges: The LLMs that judge, for the scorers "rubric" and "pairwise".
        rubric: What a good answer is like, for judges; "" for a general one.
        write: The public scorer that each arm's answers are also written for, in the folder; "" for none.
        say: Receives lines of text: what it will cost, which arm is asked.
        watch: Receives an arm's name and how far it is.

    Raises:
        EvaluationError: A setting is not valid.
    """

    folder: str | Path | None = None
    equal: Equal | None = "cost"
    ceiling: bool = False
    cluster: str = ""
    failures: Literal["left_out", "wrong"] = "left_out"
    max_cost: float | None = None
    in_flight: int = 16
    system: str = ""
    prices: Prices | None = None
    seed: int = 0
    judges: Sequence[LLM | Recipe] = ()
    rubric: str = ""
    write: Format | Literal[""] = ""
    say: Callable[[str], None] = lambda _: None
    watch: Callable[[str, Report], None] = lambda _, __: None

    def __post_init__(self) -> None:
        choices: dict[str, tuple[Any, ...]] = {
            "equal": ("cost", "calls", None),
            "failures": ("left_out", "wrong"),
            "write": ("", *FORMATS),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                words = ", ".join(str(one) for one in known if one != "")
                raise EvaluationError(f"{name} = {getattr(self, name)!r}: must be one of {words}")
        if self.write and not self.folder:
            raise EvaluationError(f"write = {self.write!r}: name the folder to write to")


async def aevaluate(
    arms: ArmSource,
    questions: Questions,
    scorer: str | Callable[[Question, str], float] | Scorer = "normalised",
    **settings: Any,
) -> Evaluation:
    """Ask several arms the same questions, score the answers, and compare the arms.

    Calls that arms share are made once: a member's answer alone is also its proposal in the mixture's first layer.

    Args:
        arms: A mixture, which gives its members alone, its aggregator alone, itself, and the best member asked
            several times for the same cost; or arms by name.
        questions: What a batch reads: a file, or questions.
        scorer: What ``make_scorer`` takes; or "rubric" for ratings by judges, or "pairwise" for comparisons of each arm
            with the mixture (or else the first arm) by judges; or "none".
        settings: What ``EvaluationSettings`` takes: folder, max_cost, cluster, ...

    Returns:
        The evaluation; ``stopped`` says why where it did not come to the end.

    Raises:
        EvaluationError: The arms, the questions or the settings are not valid; the message says what to do.
        BatchError: The questions cannot be read, or the folder holds answers of something else.
    """
    how = EvaluationSettings(**settings)
    known = with_prices(arms_of(arms), how.prices)
    known = with_limits(known, known)
    judged = scorer if scorer in BY_JUDGES else ""
    if bool(judged) != bool(how.judges):
        words = 'judges score by "rubric" or "pairwise", and these need judges'
        raise EvaluationError(f"{words}: give both (--score, --judge)")
    made = None if judged or scorer == UNSCORED else make_scorer(scorer)
    campaign = _Campaign(known, _questions(questions), made, how)
    campaign.judged_by = str(judged)
    return await campaign.run()


def evaluate(
    arms: ArmSource,
    questions: Questions,
    scorer: str | Callable[[Question, str], float] | Scorer = "normalised",
    **settings: Any,
) -> Evaluation:
    """Like ``aevaluate``, for sync code and for notebooks."""

    async def once() -> AsyncGenerator[Evaluation, None]:
        yield await aevaluate(arms, questions, scorer, **settings)

    (evaluation,) = iterate_blocking(once)
    return evaluation


def _questions(questions: Questions) -> list[Question]:
    """What a batch reads, or a public scorer's file of questions."""
    if isinstance(questions, (str, Path)) and format_of(questions):
        return read_public(questions)
    return list(unique(questions))


class _Campaign:
    def __init__(
        self,
        arms: tuple[Arm, ...],
        questions: list[Question],
        scorer: Scorer | None,
        how: EvaluationSettings,
    ) -> None:
        members = tuple(arm for arm in arms if arm.kind == "member")
        self.arms = members if how.ceiling else arms
        self.questions, self.scorer, self.how = questions, scorer, how
        self.asked_questions = {question.id: question for question in questions}
        self.answers: dict[str, dict[str, Answer]] = {}
        self.scores: dict[str, dict[str, float]] = {}
        self.asked: list[Arm] = []
        self.judged_by = ""
        judges = [Arm(_judge_name(judge), recipe_of(judge)) for judge in how.judges]
        self.judges = with_limits(with_prices(judges, how.prices), arms)
        self.jury = Jury(self.judges, partial(self._ask, kind="judgments"), how.rubric)
        self.remarks: list[str] = []
        self.spent, self.lost, self.stopped = Cost(), Decimal(0), ""

    async def run(self) -> Evaluation:
        self._check()
        self.how.say(self._outlook())
        with ExitStack() as stack:
            folder = Path(self.how.folder or stack.enter_context(TemporaryDirectory()))
            for kind in ("arms", "judgments"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            self.store = SqliteKVStore(folder / "cache.sqlite")
            stack.callback(self.store.close)
            self.folder = folder
            self.lost = lost_in(folder, self.store, (*self.arms, *self.judges))
            self.spent = Cost(self.lost)
            await self._ask_all()
            if self.how.write:
                await self._write(self.how.write)
        evaluation = self._compared()
        if self.how.folder:
            (folder / "evaluation.json").write_text(evaluation.to_json(indent=1), "utf-8")
        return evaluation

    @property
    def is_scored(self) -> bool:
        """Whether anything scores the answers."""
        return bool(self.scorer or self.judged_by)

    def _scored_by(self) -> str:
        judges = ", ".join(judge.name for judge in self.judges)
        by_judges = f"{self.judged_by} by {judges}" if self.judged_by else "nobody"
        return self.scorer.name if self.scorer else by_judges

    def _compared(self) -> Evaluation:
        column = self.how.cluster
        groups = {one.id: str(one.fields[column]) for one in self.questions} if column else {}
        scored = [arm for arm in self.asked if arm.name in self.scores]
        material = Material(
            arms=scored, answers={arm.name: self.answers[arm.name] for arm in scored},
            scores=self.scores, questions=self.questions, groups=groups, scorer=self.scorer,
            scored_by=self._scored_by(), wrong=self.how.failures == "wrong", seed=self.how.seed,
            remarks=self.remarks, stopped=self.stopped,
            usd=None if self.spent.usd is None else float(self.spent.at_least),
        )  # fmt: skip
        evaluation = compare(material)
        if not self.judged_by:
            return evaluation
        rates = self.jury.win_rates(self.answers, groups)
        return replace(evaluation, judging=self.jury.judging(), win_rates=rates)

    def _check(self) -> None:
        if not self.questions:
            raise EvaluationError("there are no questions")
        if not self.arms:
            problem = "a ceiling needs members: give a mixture, or single models by name"
            raise EvaluationError(problem)
        cluster = self.how.cluster
        for question in self.questions:
            if self.scorer:
                self.scorer.prepare(question)
            if cluster and cluster not in question.fields:
                raise EvaluationError(f"question {question.id}: there is no column {cluster!r}")
        mixes = any(arm.kind == "mixture" for arm in self.arms)
        equal = self.is_scored and self.how.equal == "cost" and mixes
        if not equal and self.how.max_cost is None:
            return
        arms = (*self.arms, *(self.judges if self.how.max_cost is not None else ()))
        if any(arm.recipe.estimate("?").least_cost.unpriced for arm in arms):
            remedy = " or compare at equal calls" if self.how.max_cost is None else ""
            why = "--max-cost" if self.how.max_cost is not None else "equal cost"
            raise EvaluationError(f"{why}: {unpriced_words(*arms)}{remedy}")

    def _outlook(self) -> str:
        """What each arm will cost, by the first questions."""
        some = [one.conversation(self.how.system) for one in self.questions[:_SAMPLE]]
        share = Decimal(len(self.questions)) / len(some)
        costs_of_some = [foreseen(self.arms, messages) for messages in some]
        lines = [f"{len(self.questions):,} questions. What the arms will cost at most:"]
        for arm in self.arms:
            bounds = [costs[arm.name][1] for costs in costs_of_some]
            most = sum((bound for bound in bounds if bound), Cost())
            known = all(bounds) and not most.unpriced
            money = dollars(most.at_least * share) if known else "unknown"
            lines.append(f"  {arm.name}: {money}")
        if self.how.equal and any(arm.kind == "mixture" for arm in self.arms):
            lines.append(
                f"  the best member several times: no more than the mixture's {self.how.equal}, twice"
            )
        return "\n".join(lines)

    async def _ask_all(self) -> None:
        for more in (lambda: self.arms, self._baselines):
            arms = more()
            for arm in arms:
                if not self.stopped:
                    self.answers[arm.name] = await self._ask(arm, self.questions, arm.name)
                    self.asked.append(arm)
            for arm in arms:
                if arm in self.asked and not (self.judged_by and self.stopped):
                    self.scores[arm.name] = await self._score(arm)

    async def _ask(
        self, arm: Arm, questions: Sequence[Question], name: str, kind: str = "arms"
    ) -> dict[str, Answer]:
        path = self._path(name, kind)
        most = self.how.max_cost
        if most is not None:
            most = max(0.0, float(Decimal(str(most)) - spent_in(self.folder, but=path) - self.lost))
        report = await arun_batch(
            cached(arm.recipe, self.store), questions, path, in_flight=self.how.in_flight,
            max_cost=most, system="" if kind == "judgments" else self.how.system, details=True,
            watch=partial(self.how.watch, name),
        )  # fmt: skip
        self.spent += report.spent
        self.stopped = self.stopped or (f"{name}: {report.stopped}" if report.stopped else "")
        return _read(path, questions)

    async def _score(self, arm: Arm) -> dict[str, float]:
        answers, questions = self.answers[arm.name], self.asked_questions
        if self.scorer:
            return scores_of(questions, answers, self.scorer, self.how.failures == "wrong")
        if not self.judged_by:
            return {}
        texts = {name: question_text(question) for name, question in questions.items()}
        if self.judged_by == "rubric":
            return await self.jury.rate(arm.name, texts, answers)
        reference = mixture_of(self.asked) or self.asked[0]
        if arm == reference:
            return {name: 0.5 for name, answer in answers.items() if answer.kind is None}
        return await self.jury.compare(arm.name, reference.name, texts, self.answers)

    async def _write(self, form: Format) -> None:
        """Write each arm's answers for a public scorer; MT-Bench's second turns are asked for first."""
        self._path("", "second-turns").parent.mkdir(exist_ok=True)
        for arm in self.asked:
            turns = [_texts(self.answers[arm.name])]
            if form == "mt-bench":
                second = second_turns(self.questions, turns[0])
                turns.append(_texts(await self._ask(arm, second, arm.name, "second-turns")))
            name = self._path(arm.name, "arms").stem
            place = f"{name}.json" if form == "alpaca-eval" else f"model_answer/{name}.jsonl"
            write_public(form, self.folder / form / place, name, self.questions, *turns)

    def _path(self, name: str, kind: str) -> Path:
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:60]
        return self.folder / kind / f"{plain}-{digest(name)[:6]}.jsonl"

    def _baselines(self) -> list[Arm]:
        """The best member, asked several times for what the mixture takes."""
        mixture = mixture_of(self.arms)
        if mixture is None or self.how.equal is None or self.stopped or not self.is_scored:
            return []
        means = {arm.name: means_of(self.answers[arm.name].values()) for arm in self.asked}
        best = self._best_member(means)
        if best is None or means[mixture.name] is None:
            self.remarks.append("there are no baselines, since members or mixture have no answers")
            return []
        spent, one = means[mixture.name], means[best.name]
        assert spent
        assert one
        votes, merged = equal_samples(self.how.equal, mixture, spent, best, one)
        arms = [self_consistency(best, votes)] if votes > 2 else []
        arms += [self_moa(best, mixture.recipe, merged)] if merged > 1 else []
        if len(arms) < 2:
            self.remarks.append(
                f"what the mixture takes is too little for all baselines: {best.name} could be asked {votes} times"
            )
        if arms:
            chosen = "was chosen as the best member on these same questions"
            self.remarks.append(f"{best.name} {chosen}, which favours its baselines a little")
        return arms

    def _best_member(self, means: Mapping[str, Any]) -> Arm | None:
        def quality(arm: Arm) -> tuple[float, float]:
            scores = self.scores[arm.name].values()
            return sum(scores) / len(scores), -(means[arm.name].usd or 0.0)

        members = [arm for arm in self.asked if arm.kind == "member" and self.scores.get(arm.name)]
        return max(members, key=quality, default=None)


def _judge_name(judge: LLM | Recipe) -> str:
    return judge.name if isinstance(judge, Recipe) else model_name(judge)


def _texts(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {name: answer.text for name, answer in answers.items() if answer.kind is None}


def _read(path: Path, questions: Sequence[Question]) -> dict[str, Answer]:
    """The answers of a batch's files in the order of their questions; a failure where there is no answer."""
    found: dict[str, Answer] = {}
    for file in (path.with_suffix(".failed.jsonl"), path):
        if file.exists():
            with file.open("rb") as lines:
                answers = [answer_of(json.loads(line)) for line in lines]
            found |= {answer.question.id: answer for answer in answers}
    return {one.id: found[one.id] for one in questions if one.id in found}
