"""Runs the Python blocks of a page, as a process of its own: `python run_page.py PAGE`.

The blocks run in order and share their names, as in a notebook; `await` works. A block that cannot run here has a
reason in the line before it: `<!-- not run: it needs a key -->`. Errors point at the page's own lines.
"""

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"(?:^(?P<before>.*)\n)?^```python\n(?P<code>(?:.*\n)*?)```$", re.MULTILINE)


def blocks(page: str) -> list[tuple[int, str]]:
    """The blocks to run: how many lines of the page stand before each, and its code."""
    found = [one for one in _BLOCK.finditer(page) if "<!-- not run:" not in (one["before"] or "")]
    return [(page.count("\n", 0, one.start("code")), one["code"]) for one in found]


def run(path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    loop = asyncio.new_event_loop()
    try:
        for before, code in blocks(path.read_text(encoding="utf-8")):
            text, flags = "\n" * before + code, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            running = eval(compile(text, str(path), "exec", flags, dont_inherit=True), names)
            if inspect.iscoroutine(running):
                loop.run_until_complete(running)
    finally:
        loop.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
