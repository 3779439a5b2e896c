"""Rows of texts on standard output: a table if the terminal is wide enough, else a paragraph for each row."""

from collections.abc import Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .screen import make_console

_GAP = 2


def print_listing(titles: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print rows. A file or a pipe gets a table of any width.

    Args:
        titles: The columns' titles.
        rows: The rows, each with a text for each column.
    """
    console = make_console()
    lengths = zip(map(Text, titles), *rows, strict=True)
    width = sum(max(text.cell_len for text in column) + _GAP for column in lengths)
    if width > console.width:
        for first, *others in rows:
            console.print(first, *(Padding(text, (0, 0, 0, _GAP)) for text in others), sep="\n")
        return
    table = Table(*titles, box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print(table, width=max(width, 1))
