"""``moa pack``: the source as a folder to change."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .command import FAILED, command, say


@command
def pack(
    folder: Annotated[Path, Argument(help="The folder.", show_default=False)],
    check: Annotated[
        bool, Option("--check", help="List the files that differ from the installed version.")
    ] = False,
    diff: Annotated[bool, Option("--diff", help="The same, line by line.")] = False,
    force: Annotated[bool, Option("--force", "-f", help="Replace what was changed there.")] = False,
) -> int:
    """Write the source into a folder, to use, read and change.

    With --check or --diff it exits with 1 if anything differs.
    """
    from ._template import compare, lay_down

    if not (check or diff):
        count = lay_down(folder, replace=force)
        say(
            f"{count} files are in {folder}. {folder / 'README.md'} says how to use and to change them."
        )
        return 0
    comparison = compare(folder)
    installed = comparison.installed
    what = f"{installed} is installed" if installed else "this folder is what is installed"
    say(f"Written by version {comparison.version}; {what}.")
    for difference in comparison.differences:
        print(difference)
        if diff:
            sys.stdout.writelines(difference.lines())
    if not comparison.differences:
        say("Nothing differs.")
    return FAILED if comparison.differences else 0
