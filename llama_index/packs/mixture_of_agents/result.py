"""The result of a run: a view of its events that stores nothing twice."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from .errors import Failure, FailureKind
from .events import (
    AnswerDelta,
    CallFinished,
    Degraded,
    Event,
    LayerFinished,
    LayerStarted,
    NoteTaken,
    Proposal,
    RunFinished,
    RunStarted,
    Usage,
)
from .pricing import Cost, cost_of_call

RESULT_KEY = "mixture"
"""Where a response's ``additional_kwargs`` hold the run's ``MixtureResult``; no tracer sums tokens up there."""
_FORMAT = "mixture-of-agents/1"
_CANCELLED = (FailureKind.STRAGGLER, FailureKind.CANCELLED)


@dataclass(frozen=True)
class LayerResult:
    """One layer of a run.

    Attributes:
        layer: its number, from 1; the aggregator's layer comes last.
        calls: its calls, in the order in which they began; a judge's calls are among them.
        references: what it passed on, in order (for the aggregator's layer: nothing).
        reason: why it closed ("all", "quorum", "deadline"; "" for the aggregator's layer).
        run: the run that it is a part of.
        started: when it began, in seconds since the run's start.
    """

    layer: int
    calls: tuple[CallFinished, ...]
    references: tuple[Proposal, ...]
    reason: str
    run: RunStarted
    started: float = 0.0

    @property
    def usage(self) -> Usage:
        """The tokens and requests of all its calls."""
        return sum((call.usage for call in self.calls), Usage())

    @property
    def cost(self) -> Cost:
        """What its calls cost."""
        return sum((cost_of_call(call, self.run) for call in self.calls), Cost())

    @property
    def slowest(self) -> CallFinished | None:
        """The call that held the layer up: the last one that ended by itself. None if all of them were cancelled."""
        awaited = [c for c in self.calls if not c.failure or c.failure.kind not in _CANCELLED]
        return max(awaited, key=lambda call: call.ended, default=None)


@dataclass(frozen=True)
class MixtureResult:
    """The result of a run; ``print(result)`` prints the answer.

    Args:
        events: the events of one run, in order, without the pieces of the streamed answer.
    """

    events: tuple[Event, ...]

    @classmethod
    def fold(cls, events: Iterable[Event]) -> "MixtureResult":
        """Return the result of a sequence of events, whole or cut off anywhere.

        Args:
            events: the events of one run, in their order.
        """
        return cls(tuple(event for event in events if not isinstance(event, AnswerDelta)))

    def _of(self, kind: type[Any]) -> tuple[Any, ...]:
        return tuple(event for event in self.events if isinstance(event, kind))

    @cached_property
    def _end(self) -> RunFinished:
        last = self.events[-1] if self.events else None
        if isinstance(last, RunFinished):
            return last
        return RunFinished(getattr(last, "at", 0.0), error="unfinished")

    @cached_property
    def calls(self) -> tuple[CallFinished, ...]:
        """Every call, in the order in which they began: that of the recipe's proposers."""
        return tuple(sorted(self._of(CallFinished), key=lambda call: call.call))

    @cached_property
    def run(self) -> RunStarted:
        """How the run began: its name, its time, its question, its agents."""
        return next(iter(self._of(RunStarted)), RunStarted("", 0.0, "", (), ""))

    @property
    def run_id(self) -> str:
        """The run's name, which no other run has."""
        return self.run.run_id

    @property
    def question(self) -> str:
        """The question, as text."""
        return self.run.question

    @property
    def message(self) -> ChatMessage | None:
        """The answer as a chat message; None if there is none. If a stream broke off, the part that arrived."""
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
    def finish_reason(self) -> str:
        """The provider's word for why the agent that wrote the answer stopped; "" if it gave none."""
        own = [p for c in self.calls for p in c.proposals if self.answered_by in (c.agent, p.agent)]
        same = [p for p in own if p.text == self.answer]  # it may also judge, or have other layers
        return (same or own)[-1].finish_reason if own else ""

    @property
    def error(self) -> str:
        """Why there is no answer; "" where there is one."""
        return self._end.error

    @cached_property
    def layers(self) -> tuple[LayerResult, ...]:
        """The layers that were asked, in order, each with its calls."""
        closed = {event.layer: event for event in self._of(LayerFinished)}
        begun = {event.layer: event.at for event in self._of(LayerStarted)}
        numbers = sorted({call.layer for call in self.calls} | set(closed))
        return tuple(
            LayerResult(
                number,
                tuple(call for call in self.calls if call.layer == number),
                closed[number].references if number in closed else (),
                closed[number].reason if number in closed else "",
                self.run,
                begun.get(number, 0.0),
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
        """The findings of selections: rankings, votes, analyses."""
        return self._of(NoteTaken)

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the answer is less than the recipe asked for; empty when it is whole."""
        return tuple(event.reason for event in self._of(Degraded))

    @property
    def usage(self) -> Usage:
        """The tokens and requests of all calls."""
        return sum((call.usage for call in self.calls), Usage())

    @property
    def cost(self) -> Cost:
        """US dollars of all calls, or that a part of it is unknown; see ``Cost``."""
        return sum((self.cost_of(call) for call in self.calls), Cost())

    def cost_of(self, call: CallFinished) -> Cost:
        """Return what one of its calls cost in US dollars, or that this is unknown.

        Args:
            call: the call.
        """
        return cost_of_call(call, self.run)

    @property
    def elapsed(self) -> float:
        """Seconds from the run's start to its end."""
        return self._end.at

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds until the first piece of a streamed answer; None if it was not streamed."""
        writers = [call for call in self.calls if call.role == "aggregator" and call.proposals]
        return writers[-1].first_token if writers else None

    @property
    def critical_path(self) -> tuple[CallFinished, ...]:
        """The call that held up each layer, in order."""
        return tuple(layer.slowest for layer in self.layers if layer.slowest)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the whole result as JSON: its events, and the facts that a reader without this library wants.

        Args:
            indent: the spaces for each level; None for a single line.
        """
        cost = self.cost
        known: dict[str, Any] = {
            "format": _FORMAT,
            "answer": self.answer,
            "answered_by": self.answered_by,
            "error": self.error,
            "degraded": self.degraded,
            "elapsed": self.elapsed,
            "usage": asdict(self.usage),
            "cost": {"usd": None if cost.usd is None else str(cost.usd), "unpriced": cost.unpriced},
            "events": _adapter().dump_python(self.events, mode="json"),
        }
        return json.dumps(known, ensure_ascii=False, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> "MixtureResult":
        """Return the result that ``to_json`` wrote.

        Args:
            text: the JSON.

        Raises:
            ValueError: the text is not such a result.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"this is not a saved result, since it is not JSON: {error}") from None
        if not isinstance(document, dict) or document.get("format") != _FORMAT:  # type: ignore[reportUnknownMemberType]
            raise ValueError(f'this is not a saved result: it does not say "format": "{_FORMAT}"')
        return cls(_adapter().validate_json(json.dumps(document.get("events"))))  # type: ignore[reportUnknownMemberType]

    @classmethod
    def load(cls, path: str | Path, run: int | str = -1) -> "MixtureResult":
        """Return a run from a trace file (see ``trace_to``), or from a file that holds what ``to_json`` wrote.

        Args:
            path: the file.
            run: the run's place in the file, from 0 (negative: from its end), or its ``run_id``.

        Raises:
            ValueError: the file has no such run, or is not a trace file.
            OSError: the file cannot be read.
        """
        runs = saved_runs(path)
        try:
            return runs[run] if isinstance(run, int) else {one.run_id: one for one in runs}[run]
        except LookupError:
            raise ValueError(f"{path} holds {len(runs)} runs, but no run {run!r}") from None

    def summary(self) -> str:
        """Return a table of all calls with their seconds, tokens and money, as plain text."""
        from llama_index.packs.mixture_of_agents.display.text import summary

        return summary(self)

    def timeline(self) -> Any:
        """Return a plotly figure of when each call ran, with a mark at the slowest call of each layer.

        Raises:
            ImportError: plotly is not installed (extra ``plot``).
        """
        from llama_index.packs.mixture_of_agents.display.timeline import timeline

        return timeline(self)

    def _repr_html_(self) -> str:
        from llama_index.packs.mixture_of_agents.display.page import page

        return page(self)

    def __rich__(self) -> Any:
        from llama_index.packs.mixture_of_agents.display.terminal import whole

        return whole(self)

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


def event_data(event: Event) -> dict[str, Any]:
    """Return an event as JSON data, as a trace file holds it.

    Args:
        event: Any event but a piece of a streamed answer, which no trace file holds.
    """
    return _adapter().dump_python((event,), mode="json")[0]


def saved_runs(path: str | Path) -> list[MixtureResult]:
    """Return every run of a file, in order.

    Args:
        path: A trace file, or a file that holds what ``to_json`` wrote.

    Raises:
        ValueError: it is not a trace file; the message names the place.
        OSError: it cannot be read.
    """
    text = Path(path).read_text("utf-8")
    indented = text.startswith("{\n")
    runs: list[MixtureResult] = []
    # Not splitlines: an answer may hold the other characters at which that splits.
    for number, line in enumerate([text] if indented else text.split("\n"), 1):
        try:
            runs += [MixtureResult.from_json(line)] if line.strip() else []
        except ValueError as error:  # noqa: PERF203 - it names the line
            raise ValueError(f"{path}, line {number}: {error}") from error
    return runs


@cache
def _adapter() -> Any:
    from typing import Annotated

    from pydantic import Field, TypeAdapter

    return TypeAdapter(tuple[Annotated[Event, Field(discriminator="kind")], ...])
