"""What a run gave: a view over its events, nothing kept twice."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from .events import (
    AnswerDelta,
    CallFinished,
    Degraded,
    Event,
    LayerFinished,
    NoteTaken,
    Proposal,
    RunFinished,
    RunStarted,
    Usage,
)
from .failures import Failure


@dataclass(frozen=True)
class LayerResult:
    """One layer of a run.

    Attributes:
        layer: its number, from 1; the aggregator's layer comes last.
        calls: its calls, in the order in which they began; a judge's calls are among them.
        references: what it passed on, in order (for the aggregator's layer: nothing).
        reason: why it closed ("all", "quorum", "deadline"; "" for the aggregator's layer).
    """

    layer: int
    calls: tuple[CallFinished, ...]
    references: tuple[Proposal, ...]
    reason: str

    @property
    def usage(self) -> Usage:
        return sum((call.usage for call in self.calls), Usage())

    @property
    def slowest(self) -> CallFinished | None:
        """The call that held the layer up."""
        return max(self.calls, key=lambda call: call.ended, default=None)


@dataclass(frozen=True)
class MixtureResult:
    """The result of a run; ``print(result)`` prints the answer.

    Args:
        events: the events of one run, in order, without the pieces of the streamed answer.
    """

    events: tuple[Event, ...]

    @classmethod
    def fold(cls, events: Iterable[Event]) -> "MixtureResult":
        """The result of a sequence of events, whole or cut off anywhere."""
        return cls(tuple(event for event in events if not isinstance(event, AnswerDelta)))

    def _of(self, kind: type[Any]) -> tuple[Any, ...]:
        return tuple(event for event in self.events if isinstance(event, kind))

    @cached_property
    def _end(self) -> RunFinished:
        last = self.events[-1] if self.events else None
        return (
            last
            if isinstance(last, RunFinished)
            else RunFinished(getattr(last, "at", 0.0), error="unfinished")
        )

    @cached_property
    def calls(self) -> tuple[CallFinished, ...]:
        """Every call, in the order in which they began: that of the recipe's proposers."""
        return tuple(sorted(self._of(CallFinished), key=lambda call: call.call))

    @property
    def run_id(self) -> str:
        return next((start.run_id for start in self._of(RunStarted)), "")

    @property
    def question(self) -> str:
        return next((start.question for start in self._of(RunStarted)), "")

    @property
    def message(self) -> ChatMessage | None:
        """The answer as a chat message; None where the run ended without one."""
        return self._end.message

    @property
    def answer(self) -> str:
        """The answer's text; "" where there is none."""
        blocks = self.message.blocks if self.message else ()
        return "".join(getattr(block, "text", "") for block in blocks if block.block_type == "text")

    @property
    def answered_by(self) -> str:
        """The agent that wrote the answer: an aggregator, or a proposer whose proposal stands for it."""
        return self._end.agent

    @property
    def error(self) -> str:
        """Why there is no answer; "" where there is one."""
        return self._end.error

    @cached_property
    def layers(self) -> tuple[LayerResult, ...]:
        closed = {event.layer: event for event in self._of(LayerFinished)}
        numbers = sorted({call.layer for call in self.calls} | set(closed))
        return tuple(
            LayerResult(
                number,
                tuple(call for call in self.calls if call.layer == number),
                closed[number].references if number in closed else (),
                closed[number].reason if number in closed else "",
            )
            for number in numbers
        )

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Every proposal of every proposer layer."""
        return tuple(p for call in self.calls if call.role == "proposer" for p in call.proposals)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """A record of every call that failed."""
        return tuple(call.failure for call in self.calls if call.failure)

    @property
    def notes(self) -> tuple[NoteTaken, ...]:
        """What selections found out: rankings, votes, analyses."""
        return self._of(NoteTaken)

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the answer is less than the recipe asked for; empty when it is whole."""
        return tuple(event.reason for event in self._of(Degraded))

    @property
    def usage(self) -> Usage:
        return sum((call.usage for call in self.calls), Usage())

    @property
    def elapsed(self) -> float:
        """Seconds from the run's start to its end."""
        return self._end.at

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds until the first piece of the answer, where it streamed."""
        writers = [call for call in self.calls if call.role == "aggregator" and call.proposals]
        return writers[-1].first_token if writers else None

    @property
    def critical_path(self) -> tuple[CallFinished, ...]:
        """The call that held up each layer, in order."""
        return tuple(layer.slowest for layer in self.layers if layer.slowest)

    def to_json(self, *, indent: int | None = None) -> str:
        """All of it as JSON, without loss."""
        return _adapter().dump_json(self.events, indent=indent).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "MixtureResult":
        """The result that ``to_json`` wrote.

        Raises:
            pydantic.ValidationError: the text is not such a result.
        """
        return cls(_adapter().validate_json(text))

    def __str__(self) -> str:
        return self.answer

    def __repr__(self) -> str:
        answer = self.answer if len(self.answer) <= 60 else self.answer[:57] + "..."
        state = f"degraded={list(self.degraded)!r}, " if self.degraded else ""
        state += f"error={self.error!r}, " if self.error else ""
        return (
            f"MixtureResult(answer={answer!r}, {state}calls={len(self.calls)}, "
            f"tokens={self.usage.total_tokens}, elapsed={self.elapsed:.2f})"
        )


@cache
def _adapter() -> Any:
    from typing import Annotated

    from pydantic import Field, TypeAdapter

    return TypeAdapter(tuple[Annotated[Event, Field(discriminator="kind")], ...])
