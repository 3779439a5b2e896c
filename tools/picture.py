"""Draws the README's picture of a run: the mixture of `moa demo`, answering in a terminal."""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from llama_index.packs.mixture_of_agents import MixtureResult
from llama_index.packs.mixture_of_agents.cli.demo import make_pack, use
from llama_index.packs.mixture_of_agents.display.terminal import LiveView, table
from llama_index.packs.mixture_of_agents.events import AnswerDelta, Event, RunStarted
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

TARGET = Path(__file__).parent.parent / "docs" / "run.svg"
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # a viewer should not fetch fonts


def main(target: Path = TARGET) -> None:
    """The command."""
    happened: list[tuple[RunStarted, Event]] = []
    with SimulatedProviders() as providers:
        use(providers)
        mixture = make_pack().llm
        with mixture.listen(lambda run, event: happened.append((run, event))):
            list(mixture.stream_complete("What is LlamaIndex?"))
    console = Console(file=io.StringIO(), record=True, width=96, force_terminal=True)
    view = LiveView(console)
    for run, event in happened:
        view(run, event)
    console.print()
    events = tuple(event for _, event in happened if not isinstance(event, AnswerDelta))
    console.print(table(MixtureResult(events)))
    svg = console.export_svg(title="a mixture of simulated models")
    target.write_text(FONTS.sub("", svg).replace("Fira Code, ", ""), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
