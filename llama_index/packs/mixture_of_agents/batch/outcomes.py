"""What became of a question, and of the whole batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import Cost

from .question import Question

COLUMNS = {
    "id": "string",
    "question": "string",
    "messages": "string",
    "system": "string",
    "fields": "string",
    "answer": "string",
    "model": "string",
    "finish_reason": "string",
    "degraded": "string",
    "input_tokens": "int64",
    "output_tokens": "int64",
    "requests": "int64",
    "estimated": "bool",
    "cost_usd": "double",
    "seconds": "double",
    "proposals": "string",
    "calls": "string",
}
"""The columns of answers in Parquet, and their Arrow types; what is no text or number is there as JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question.

    Attributes:
        question: the question.
        text: the answer; "" where there is none.
        model: who wrote it: a model, or an agent of a mixture.
        finish_reason: the provider's word for why it stopped; "" where it gave none.
        degraded: why it is less than a mixture's recipe asked for; empty when it is whole.
        usage: tokens and requests, of a mixture those of all its calls.
        cost: US dollars, or that they are unknown.
        seconds: how long it took.
        kind: what went wrong, where there is no answer.
        error: that in words, without secrets; "" where there is an answer.
        proposals: a mixture's proposals (``layer``, ``agent``, ``text``), where they were asked for.
        calls: a mixture's calls, where they were asked for: ``layer``, ``agent``, ``role``, ``model``, tokens,
            ``cost_usd``, ``seconds``, ``cached``. A call that the cache answered has the numbers of when it was made.
    """

    question: Question
    text: str = ""
    model: str = ""
    finish_reason: str = ""
    degraded: tuple[str, ...] = ()
    usage: Usage = Usage()
    cost: Cost = Cost()
    seconds: float = 0.0
    kind: FailureKind | None = None
    error: str = ""
    proposals: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[Mapping[str, Any]] = ()

    def row(self) -> dict[str, Any]:
        """It as plain JSON data, an object of a file of answers."""
        asked, usage = self.question, self.usage
        row: dict[str, Any] = {"id": asked.id}
        row |= {"messages": asked.messages} if asked.messages else {"question": asked.text}
        row |= {"system": asked.system} if asked.system else {}
        row |= {"fields": asked.fields} if asked.fields else {}
        if self.kind is None:
            row |= {"answer": self.text, "model": self.model, "finish_reason": self.finish_reason}
            row |= {"degraded": self.degraded}
        else:
            row |= {"error": self.kind.value, "message": self.error}
        row |= {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        row |= {"requests": usage.requests, "estimated": usage.estimated}
        row |= {"cost_usd": None if self.cost.usd is None else float(self.cost.usd)}
        row |= {"seconds": round(self.seconds, 3)}
        row |= {"proposals": self.proposals} if self.proposals else {}
        row |= {"calls": self.calls} if self.calls else {}
        return row

    def to_json(self) -> bytes:
        """The row as a line of JSON in UTF-8, without its end."""
        row = self.row()
        try:
            return json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:  # a model may say half a character
            return json.dumps(row, default=str).encode()


@dataclass(slots=True)
class OpenBatch:
    """A batch at a provider that is not over.

    Attributes:
        id: The provider's id.
        model: The model.
        begun: When it was begun, in seconds since the epoch.
        done: Requests that were carried out, as the provider counts.
        total: All its requests.
    """

    id: str
    model: str
    begun: float
    done: int = 0
    total: int = 0


def answer_of(row: Mapping[str, Any]) -> Answer:
    """The answer that a row tells of.

    Raises:
        ValueError: it is no row of a file of answers.
    """
    try:
        asked = Question(
            row["id"],
            row.get("question", ""),
            row.get("messages", ()),
            row.get("system", ""),
            row.get("fields", {}),
        )
        usage = Usage(
            row["input_tokens"],
            row["output_tokens"],
            requests=row["requests"],
            estimated=row["estimated"],
        )
        kind = FailureKind(row["error"]) if "error" in row else None
        return Answer(
            asked,
            row["answer"] if kind is None else "",
            row.get("model", ""),
            row.get("finish_reason", ""),
            tuple(row.get("degraded", ())),
            usage,
            _cost(row["cost_usd"], usage.estimated),
            row["seconds"],
            kind,
            row.get("message", ""),
            row.get("proposals", ()),
            row.get("calls", ()),
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"this is no row of a batch's answers ({error!r})") from None


def _cost(usd: float | None, estimated: bool) -> Cost:
    if usd is None:
        return Cost(unpriced=("some models",), estimated=estimated)
    return Cost(Decimal(str(usd)), estimated=estimated)


@dataclass(frozen=True, slots=True)
class Report:
    """How far a batch is, or what came of it. ``print`` it.

    Attributes:
        total: how many questions there are; None where that cannot be known before they are read.
        skipped: how many of them had their answers already.
        answered: how many got an answer now.
        failed: how many got none now.
        degraded: how many of the answers are less than a mixture's recipe asked for.
        usage: tokens and requests, now.
        cost: US dollars, now, or that they are unknown.
        spent: US dollars of the whole batch, with what it spent before it was stopped and went on.
        seconds: how long it took, now.
        stopped: why it ended before the last question; "" where it did not.
        batches: the batches that are open at providers.
        mended: bytes that a failure of the machine had left of an answer, and that were cut off.
    """

    total: int | None = None
    skipped: int = 0
    answered: int = 0
    failed: int = 0
    degraded: int = 0
    usage: Usage = Usage()
    cost: Cost = Cost()
    spent: Cost = Cost()
    seconds: float = 0.0
    stopped: str = ""
    mended: int = 0
    batches: Sequence["OpenBatch"] = ()

    @property
    def questions_per_second(self) -> float:
        """How many questions a second were asked and came to an end."""
        return (self.answered + self.failed) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        counts = [f"{self.answered:,} answered", f"{self.failed:,} failed"]
        counts += [f"{self.skipped:,} answered before"] if self.skipped else []
        counts += [f"{self.degraded:,} degraded"] if self.degraded else []
        if not self.answered + self.failed and not self.stopped:
            return ", ".join(counts)
        usage = self.usage
        whole = f" ({self.spent} in all)" if self.spent.at_least != self.cost.at_least else ""
        lines = [
            ", ".join(counts),
            f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {self.cost}{whole}",
            f"{self.seconds:,.1f} s, {self.questions_per_second:,.1f} questions a second",
        ]
        return "\n".join([*lines, *([f"stopped: {self.stopped}"] if self.stopped else [])])
