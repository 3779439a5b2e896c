"""The files of public scorers: their questions read, answers written for them, their judgments read back.

AlpacaEval: a JSON list, ``annotations.json``. MT-Bench (FastChat): ``question.jsonl``, ``model_answer/*.jsonl``,
``model_judgment/*.jsonl``. Arena-Hard 2: files of the same names. FLASK: ``flask_evaluation.jsonl``. No questions are
bundled: each has its own licence.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llama_index.packs.mixture_of_agents._providers.usage import estimate_usage
from llama_index.packs.mixture_of_agents.batch import Question
from llama_index.packs.mixture_of_agents.errors import EvaluationError

Format = Literal["alpaca-eval", "mt-bench", "arena-hard", "flask"]
FORMATS: tuple[Format, ...] = ("alpaca-eval", "mt-bench", "arena-hard", "flask")
TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0,
    "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
}  # fmt: skip
"""MT-Bench's temperatures by category; 0.7 for others."""


def format_of(path: str | Path) -> Format | None:
    """The format of a file of questions, by what its first record holds; None for a batch's own.

    Raises:
        OSError: The file cannot be read.
    """
    keys = set(first_record(path))
    if keys & {"question", "messages"}:
        return None
    marks: dict[Format, set[str]] = {
        "mt-bench": {"question_id", "turns"},
        "arena-hard": {"uid", "prompt"},
        "flask": {"instruction", "skill"},
        "alpaca-eval": {"instruction"},
    }
    return next((name for name, mark in marks.items() if mark <= keys), None)


def first_record(path: str | Path) -> Mapping[str, Any]:
    """The first object of a file of JSON; an empty one where there is none.

    Raises:
        OSError: The file cannot be read.
    """
    if Path(path).suffix not in (".json", ".jsonl"):
        return {}
    record = next(iter(_records(Path(path), most=1)), None)
    return record if isinstance(record, Mapping) else {}  # type: ignore[reportUnknownVariableType]


def read_public(path: str | Path) -> list[Question]:
    """Return the questions of a file in one of the public formats, each with its other fields.

    Of MT-Bench's two turns it is the first; ``second_turns`` makes the others. The field ``temperature`` is the one that
    MT-Bench asks the question with.

    Args:
        path: The file.

    Raises:
        EvaluationError: It is in none of these formats, or a record lacks something.
        OSError: The file cannot be read.
    """
    form = format_of(path)
    if form is None:
        raise EvaluationError(f"{path}: this is none of {', '.join(FORMATS)}")
    questions: list[Question] = []
    for number, record in enumerate(_records(Path(path)), 1):
        try:
            questions.append(_READERS[form](record, number))
        except (KeyError, IndexError, TypeError) as error:  # noqa: PERF203 - it names the record
            raise EvaluationError(f"{path}, record {number}: {error!r} is missing") from None
    return questions


def second_turns(questions: Sequence[Question], answers: Mapping[str, str]) -> list[Question]:
    """Return MT-Bench's second turns, each after the answer to the first. Questions without an answer are left out.

    Args:
        questions: What ``read_public`` returned.
        answers: The answer to each first turn, by the question's id.
    """
    return [
        Question(
            question.id,
            messages=[
                {"role": "user", "content": question.text},
                {"role": "assistant", "content": answers[question.id]},
                {"role": "user", "content": question.fields["turns"][1]},
            ],
            fields=question.fields,
        )
        for question in questions
        if question.id in answers and len(question.fields.get("turns", ())) > 1
    ]


def write_public(
    form: Format,
    path: str | Path,
    model: str,
    questions: Sequence[Question],
    *turns: Mapping[str, str],
) -> None:
    """Write answers as a public scorer reads them.

    Args:
        form: The scorer's format.
        path: The file. MT-Bench and Arena-Hard take a model's name from the file's: ``model_answer/MODEL.jsonl``.
        model: What the answers' author is called.
        questions: The questions, as ``read_public`` read them.
        turns: The answers by their question's id; for MT-Bench a mapping for each turn.

    Raises:
        OSError: The file cannot be written.
    """
    rows = [
        _WRITERS[form](question, model, [turn[question.id] for turn in turns])
        for question in questions
        if all(question.id in turn for turn in turns)
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if form == "alpaca-eval":
        text = json.dumps(rows, ensure_ascii=False, indent=2) + "\n"
    else:
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    Path(path).write_text(text, "utf-8")


def _records(path: Path, most: int | None = None) -> Iterable[Any]:
    """The objects of a JSON list or of JSON lines."""
    text = path.read_text("utf-8-sig")
    try:
        if path.suffix == ".json":
            found: Any = json.loads(text)
            return found[:most]
        lines = [line for line in text.split("\n") if line.strip()]
        return [json.loads(line) for line in lines[:most]]
    except (ValueError, TypeError) as error:
        raise EvaluationError(
            f"{path}: this is neither a JSON list nor lines of JSON: {error}"
        ) from None


Record = Mapping[str, Any]


def _rest(record: Record, *taken: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in taken}


def _from_alpaca_eval(record: Record, number: int) -> Question:
    return Question(str(number), record["instruction"], fields=_rest(record, "instruction"))


def _from_mt_bench(record: Record, _: int) -> Question:
    known = TEMPERATURES.get(record["category"], 0.7)
    temperature = record.get("required_temperature", known)
    fields = {**_rest(record, "question_id"), "temperature": temperature}
    return Question(str(record["question_id"]), record["turns"][0], fields=fields)


def _from_arena_hard(record: Record, _: int) -> Question:
    return Question(str(record["uid"]), record["prompt"], fields=_rest(record, "uid", "prompt"))


def _from_flask(record: Record, number: int) -> Question:
    name = record.get("question_id", record.get("idx", number))
    return Question(str(name), record["instruction"], fields=_rest(record, "instruction"))


_READERS: Mapping[Format, Callable[[Record, int], Question]] = {
    "alpaca-eval": _from_alpaca_eval,
    "mt-bench": _from_mt_bench,
    "arena-hard": _from_arena_hard,
    "flask": _from_flask,
}


def _to_alpaca_eval(question: Question, model: str, turns: Sequence[str]) -> dict[str, Any]:
    row = {"instruction": question.text, "output": turns[0], "generator": model}
    return {"dataset": question.fields.get("dataset", ""), **row}


def _number(name: str) -> int | str:
    return int(name) if name.isdecimal() else name


def _to_mt_bench(question: Question, model: str, turns: Sequence[str]) -> dict[str, Any]:
    return {
        "question_id": _number(question.id),
        "answer_id": uuid.uuid4().hex,
        "model_id": model,
        "choices": [{"index": 0, "turns": list(turns)}],
        "tstamp": time.time(),
    }


def _to_arena_hard(question: Question, model: str, turns: Sequence[str]) -> dict[str, Any]:
    return {
        "uid": question.id,
        "ans_id": uuid.uuid4().hex,
        "model": model,
        "messages": [
            {"role": "user", "content": question.text},
            {"role": "assistant", "content": {"answer": turns[0]}},
        ],
        "tstamp": time.time(),
        "metadata": style_of(turns[0]),
    }


def _to_flask(question: Question, model: str, turns: Sequence[str]) -> dict[str, Any]:
    row = {"question_id": _number(question.id), "text": turns[0]}
    return {**row, "answer_id": uuid.uuid4().hex, "model_id": model, "metadata": {}}


_WRITERS: Mapping[Format, Callable[[Question, str, Sequence[str]], dict[str, Any]]] = {
    "alpaca-eval": _to_alpaca_eval,
    "mt-bench": _to_mt_bench,
    "arena-hard": _to_arena_hard,
    "flask": _to_flask,
}


def style_of(text: str) -> dict[str, Any]:
    """What Arena-Hard's style control counts in an answer, outside of its blocks of code.

    Its own tokenizer is fetched when it is used; tokens are counted here by LlamaIndex's.
    """
    prose = text
    for block in re.findall(r"```([^`]*)```", text):
        prose = prose.replace(block, "")

    def count(pattern: str) -> int:
        return len(re.findall(pattern, prose, re.MULTILINE))

    return {
        "token_len": estimate_usage([], text).output_tokens,
        "header_count": {f"h{level}": count(rf"^#{{{level}}}\s") for level in range(1, 7)},
        "list_count": {"ordered": count(r"^\s*\d+\.\s"), "unordered": count(r"^\s*[-*+]\s")},
        "bold_count": {"**": count(r"\*\*[^*\n]+\*\*"), "__": count(r"__[^_\n]+__")},
    }
