"""``moa show``: a saved run, after it is over."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from .command import UsageError, command, say

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

Trace = Annotated[
    Path, Argument(help="A file of moa ask --trace, or of --json.", show_default=False)
]


@command
def show(
    trace: Trace,
    run: Annotated[
        int, Option("--run", "-n", help="Which run: 1 is the first, -1 the last one.")
    ] = -1,
    every: Annotated[bool, Option("--list", help="List the runs that the file holds.")] = False,
    html: Annotated[
        Path | None, Option("--html", help="Write it to this file, for a browser.")
    ] = None,
) -> None:
    """Show a saved run: who said what, and when."""
    from .screen import Screen

    runs = saved(trace)
    screen = Screen(stderr=False)
    if every:
        screen.list_runs(runs)
        return
    if run == 0 or not -len(runs) <= run <= len(runs):
        raise UsageError(f"{trace} holds {len(runs)} runs, but no run {run}; --list lists them.")
    result = runs[run - 1 if run > 0 else run]
    if html is not None:
        from llama_index.packs.mixture_of_agents.display.page import page

        head = '<!doctype html><meta charset="utf-8"><title>A mixture of agents</title>'
        html.write_text(f"{head}{page(result)}", encoding="utf-8")
        say(f"Written to {html}.")
        return
    screen.who_said_what(result)
    screen.timeline(result)


def saved(trace: Path) -> "list[MixtureResult]":
    """The runs in a file.

    Raises:
        UsageError: it holds none.
    """
    from llama_index.packs.mixture_of_agents.result import saved_runs

    try:
        runs = saved_runs(trace)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not runs:
        raise UsageError(f"{trace} holds no run.")
    return runs
