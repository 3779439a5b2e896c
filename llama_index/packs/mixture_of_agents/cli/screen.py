"""What a run looks like while it goes on and after: on standard error, so that answers can be piped."""

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

_INDENT = 4


class Screen:
    """Standard error, or standard output. Quiet, it shows nothing."""

    def __init__(self, *, quiet: bool = False, stderr: bool = True) -> None:
        self._console = Console(stderr=stderr, quiet=quiet, highlight=False)
        self._view: LiveView | None = None

    @contextmanager
    def watching(self, mixture: MixtureOfAgents) -> Generator[None, None, None]:
        """Show a mixture's run while it goes on, where there is a terminal to show it."""
        if not self._console.is_terminal:
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
        if self._view and not isinstance(event, RunFinished):  # of which the view leaves a record
            self._view(run, event)

    def clear(self) -> None:
        """Make room for the answer."""
        if self._view:
            self._view.__exit__()
            self._view = None

    def tell_beginnings(self, _: RunStarted, event: Event) -> None:
        """How each proposal begins, and that the answer does: a listener."""
        if isinstance(event, CallStarted) and event.role == "aggregator":
            self._console.print(Text(f"\nthe answer, by {event.agent}", style="bold"))
        if isinstance(event, CallFinished) and event.role == "proposer":
            title = f"layer {event.layer}, {event.agent}, {event.elapsed:.1f} s"
            said = event.proposals[0].text if event.proposals else str(event.failure)
            begins = textwrap.wrap(
                printable(said), self._console.width - _INDENT, max_lines=2, placeholder=" ..."
            )
            self._console.print(Text(title, style="bold"))
            self._console.print(Text(textwrap.indent("\n".join(begins), " " * _INDENT)))

    def list_runs(self, runs: Sequence[MixtureResult]) -> None:
        """A line for each run."""
        for number, run in enumerate(runs, 1):
            begun = datetime.fromtimestamp(run.run.time, timezone.utc).astimezone()
            said = f"{number}  {begun:%Y-%m-%d %H:%M}  {run.elapsed:6.1f} s  {run.question}"
            line = Text(printable(" ".join(said.split("\n"))), style="red" if run.error else "")
            self._console.print(line, no_wrap=True, overflow="ellipsis")

    def timeline(self, result: MixtureResult) -> None:
        """When each call ran, as bars."""
        names = [name_of(call) for call in result.calls]
        room = max(len(name) for name in names) if names else 0
        width = max(8, min(self._console.width, 120) - room - 12)
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
        """What the run took, call by call."""
        self._console.print(table(result))

    def sum_up(self, results: Iterable[MixtureResult]) -> None:
        """What runs took together, in a line."""
        runs = list(results)
        for problem in problems(runs[-1]) if len(runs) == 1 else ():
            self._console.print(Text(printable(problem), style="yellow"))
        usage = sum((run.usage for run in runs), Usage())
        cost = sum((run.cost for run in runs), Cost())
        calls = sum(len(run.calls) for run in runs)
        tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        seconds = sum(run.elapsed for run in runs)
        said = f"{calls} calls, {seconds:.1f} s, {tokens}, {cost}"
        self._console.print(Text(said, style="dim"))

    def who_said_what(self, result: MixtureResult) -> None:
        """Every proposal, layer by layer, and the calls."""
        for layer in result.layers:
            for call in layer.calls:
                where = "" if call.role == "aggregator" else f"layer {layer.layer}, "
                self._console.print(Text(f"{where}{call.role} {call.agent}", style="bold"))
                for proposal in call.proposals:
                    self._console.print(Text(f"{printable(proposal.text)}\n"))
                if call.failure:
                    self._console.print(Text(f"{printable(str(call.failure))}\n", style="red"))
        self.show(result)
