"""The evaluation of docs/worth.md: questions of reasoning-gym, answered by simulated members whose errors are known.

make worth                                prints the report
make worth ARGS="--questions FILE.jsonl"  writes the questions, for models of your own

reasoning-gym makes questions with right answers; it is in the environment of `make evaluators`.
"""

import json
import random
import sys
from collections import Counter
from pathlib import Path
from statistics import NormalDist
from typing import Any

from reasoning_gym import create_dataset  # pyright: ignore[reportMissingImports]

from llama_index.packs.mixture_of_agents.evaluation import evaluate
from llama_index.packs.mixture_of_agents.presets import moa_lite
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

KINDS = (
    "basic_arithmetic", "chain_sum", "count_bits", "count_primes", "gcd", "lcm", "leg_counting",
    "products",
)  # fmt: skip
EACH = 30
# The parts of the variance of what decides an answer: the question's own, which all members share; what a member makes
# of a question; the rest is new in every sample.
SHARED, OWN = 0.5, 0.3
PRICES = {"swift": (0.15, 0.6), "calm": (0.15, 0.6), "keen": (0.4, 1.6), "chief": (2.0, 8.0)}
_NORMAL = NormalDist()


def questions() -> list[dict[str, Any]]:
    """240 questions whose answers are whole numbers."""
    return [
        {"question": one["question"], "answer": int(one["answer"]), "kind": kind}
        for kind in KINDS
        for one in create_dataset(kind, size=EACH, seed=16)
    ]


def draw(*seed: Any) -> float:
    """A normal number that follows from the seed."""
    return _NORMAL.inv_cdf(random.Random(repr(seed)).random())


def member(name: str, accuracy: float, right: dict[str, int], follows: float = 0.0) -> ScriptedLLM:
    """A model with this accuracy on average. It follows the most frequent of its references this often."""
    asked: Counter[str] = Counter()

    def reply(messages: Any) -> str:
        question = messages[-1].content
        asked[question] += 1
        luck = SHARED**0.5 * draw(question) + OWN**0.5 * draw(name, question)
        luck += (1 - SHARED - OWN) ** 0.5 * draw(name, question, asked[question])
        wrong = 0 if _NORMAL.cdf(luck) < accuracy else 1 + asked[question] % 3
        lines = messages[0].content.splitlines()
        read = [line.split(". ", 1)[1] for line in lines if line[:1].isdigit()]
        if read and random.Random(repr((question, name))).random() < follows:
            return max(read, key=read.count)
        return str(right[question] + wrong)

    return ScriptedLLM(reply, model=name, usage=(80, 160))


def main() -> None:
    """Print the report, or write the questions."""
    asked = questions()
    if "--questions" in sys.argv:
        lines = "".join(f"{json.dumps(one)}\n" for one in asked)
        Path(sys.argv[sys.argv.index("--questions") + 1]).write_text(lines, "utf-8")
        return
    right = {one["question"]: one["answer"] for one in asked}
    members = [member(name, share, right) for name, share in
               {"swift": 0.62, "calm": 0.60, "keen": 0.70}.items()]  # fmt: skip
    mixture = moa_lite(members, member("chief", 0.76, right, follows=0.9), prices=PRICES)
    evaluation = evaluate(mixture, asked, "number")
    if "--html" in sys.argv:
        Path(sys.argv[sys.argv.index("--html") + 1]).write_text(evaluation.to_html(), "utf-8")
    print(evaluation)


if __name__ == "__main__":
    main()
