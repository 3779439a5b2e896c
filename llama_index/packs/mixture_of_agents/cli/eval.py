"""``moa eval``: whether a mixture is worth its money."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .command import FAILED, Flags, UsageError, command, say

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.batch import Report
    from llama_index.packs.mixture_of_agents.evaluation import Arm, Evaluation
    from llama_index.packs.mixture_of_agents.recipe import Recipe


Questions = Annotated[
    Path,
    Argument(
        help="The questions with their right answers: .jsonl, .csv, .tsv, .parquet; or a public scorer's judgments.",
        show_default=False,
    ),
]
Score = Annotated[
    str,
    Option(
        "--score",
        help="exact, normalised, number, choice, regex, json, contains, module:function; or, with a judge, rubric, pairwise; or none.",
    ),
]
Column = Annotated[
    str, Option("--answers", metavar="COLUMN", help="The column of the right answers.")
]
Tolerance = Annotated[
    float, Option("--tolerance", help="For numbers: how far from the right one, as a share of it.")
]
Cluster = Annotated[
    str, Option("--cluster", metavar="COLUMN", help="Which questions belong together.")
]
Further = Annotated[
    list[str] | None,
    Option("--arm", metavar="NAME=WHAT", help="A further arm: a recipe file, or a model."),
]
Equally = Annotated[
    str, Option("--equal", help="What the baselines may take: the mixture's cost or calls.")
]
MaxCost = Annotated[
    float | None, Option("--max-cost", help="US dollars that all arms together may cost.")
]
Failures = Annotated[
    str, Option("--failures", help="Questions without an answer: left_out or wrong.")
]
Alone = Annotated[
    bool, Option("--ceiling", help="Ask the members alone: can a mixture of them pay at all?")
]
Folder = Annotated[
    Path | None, Option("--out", "-o", help="A folder for the answers; run it again to continue.")
]
InFlight = Annotated[int, Option("--in-flight", help="Questions asked at once.")]
System = Annotated[str, Option("--system", "-s", help="A system prompt for questions without one.")]
Judges = Annotated[
    list[str] | None,
    Option("--judge", metavar="MODEL", help="An LLM that judges, for rubric and pairwise."),
]
Rubric = Annotated[str, Option("--rubric", help="What makes an answer good, for judges.")]
Written = Annotated[
    str,
    Option(
        "--write",
        metavar="SCORER",
        help="Write the answers for a public scorer too: alpaca-eval, mt-bench, arena-hard, flask.",
    ),
]
Page = Annotated[Path | None, Option("--html", help="Write the report to this file, as a page.")]
AsJson = Annotated[bool, Option("--json", help="Print everything as JSON.")]


@command
def evaluate(
    models: Flags,
    questions: Questions,
    score: Score = "normalised",
    column: Column = "answer",
    tolerance: Tolerance = 0.0,
    cluster: Cluster = "",
    arm: Further = None,
    equal: Equally = "cost",
    max_cost: MaxCost = None,
    failures: Failures = "left_out",
    ceiling: Alone = False,
    folder: Folder = None,
    in_flight: InFlight = 16,
    system: System = "",
    judge: Judges = None,
    rubric: Rubric = "",
    write: Written = "",
    html: Page = None,
    as_json: AsJson = False,
) -> int:
    """Say whether a mixture is worth its money, on your own questions.

    The mixture, its members alone, and its best member asked several times for the same money answer the same
    questions. Calls that they share are made once.
    """
    if _judged(questions):
        return 0
    out = folder or questions.with_suffix(".eval")
    settings: dict[str, Any] = {
        "cluster": cluster, "equal": equal, "max_cost": max_cost, "failures": failures,
        "ceiling": ceiling, "folder": out, "in_flight": in_flight, "system": system,
        "judges": judge or (), "rubric": rubric, "write": write,
    }  # fmt: skip
    recipe = _recipe(models)
    evaluation = _run(_arms(recipe, arm or []), questions, (score, column, tolerance), settings)
    _show(evaluation, html, as_json)
    say(f"The answers are in {out}; run it again to continue, or to score them differently.")
    return FAILED if evaluation.stopped else 0


def _recipe(models: Flags) -> "Recipe":
    from .sources import find

    source = find(models)
    recipe = source.recipe()
    say(f"{recipe}\nModels from {source.origin}.")
    return recipe


def _judged(path: Path) -> bool:
    """Report on a public scorer's judgments, if it is these that a file holds."""
    from llama_index.packs.mixture_of_agents.evaluation.battles import (
        is_judgments,
        read_judgments,
        report_of,
    )

    if not is_judgments(path):
        return False
    print(report_of(read_judgments(path)))
    return True


def _show(evaluation: "Evaluation", html: Path | None, as_json: bool) -> None:
    if html:
        html.write_text(evaluation.to_html(), "utf-8")
    print(evaluation.to_json(indent=1) if as_json else evaluation)


def _arms(recipe: "Recipe", further: list[str]) -> "list[Arm]":
    from llama_index.packs.mixture_of_agents.config import load, model_of
    from llama_index.packs.mixture_of_agents.evaluation import arms_of
    from llama_index.packs.mixture_of_agents.evaluation.arms import named_arm

    arms = [*arms_of(recipe)]
    for one in further:
        name, _, what = one.partition("=")
        if not name or not what:
            raise UsageError(f"--arm {one}: say NAME=FILE or NAME=provider:model")
        arms.append(named_arm(name, load(what) if Path(what).exists() else model_of(what)))
    return arms


def _run(
    arms: "list[Arm]", questions: Path, scoring: tuple[str, str, float], settings: dict[str, Any]
) -> "Evaluation":
    from llama_index.packs.mixture_of_agents.config import model_of
    from llama_index.packs.mixture_of_agents.evaluation import aevaluate, make_scorer
    from llama_index.packs.mixture_of_agents.evaluation.campaign import BY_JUDGES, UNSCORED

    from .loop import Loop

    how, column, tolerance = scoring
    settings["judges"] = [model_of(name) for name in settings["judges"]]
    named = (*BY_JUDGES, UNSCORED)
    scorer = how if how in named else make_scorer(how, column, tolerance=tolerance)
    with Loop(fast=True) as loop:
        work = aevaluate(arms, questions, scorer, say=say, watch=_Bar(), **settings)
        return loop.run(work)


class _Bar:
    """How far each arm is: a line that is written over on a terminal, else a line for each arm."""

    def __init__(self) -> None:
        self._arm = ""

    def __call__(self, arm: str, report: "Report") -> None:
        done = report.skipped + report.answered + report.failed
        if sys.stderr.isatty():
            end = "\n" if done == report.total else ""
            print(f"\r{arm}: {done:,} of {report.total:,}", end=end, file=sys.stderr, flush=True)
        elif arm != self._arm:
            say(f"Asking {arm}: {report.total:,} questions, {report.skipped:,} answered already.")
        self._arm = arm
