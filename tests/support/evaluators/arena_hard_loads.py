"""What Arena-Hard's own code makes of questions, answers and judgments in its folder data/arena-hard-v2.0, as JSON.

usage: python arena_hard_loads.py CHECKOUT, in the folder that holds data
"""

import json
import sys
from contextlib import redirect_stdout
from types import ModuleType


class Absent(ModuleType):
    """Stands for modules that ask or fit models: the loaders beside them do not need these modules."""

    def __getattr__(self, name: str) -> None:
        return None


for name in ("boto3", "shortuuid", "tiktoken", "torch", "utils.bedrock_utils", "utils.math_utils"):
    sys.modules[name] = Absent(name)
sys.path.insert(0, sys.argv[1])

import pandas as pd  # noqa: E402
from show_result import get_model_style_metadata, load_judgments  # noqa: E402  # pyright: ignore[reportMissingImports]
from utils.add_markdown_info import get_element_counts  # noqa: E402  # pyright: ignore[reportMissingImports]
from utils.completion import load_model_answers, load_questions  # noqa: E402  # pyright: ignore[reportMissingImports]

NAME = "arena-hard-v2.0"
answers = load_model_answers(f"data/{NAME}/model_answer")
with redirect_stdout(sys.stderr):
    battles = load_judgments(["judge"], NAME)
found = {
    "questions": [one["uid"] for one in load_questions(f"data/{NAME}/question.jsonl")],
    "answers": {
        uid: one["messages"][-1]["content"]["answer"] for uid, one in answers["moa"].items()
    },
    "style": get_model_style_metadata(NAME)["moa"],
    "counted": get_element_counts(
        pd.read_json(f"data/{NAME}/model_answer/moa.jsonl", lines=True), column="messages"
    ),
    "scores": battles.astype({"scores": float}).groupby("uid")["scores"].mean().to_dict(),
}
sys.stdout.write(json.dumps(found))
