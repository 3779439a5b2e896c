"""Shows a run while it goes on and afterwards: on standard error, so that answers can be piped."""

import textwrap
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone

from rich.console import Console
from rich.text import Text

from llama_index.packs.mixture_of_agents.display.rows import name_of, printable, problems
from llama_index.packs.mixture_of_agents.display.terminal import LiveView, table
from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    CallStarted,
    Event,
    RunFinished,
    RunStarted,
    Usage,
)
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Cost
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .command import say

_INDENT = 4
_WIDEST = 120
"""Characters a line that a drawing has at most."""
_UNLIMITED = 100_000


def make_console(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error; in a file or a pipe it neither folds nor cuts a line."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


class Screen:
    """Shows runs in the terminal.

    Args:
        quiet: Show nothing but what is wrong with an answer.
        stderr: Use standard error, else standard output.
    """

    def __init__(self, *, quiet: bool = False, stderr: bool = True) -> None:
        self._quiet = quiet
        self._console = make_console(stderr=stderr)
        self._view: LiveView | None = None

    @contextmanager
    def watching(self, mixture: MixtureOfAgents) -> Generator[None, None, None]:
        """Show a mixture's run while it goes on, if there is a terminal to show it."""
        if self._quiet or not self._console.is_terminal:
            yield
            return
        self._view = LiveView(self._console, answer=False, transient=True)
        with mixture.listen(self._while_it_goes_on):
            self._view.__enter__()
            try:
                yield
            finally:
                self.clear()

    def _while_it_goes_on(self, run: RunStarted, event: Event) -> None:
        if self._view and not isinstance(event, RunFinished):  # the view would leave a record of it
            self._view(run, event)

    def clear(self) -> None:
        """Take the picture of the run away, to make room for the answer."""
        if self._view:
            self._view.__exit__()
            self._view = None

    def show_beginnings(self, _: RunStarted, event: Event) -> None:
        """A listener that shows how each proposal begins, and when the answer does."""
        if isinstance(event, CallStarted) and event.role == "aggregator":
            self._console.print(Text(f"\nthe answer, by {event.agent}", style="bold"))
        if isinstance(event, CallFinished) and event.role == "proposer":
            title = f"layer {event.layer}, {event.agent}, {event.elapsed:.1f} s"
            text = event.proposals[0].text if event.proposals else str(event.failure)
            width = min(self._console.width, _WIDEST) - _INDENT
            begins = textwrap.wrap(printable(text), width, max_lines=2, placeholder=" ...")
            self._console.print(Text(title, style="bold"))
            self._console.print(Text(textwrap.indent("\n".join(begins), " " * _INDENT)))

    def list_runs(self, runs: Sequence[MixtureResult]) -> None:
        """Show a line for each run."""
        for number, run in enumerate(runs, 1):
            begun = datetime.fromtimestamp(run.run.time, timezone.utc).astimezone()
            question = " ".join(run.question.split())
            text = f"{number}  {begun:%Y-%m-%d %H:%M}  {run.elapsed:6.1f} s  {question}"
            line = Text(printable(text), style="red" if run.error else "")
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    def timeline(self, result: MixtureResult) -> None:
        """Show when each call ran, as bars."""
        names = [name_of(call) for call in result.calls]
        room = max(len(name) for name in names) if names else 0
        width = max(8, min(self._console.width, _WIDEST) - room - 12)
        scale = width / max(result.elapsed, 0.001)
        block = "\u2588" if self._console.encoding.lower().startswith("utf") else "#"
        critical = {call.call for call in result.critical_path}
        self._console.print()
        for name, call in zip(names, result.calls, strict=True):
            begin, length = int(call.started * scale), max(1, round(call.elapsed * scale))
            bar = f"{' ' * begin}{block * length}".ljust(width)
            style = "red" if call.failure else "yellow" if call.call in critical else "green"
            end = f"{call.elapsed:7.2f} s"
            self._console.print(Text.assemble(printable(name).ljust(room), " ", (bar, style), end))

    def show(self, result: MixtureResult) -> None:
        """Show what each call of a run took. Quiet, show only what is wrong with the answer."""
        if not self._quiet:
            self._console.print(table(result))
            return
        for problem in problems(result):
            say(printable(problem))

    def sum_up(self, results: Iterable[MixtureResult]) -> None:
        """Show what some runs took together, in a line; of a single run also what is wrong with it."""
        runs = list(results)
        for problem in problems(runs[-1]) if len(runs) == 1 else ():
            self._console.print(Text(printable(problem), style="yellow"))
        usage = sum((run.usage for run in runs), Usage())
        cost = sum((run.cost for run in runs), Cost())
        calls = sum(len(run.calls) for run in runs)
        tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        seconds = sum(run.elapsed for run in runs)
        line = f"{calls} calls, {seconds:.1f} s, {tokens}, {cost}"
        self._console.print(Text(line, style="dim"))

    def show_proposals(self, result: MixtureResult) -> None:
        """Show the question, every proposal, layer by layer, and what each call took."""
        if result.question:
            self._console.print(Text(f"{printable(result.question)}\n", style="bold"))
        for layer in result.layers:
            for call in layer.calls:
                where = "" if call.role == "aggregator" else f"layer {layer.layer}, "
                self._console.print(Text(f"{where}{call.role} {call.agent}", style="bold"))
                for proposal in call.proposals:
                    self._console.print(Text(f"{printable(proposal.text)}\n"))
                if call.failure:
                    self._console.print(Text(f"{printable(str(call.failure))}\n", style="red"))
        self.show(result)
