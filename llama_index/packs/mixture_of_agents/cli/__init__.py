"""``moa``: the mixture in a terminal. Needs the extra ``cli``.

Each command imports what it needs when it runs, so that ``moa --help`` does not wait for LlamaIndex.
"""

import atexit
import gc
import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path


def main() -> None:
    """Run the command ``moa`` with the arguments of this process."""
    if not all(map(find_spec, ("platformdirs", "pydantic_settings", "rich", "typer"))):
        sys.exit('moa needs more: pip install "llama-index-packs-mixture-of-agents[cli]"')
    _calm_the_collector()
    for name, errors in (("stdout", "replace"), ("stderr", "backslashreplace")):
        _set_up_stream(name, errors)
    from .program import app

    app(prog_name="moa")


def _set_up_stream(name: str, errors: str) -> None:
    """Make sure that a finished run can be printed: no character is an error, and a file or pipe gets UTF-8."""
    stream = getattr(sys, name)
    if stream is None:  # it was closed, as by >&-
        setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    elif isinstance(stream, TextIOWrapper):
        chosen = stream.isatty() or "PYTHONIOENCODING" in os.environ
        stream.reconfigure(encoding=None if chosen else "utf-8", errors=errors)  # pyright: ignore[reportUnknownMemberType]


def _calm_the_collector() -> None:
    """Let the garbage collector run seldom: runs leave next to no garbage.

    Searching what LlamaIndex imports, which stays to the end, takes a third of a short command's CPU. A thousand runs
    at once are a million objects, and searching these takes a fifth of a call's CPU.
    """
    gc.set_threshold(500_000, 5, 10)
    atexit.register(gc.freeze)
