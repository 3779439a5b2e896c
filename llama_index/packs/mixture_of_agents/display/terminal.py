"""A result, and a run while it happens, in a terminal (extra ``display``: rich)."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from llama_index.packs.mixture_of_agents.events import (
    AnswerDelta,
    CallFinished,
    CallRetried,
    CallStarted,
    Event,
    RunFinished,
    RunStarted,
)

from .rows import (
    COLUMNS,
    Row,
    footnotes,
    name_of,
    one_line,
    printable,
    problems,
    remark,
    rows,
    tokens,
)

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

_DIM, _GOOD, _BAD = "dim", "green", "red"
_AGENT, _TOKENS_IN, _TOKENS_OUT, _COST, _REMARK = 1, 3, 4, 5, 6
_LEFT_OUT = (_TOKENS_IN, _TOKENS_OUT, _COST)
"""Columns that are left out on a narrow screen, in this order."""
_FOLDED = 10
"""The least width of a folded column, in characters."""
_NARROW = 72
"""The least width of a screen on which the live view shows tokens, in characters."""
_FRAME = 8
"""Lines of the screen that are left free below a streaming answer."""


def table(result: "MixtureResult") -> RenderableType:
    """Draw the table of ``MixtureResult.summary`` for rich, with its footnotes.

    Args:
        result: The result.

    Returns:
        An object that rich prints.
    """
    warnings = [Text(printable(problem), style=_BAD) for problem in problems(result)]
    notes = [Text(printable(note), style=_DIM) for note in footnotes(result)]
    return Group(_Calls(list(rows(result))), Text(), *warnings, *notes)


@dataclass
class _Calls:
    """A table of calls. On a narrow screen it leaves columns out; it never cuts a number."""

    rows: list[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._shown(options.max_width)
        drawn = Table(box=None, padding=(0, 1), pad_edge=False, header_style=_DIM)
        for number in shown:
            justify = "right" if 2 <= number <= 5 else "left"
            folds = number in (_AGENT, _REMARK)
            drawn.add_column(COLUMNS[number], justify=justify, no_wrap=not folds, overflow="fold")
        for row in self.rows:
            style = _BAD if row.failed else "bold" if row.critical or row.place == "total" else ""
            drawn.add_row(*(Text(printable(row.cells[n])) for n in shown), style=style)
        yield drawn

    def _shown(self, width: int) -> list[int]:
        shown = list(range(len(COLUMNS) if any(row.remark for row in self.rows) else _REMARK))
        for number in _LEFT_OUT:
            if sum(self._needs(n) + 2 for n in shown) - 2 > width:
                shown.remove(number)
        return shown

    def _needs(self, number: int) -> int:
        longest = max(map(cell_len, (COLUMNS[number], *(row.cells[number] for row in self.rows))))
        return min(longest, _FOLDED) if number in (_AGENT, _REMARK) else longest


def whole(result: "MixtureResult") -> RenderableType:
    """Draw the answer, then the table.

    Args:
        result: The result.

    Returns:
        An object that rich prints.
    """
    return Group(Text(printable(result.answer)), Rule(style=_DIM), table(result))


@dataclass
class _Seen:
    """The events of one run so far."""

    run: RunStarted
    begun: float = field(default_factory=time.perf_counter)
    started: dict[int, CallStarted] = field(default_factory=dict[int, CallStarted])
    retried: dict[int, CallRetried] = field(default_factory=dict[int, CallRetried])
    finished: dict[int, CallFinished] = field(default_factory=dict[int, CallFinished])
    pieces: list[str] = field(default_factory=list[str])
    end: RunFinished | None = None

    def add(self, event: Event) -> None:
        if isinstance(event, CallStarted):
            self.started[event.call] = event
        elif isinstance(event, CallRetried):
            self.retried[event.call] = event
        elif isinstance(event, CallFinished):
            self.finished[event.call] = event
        elif isinstance(event, AnswerDelta):
            self.pieces.append(event.text)
        elif isinstance(event, RunFinished):
            self.end = event

    @property
    def elapsed(self) -> float:
        return self.end.at if self.end else time.perf_counter() - self.begun


class LiveView:
    """A listener that shows runs in a terminal as they happen. A context manager, to be entered first.

    Args:
        console: The console; by default a rich console on standard output.
        answer: Whether to show the answers too.
        transient: Whether to clear the view when this context is closed.
    """

    def __init__(
        self, console: Console | None = None, *, answer: bool = True, transient: bool = False
    ) -> None:
        self._console = console or Console()
        self._answer = answer
        self._runs: dict[str, _Seen] = {}
        self._spinner = Spinner("dots" if self._unicode else "line")
        self._lock = Lock()
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=10,
            transient=transient,
        )

    def __call__(self, run: RunStarted, event: Event) -> None:
        with self._lock:
            seen = self._runs.setdefault(run.run_id, _Seen(run))
            seen.add(event)
            if seen.end:
                del self._runs[run.run_id]
        if seen.end:  # a finished run stays on the screen, above those that go on
            self._live.refresh()
            self._console.print(Group(*self._of_run(seen)))

    def __enter__(self) -> "LiveView":  # noqa: PYI034 - Python 3.10 has no Self
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.lower().startswith("utf")

    def _render(self) -> RenderableType:
        with self._lock:
            return Group(*(part for seen in self._runs.values() for part in self._of_run(seen)))

    def _of_run(self, seen: _Seen) -> Generator[RenderableType, None, None]:
        title = one_line(printable(seen.run.question), max(10, self._console.width - 10))
        yield Text.assemble((title, "bold"), (f"  {seen.elapsed:.1f} s", _DIM))
        calls = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
        for shrinks in (False, False, True, False, False, True):
            calls.add_column(no_wrap=not shrinks)
        place = ""
        for call in sorted(seen.started.values(), key=lambda one: (one.layer, one.call)):
            role = f"layer {call.layer}" if call.role == "proposer" else call.role
            calls.add_row(
                Text("" if role == place else role, style=_DIM), *self._of_call(seen, call)
            )
            place = role
        yield calls
        if seen.end and seen.end.error:
            yield Text(printable(f"No answer: {seen.end.error}"), style=_BAD)
        elif self._answer and seen.pieces:
            yield from self._of_answer(seen)

    def _of_call(self, seen: _Seen, call: CallStarted) -> tuple[Any, ...]:
        good, bad = ("\u2713", "\u2717") if self._unicode else ("+", "x")
        done, retried = seen.finished.get(call.call), seen.retried.get(call.call)
        if done is None:
            state = f"{retried.failure.kind.value}, trying again" if retried else ""
            seconds = f"{max(0.0, seen.elapsed - call.at):.1f} s"
            return self._spinner, _line(call.agent), seconds, "", _line(state, _DIM)
        style = _BAD if done.failure else _GOOD
        mark = Text(bad if done.failure else good, style=style)
        sent, received = tokens(done.usage)
        used = f"{sent} > {received} tokens" if self._console.width >= _NARROW else ""
        seconds = f"{done.elapsed:.1f} s"
        return mark, _line(name_of(done)), seconds, Text(used, _DIM), _line(remark(done), style)

    def _of_answer(self, seen: _Seen) -> Generator[RenderableType, None, None]:
        text = printable("".join(seen.pieces))
        yield Rule(style=_DIM)
        if seen.end:
            yield Text(text)
        else:  # the last lines, as many as the screen has room for
            room = max(4, self._console.height - len(seen.started) - _FRAME)
            lines = Text(text).wrap(self._console, self._console.width)
            yield Group(*lines[-room:])


def _line(text: str, style: str = "") -> Text:
    """A text that is cut to one line: each call has one, so that the answer keeps its place."""
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


@contextmanager
def live(
    mixture: Any, console: Console | None = None, *, answer: bool = True
) -> Generator[LiveView, None, None]:
    """Show a mixture's runs in the terminal while this context is open.

    Args:
        mixture: A ``MixtureOfAgents``, or a pack.
        console: The console; by default a rich console on standard output.
        answer: Whether to show the answers too.

    Yields:
        The view.
    """
    llm = getattr(mixture, "llm", mixture)
    with LiveView(console, answer=answer) as view, llm.listen(view):
        yield view
