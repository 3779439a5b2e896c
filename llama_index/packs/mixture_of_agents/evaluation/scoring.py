"""Scores for answers, from the right answers of a column or from a function of the user's."""

import json
import math
import re
import string
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.batch import Question
from llama_index.packs.mixture_of_agents.errors import EvaluationError

RIGHT_ANSWERS = "answer"
"""The column of the right answers, unless another is given."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Gives an answer its score. Make one with ``make_scorer``.

    Attributes:
        name: What it is called in the report.
        compare: The score of an answer, from the answer and the right one.
        column: The column of the right answers; "" if ``compare`` takes the whole question.
        check: Raises ValueError for a right answer that is not valid.
    """

    name: str
    compare: Callable[[str, Any], float]
    column: str = RIGHT_ANSWERS
    check: Callable[[Any], object] = lambda _: None

    def right(self, question: Question) -> Any:
        """Return the right answer to a question; the question itself if there is no column.

        Args:
            question: The question.
        """
        return question.fields.get(self.column) if self.column else question

    def prepare(self, question: Question) -> None:
        """Check that a question can be scored.

        Args:
            question: The question.

        Raises:
            EvaluationError: It has no right answer, or one that is not valid.
        """
        if not self.column:
            return
        right = self.right(question)
        if right is None or right == "":
            found = ", ".join(question.fields) or "none"
            raise EvaluationError(
                f"question {question.id}: there is no right answer in the column {self.column!r} (columns: {found}). "
                "Name the column of the right answers, or score with a function"
            )
        try:
            self.check(right)
        except (ValueError, TypeError, re.error) as error:
            raise EvaluationError(f"question {question.id}: {right!r}: {error}") from None

    def __call__(self, question: Question, answer: str) -> float:
        """The score of an answer, 1 for right and 0 for wrong where it is one or the other.

        Raises:
            EvaluationError: The user's function did not return a number.
        """
        score: Any = self.compare(answer, self.right(question))
        if not isinstance(score, (bool, int, float)) or not math.isfinite(score):
            raise EvaluationError(
                f"{self.name} returned {score!r} for question {question.id}: return a number, True or False"
            )
        return float(score)


def make_scorer(
    how: str | Callable[[Question, str], float] | Scorer,
    column: str = RIGHT_ANSWERS,
    *,
    tolerance: float = 0.0,
) -> Scorer:
    """Return a scorer.

    A right answer may be a list: then each of its items is right, except that ``contains`` needs all of them.

    Args:
        how: "exact", "normalised", "number", "choice", "regex", "json", "contains", the place of a Python function
            (``module:function``), or a function of the question and the answer that returns a score.
        column: The column of the right answers.
        tolerance: How far a number may be from the right one, as a share of the right one; for "number".

    Raises:
        EvaluationError: There is no such scorer.
    """
    if isinstance(how, Scorer):
        return how
    if callable(how):
        return _of_function(getattr(how, "__name__", "function"), how)
    if ":" in how:
        return _of_function(how, _imported(how))
    if how == "number":
        name = f"number within {tolerance:g}" if tolerance else "number"
        return Scorer(
            name, _any(lambda text, right: _close(text, right, tolerance)), column, _number
        )
    if how not in _COMPARISONS:
        known = ", ".join([*_COMPARISONS, "number"])
        raise EvaluationError(
            f"there is no scorer {how!r}: say {known}, or module:function; or, with judges, rubric or pairwise; or none"
        )
    compare, check = _COMPARISONS[how]
    return Scorer(how, compare, column, check)


def _of_function(name: str, function: Callable[[Question, str], float]) -> Scorer:
    return Scorer(name, lambda text, question: function(question, text), "")


def _imported(place: str) -> Callable[[Question, str], float]:
    module, _, name = place.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as "python -m" has it: the command's own path is that of its script
        sys.path.insert(0, here)
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(f"{place}: {error}; say module:function") from error
    if not callable(found):
        raise EvaluationError(f"{place} is not a function")
    function: Any = found
    return function


def _any(compare: Callable[[str, Any], bool]) -> Callable[[str, Any], float]:
    """A comparison with each of several right answers."""
    return lambda text, right: float(any(compare(text, one) for one in _several(right)))


def _several(right: Any) -> Sequence[Any]:
    return right if isinstance(right, (list, tuple)) else [right]  # type: ignore[reportUnknownVariableType]


def normalised(text: str) -> str:
    """A text without case, punctuation, articles and spaces too many."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_NO_PUNCTUATION)
    return " ".join(word for word in folded.split() if word not in ("a", "an", "the"))


_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_MARKED = re.compile(r"\\boxed\{([^{}]*)\}|####\s*(\S[^\n]*)")


def number_in(text: str) -> float | None:
    r"""The number that an answer comes to: the last one, or the last in ``\boxed{}`` or after ``####``."""
    marked = ["".join(pair) for pair in _MARKED.findall(text)]
    for place in (*marked[-1:], text):
        found = _NUMBER.findall(place.replace("$", ""))
        if found:
            return float(found[-1].rstrip(".,").replace(",", ""))
    return None


def _number(right: Any) -> float:
    if isinstance(right, (list, tuple)):
        return max(map(_number, right))  # type: ignore[reportUnknownArgumentType]
    found = float(right) if isinstance(right, (int, float)) else number_in(str(right))
    if found is None:
        raise ValueError("this is not a number")
    return found


def _close(text: str, right: Any, tolerance: float) -> bool:
    number, wanted = number_in(text), _number(right)
    return number is not None and math.isclose(
        number, wanted, rel_tol=tolerance, abs_tol=1e-9 * max(1.0, abs(wanted))
    )


_CHOICES = [
    re.compile(
        r"(?:answer|option|choice)\b[^A-Za-z0-9]*(?:is|:)?[^A-Za-z0-9]*\(?([A-Z])\b", re.IGNORECASE
    ),
    re.compile(r"\\boxed\{\s*\(?([A-Za-z])\)?\s*\}"),
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"\b([A-HJ-Z])\b"),  # without I, which is a word, and A, if it is one
]


def choice_in(text: str) -> str:
    """The letter that an answer chooses; "" where it chooses none."""
    plain = text.strip()
    alone = re.fullmatch(r"\W*([A-Za-z])\W*(?:[.):]\s.*)?", plain, re.DOTALL)
    if alone:
        return alone[1].upper()
    for pattern in _CHOICES:
        found = pattern.findall(plain)
        if found:
            return str(found[-1]).upper()
    return ""


def _letter(right: Any) -> str:
    letter = str(right).strip(" ().").upper()
    if not re.fullmatch(r"[A-Z]", letter):
        raise ValueError("this is not the letter of a choice")
    return letter


def _fields(text: str, right: Any) -> float:
    """The share of the right answer's fields that are right."""
    wanted, found = _object(right), _first_object(text)
    if not wanted:
        return float(found == {})
    return sum(name in found and found[name] == wanted[name] for name in wanted) / len(wanted)


def _object(right: Any) -> Mapping[str, Any]:
    data: Any = json.loads(right) if isinstance(right, str) else right
    if not isinstance(data, Mapping):
        raise ValueError("this is not a JSON object")  # noqa: TRY004 - it is the file's text
    return data  # type: ignore[reportUnknownVariableType]


def _first_object(text: str) -> Mapping[str, Any]:
    for place in (match.start() for match in re.finditer(r"\{", text)):
        try:
            found: Any = json.JSONDecoder().raw_decode(text, place)[0]
        except ValueError:
            continue
        return found
    return {}


def _contains(text: str, right: Any) -> float:
    folded = text.casefold()
    return float(all(str(part).casefold() in folded for part in _several(right)))


def _pattern(right: Any) -> object:
    return [re.compile(str(one)) for one in _several(right)]


_COMPARISONS: dict[str, tuple[Callable[[str, Any], float], Callable[[Any], object]]] = {
    "exact": (_any(lambda text, right: text.strip() == str(right).strip()), str),
    "normalised": (_any(lambda text, right: normalised(text) == normalised(str(right))), str),
    "choice": (
        _any(lambda text, right: choice_in(text) == _letter(right)),
        lambda right: [_letter(one) for one in _several(right)],
    ),
    "regex": (_any(lambda text, right: bool(re.search(str(right), text))), _pattern),
    "json": (_fields, _object),
    "contains": (_contains, str),
}
