"""The outcome of a question, and of the whole batch."""

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
"""The columns of answers in Parquet, and their Arrow types; lists and objects are JSON there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a question: an answer, or a failure.

    Attributes:
        question: The question.
        text: The answer; "" for a failure.
        model: The model that wrote it; of a mixture, the agent.
        finish_reason: The provider's word for why it stopped; "" if it gave none.
        degraded: Why the answer is less than a mixture's recipe requires; empty if it is not.
        usage: Tokens and requests; of a mixture, those of all its calls.
        cost: US dollars, or that they are unknown.
        seconds: How long it took.
        kind: The kind of failure; None for an answer.
        error: The failure in words, without secrets; "" for an answer.
        proposals: With ``details``, a mixture's proposals: ``layer``, ``agent``, ``text``.
        calls: With ``details``, a mixture's calls: ``layer``, ``agent``, ``role``, ``model``, tokens, ``cost_usd``,
            ``seconds``, ``cached``. A call that the cache answered has the numbers of the original call.
        fatal: Whether other questions would fail too: the store of the limits is wrong or out of reach.
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
    fatal: bool = False

    def row(self) -> dict[str, Any]:
        """Return the outcome as plain JSON data, as a file of answers holds it."""
        question, usage = self.question, self.usage
        row: dict[str, Any] = {"id": question.id}
        row |= {"messages": question.messages} if question.messages else {"question": question.text}
        row |= {"system": question.system} if question.system else {}
        row |= {"fields": question.fields} if question.fields else {}
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
        """Return the row as a line of JSON in UTF-8, without a line break."""
        row = self.row()
        try:
            return json.dumps(row, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:  # half a character, from a model
            return json.dumps(row, default=str).encode()


@dataclass(slots=True)
class OpenBatch:
    """A batch at a provider that is not over.

    Attributes:
        id: The provider's id.
        model: The model.
        begun: When it was started, in seconds since the epoch.
        done: The number of executed requests, as the provider counts them.
        total: The number of all its requests.
    """

    id: str
    model: str
    begun: float
    done: int = 0
    total: int = 0


def answer_of(row: Mapping[str, Any]) -> Answer:
    """Read an outcome from a row of a file of answers.

    Raises:
        ValueError: The object is not such a row.
    """
    try:
        question = Question(
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
            question,
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
        raise ValueError(f"this is not a row of a batch's answers ({error!r})") from None


def _cost(usd: float | None, estimated: bool) -> Cost:
    if usd is None:
        return Cost(unpriced=("some models",), estimated=estimated)
    return Cost(Decimal(str(usd)), estimated=estimated)


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a batch, or its outcome; ``print`` it.

    Attributes:
        total: The number of questions; None if they are read one by one.
        skipped: Questions that were answered in an earlier run.
        answered: Questions that were answered in this run.
        failed: Questions that failed in this run.
        degraded: Answers of this run that are less than a mixture's recipe asked for.
        usage: Tokens and requests of this run.
        cost: US dollars of this run, or that they are unknown.
        spent: US dollars of all runs of this batch.
        seconds: How long this run has taken.
        stopped: Why it ended before the last question; "" if it did not.
        mended: Bytes of an unfinished row that were cut off: the machine had failed while it was written.
        batches: The batches that are open at providers, oldest first.
        seconds_left: In how many seconds it may end; None if that is not known.
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
    seconds_left: float | None = None

    @property
    def questions_per_second(self) -> float:
        """The number of questions per second that ended, in an answer or a failure."""
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
