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
Run = Annotated[int, Option("--run", "-n", help="Which run: 1 is the first, -1 the last one.")]


@command
def show(
    trace: Trace,
    run: Run = -1,
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
    result = runs[place_of(run, runs, trace)]
    if html is not None:
        from llama_index.packs.mixture_of_agents.display.page import document

        html.write_text(document(result), encoding="utf-8")
        say(f"Written to {html}.")
        return
    screen.show_proposals(result)
    screen.timeline(result)


def saved(trace: Path) -> "list[MixtureResult]":
    """Read the runs in a file.

    Args:
        trace: The file.

    Returns:
        Its runs, at least one.

    Raises:
        UsageError: The file holds no run.
    """
    from llama_index.packs.mixture_of_agents.result import saved_runs

    try:
        runs = saved_runs(trace)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not runs:
        raise UsageError(f"{trace} holds no run.")
    return runs


def place_of(run: int, runs: "list[MixtureResult]", trace: Path) -> int:
    """The place of a run in a list.

    Args:
        run: Its number as the user gives it: from 1, or negative from the end.
        runs: The runs.
        trace: The file that holds them, for the error.

    Raises:
        UsageError: There is no such run.
    """
    if run == 0 or not -len(runs) <= run <= len(runs):
        held = f"{len(runs)} runs" if len(runs) != 1 else "1 run"
        raise UsageError(f"{trace} holds {held}, but no run {run}; --list lists them.")
    return run - 1 if run > 0 else run
