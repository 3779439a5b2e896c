"""Evaluation: what scores and statistics cost where many questions are answered already."""

import random
import time

from llama_index.llms.openai import OpenAI
from peers import Peer
from report import Report
from rig import Rig

from llama_index.packs.mixture_of_agents import moa
from llama_index.packs.mixture_of_agents.batch import Answer, Question
from llama_index.packs.mixture_of_agents.evaluation import Arm, arms_of, make_scorer
from llama_index.packs.mixture_of_agents.evaluation.comparison import Material, compare, scores_of

ARMS, MEMBERS = 6, 3
SECONDS = 30.0


def run(_rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """Six arms, each with and without clusters."""
    report = Report("evaluation")
    rows: list[tuple[str, float, float]] = []
    for count in (1_000,) if quick else (1_000, 10_000):
        for name, groups in (("independent", 0), ("in groups of four", 4)):
            rows.append((f"{count:,} questions, {name}", *_measured(count, groups)))
    report.table(
        "Evaluation",
        ("", "scores, s of CPU", "statistics, s of CPU"),
        rows,
        f"{ARMS} arms, scored by number; {ARMS * (ARMS - 1) // 2} pairs with a bootstrap each; one process, one round.",
    )
    if not quick:
        most = max(scores + statistics for _, scores, statistics in rows)
        report.target("scores and statistics of 10,000 x 6", most, SECONDS, unit="s of CPU")
    return report


def _measured(count: int, size: int) -> tuple[float, float]:
    """Seconds of CPU for the scores and for the statistics."""
    questions = [
        Question(str(n), f"{n} + 1?", fields={"answer": n + 1, "group": str(n // (size or 1))})
        for n in range(count)
    ]
    arms, scorer = _arms(), make_scorer("number")
    answers = {arm.name: _answers(arm, questions) for arm in arms}
    by_id = {one.id: one for one in questions}
    begun = time.process_time()
    scores = {name: scores_of(by_id, given, scorer, wrong=False) for name, given in answers.items()}
    scored = time.process_time()
    compare(
        Material(
            arms=arms, answers=answers, scores=scores, questions=questions, scored_by="number",
            scorer=scorer, groups={one.id: one.fields["group"] for one in questions} if size else {},
        )
    )  # fmt: skip
    return scored - begun, time.process_time() - scored


def _arms() -> list[Arm]:
    members = [OpenAI(model="gpt-4.1-mini", api_key="none") for _ in range(MEMBERS)]
    recipe = moa([members[0]], members[0], layers=1)
    (alone, mixture) = arms_of(recipe)
    more = [Arm(f"member {n}", alone.recipe, "member") for n in range(1, MEMBERS)]
    return [alone, *more, mixture, *(Arm(f"other {n}", recipe) for n in range(ARMS - MEMBERS - 1))]


def _answers(arm: Arm, questions: list[Question]) -> dict[str, Answer]:
    """Right ones in seven of ten cases, with the calls that they took."""
    chance, call = random.Random(arm.name), {"layer": 1, "role": "proposer", "cost_usd": 0.001}
    call |= {"input_tokens": 80, "output_tokens": 160, "seconds": 0.5, "cached": True}
    calls = [call] * (MEMBERS + 1 if arm.kind == "mixture" else 1)
    found: dict[str, Answer] = {}
    for n, question in enumerate(questions):
        texts = [f"It is {n + 1 + (chance.random() > 0.7)}." for _ in calls]
        proposals = [{"layer": 1, "agent": str(m), "text": text} for m, text in enumerate(texts)]
        shown = proposals[1:] if arm.kind == "mixture" else []
        found[question.id] = Answer(
            question, texts[0], proposals=shown, calls=calls, seconds=chance.random()
        )
    return found
