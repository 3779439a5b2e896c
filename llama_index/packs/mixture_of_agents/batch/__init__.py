"""Many questions to any LLM, with the answers in a file: bounded, resumable.

    report = run_batch(mixture, "questions.jsonl", "answers.jsonl")

Needs nothing more for JSONL, text and CSV; Parquet needs the extra ``batch``.
"""

from .question import Question
from .reading import read_questions
from .results import Answer, Report
from .run import Settings, arun_batch, run_batch
from .stream import answers

__all__ = [
    "Answer",
    "Question",
    "Report",
    "Settings",
    "answers",
    "arun_batch",
    "read_questions",
    "run_batch",
]
