"""Write the help of `moa` into docs/cli.md, between its marks.

usage: python tools/cli_help.py [--check]
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
BLOCK = re.compile(r"(<!-- moa (.*?)-->\n```\n).*?(```\n)", re.DOTALL)


def help_of(command: str) -> str:
    """What a command says of itself at 80 columns."""
    module = "llama_index.packs.mixture_of_agents.cli"
    asked = [sys.executable, "-m", module, *command.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    done = subprocess.run(asked, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.rstrip() + "\n"


def with_help(text: str) -> str:
    """The page's text with the help as it is now."""
    return BLOCK.sub(lambda found: f"{found[1]}{help_of(found[2])}{found[3]}", text)


def main() -> None:
    """Write the page anew; with --check, fail where that would change it."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_help(before)
    if "--check" not in sys.argv:
        PAGE.write_text(after, encoding="utf-8")
    elif before != after:
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "docs/cli.md", "moa")
        sys.exit("\n".join([*lines, "python tools/cli_help.py writes it anew"]))


if __name__ == "__main__":
    main()
