"""What FastChat's own loaders make of MT-Bench's questions and of answers to them, as JSON.

usage: python fastchat_loads.py QUESTIONS MODEL_ANSWER_FOLDER MODEL
"""

import json
import sys
from types import ModuleType


class Absent(ModuleType):
    """Stands for modules that run models: they need torch, and the loaders beside them do not need these modules."""

    def __getattr__(self, name: str) -> None:
        return None


for name in ("fastchat.model", "fastchat.model.model_adapter"):
    sys.modules[name] = absent = Absent(name)
    absent.__path__ = []

from fastchat.llm_judge.common import check_data, load_model_answers, load_questions  # noqa: E402  # pyright: ignore[reportMissingImports]

questions = load_questions(sys.argv[1], None, None)
answers = load_model_answers(sys.argv[2])
check_data(questions, answers, {}, [sys.argv[3]], {})
sys.stdout.write(json.dumps(answers))
