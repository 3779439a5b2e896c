"""A result as plain text, for any terminal, log or file."""

from typing import TYPE_CHECKING

from .rows import COLUMNS, footnotes, printable, problems, rows

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

_LONGEST_NAME = 32


def summary(result: "MixtureResult") -> str:
    """Draw a table of all calls with their seconds, tokens and money, and with remarks about the run.

    Args:
        result: The run.

    Returns:
        The table.
    """
    lines = [COLUMNS, *(_short(row.cells) for row in rows(result))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    drawn = [_line(line, widths) for line in lines]
    rule = "-" * (sum(widths[:-1]) + 2 * (len(widths) - 2))
    notes = [*problems(result), *footnotes(result)]
    text = [drawn[0], rule, *drawn[1:-1], rule, drawn[-1], "", *notes]
    return "\n".join(printable(line) for line in text)


def _short(cells: tuple[str, ...]) -> tuple[str, ...]:
    place, name, *rest = cells
    return (place, name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}...", *rest)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:6], widths[2:6], strict=True)]
    return "  ".join([*left, *right, cells[6]]).rstrip()
