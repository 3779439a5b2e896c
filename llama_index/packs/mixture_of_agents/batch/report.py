"""What came of a batch."""

from dataclasses import dataclass

from llama_index.packs.mixture_of_agents.events import Usage
from llama_index.packs.mixture_of_agents.pricing import Cost


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
