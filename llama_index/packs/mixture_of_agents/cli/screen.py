"""What a run looks like while it goes on: on standard error, so that answers can be piped."""

from types import TracebackType

from rich.console import Console
from rich.text import Text

from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    CallStarted,
    Degraded,
    Event,
    LayerStarted,
)
from llama_index.packs.mixture_of_agents.result import MixtureResult


class Screen:
    """A line for each call that ended. Quiet, it shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.waiting: list[str] = []
        self.status = self.console.status("") if self.console.is_terminal else None

    def __enter__(self) -> "Screen":
        if self.status:
            self.status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Make room for the answer."""
        if self.status:
            self.status.stop()

    def show(self, event: Event) -> None:
        """Show one event of a run."""
        if isinstance(event, LayerStarted):
            self.console.print(Text(f"layer {event.layer}", style="bold"))
        elif isinstance(event, CallStarted):
            self.waiting.append(event.agent)
        elif isinstance(event, CallFinished):
            if event.agent in self.waiting:
                self.waiting.remove(event.agent)
            if event.role != "aggregator" or event.failure:
                mark, style = ("x", "red") if event.failure else ("+", "green")
                said = f"  {event.failure.kind.value}" if event.failure else ""
                self.console.print(
                    Text.assemble(
                        (f"  {mark} ", style), f"{event.elapsed:5.1f} s  {event.agent}{said}"
                    )
                )
        elif isinstance(event, Degraded):
            self.console.print(Text(f"degraded: {event.reason}", style="yellow"))
        if self.status:
            self.status.update(
                Text(f"waiting for {', '.join(self.waiting)}") if self.waiting else ""
            )

    def who_said_what(self, result: MixtureResult) -> None:
        """Every proposal, layer by layer."""
        for layer in result.layers:
            for call in layer.calls:
                for proposal in call.proposals:
                    self.console.print(
                        Text(f"\n{call.role} {proposal.agent}, layer {layer.layer}", style="bold")
                    )
                    self.console.print(Text(proposal.text))
                if call.failure:
                    self.console.print(Text(f"\n{call.failure}", style="red"))

    def sum_up(self, result: MixtureResult) -> None:
        """What the run took, in a line."""
        usage = result.usage
        self.console.print(
            Text(
                f"{len(result.calls)} calls, {result.elapsed:.1f} s, {usage.input_tokens:,} tokens in, "
                f"{usage.output_tokens:,} out",
                style="dim",
            )
        )
