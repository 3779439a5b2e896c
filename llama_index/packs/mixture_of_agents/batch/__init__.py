"""Many questions to any LLM, with the answers in a file: bounded, resumable.

    report = run_batch(mixture, "questions.jsonl", "answers.jsonl")

Needs nothing more for JSONL, text and CSV; Parquet needs the extra ``batch``.
"""

from .driver import Settings, arun_batch, run_batch
from .flow import answers
from .input_files import read_questions
from .outcomes import Answer, OpenBatch, Report
from .question import Question

__all__ = [
    "Answer",
    "OpenBatch",
    "Question",
    "Report",
    "Settings",
    "answers",
    "arun_batch",
    "read_questions",
    "run_batch",
]
