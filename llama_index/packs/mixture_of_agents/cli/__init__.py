"""``moa``: the mixture in a terminal. Needs the extra ``cli``.

What a command needs is imported when it runs: ``moa --help`` must not wait for LlamaIndex.
"""

import atexit
import gc
import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path


def main() -> None:
    """The command ``moa``."""
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
    """Search for garbage seldom, as there is next to none.

    What LlamaIndex imports stays to the end, and searching it takes a third of a short command's CPU. Runs leave nothing
    to be found, but a thousand of them at once are a million objects to search: a fifth of a call's CPU.
    """
    gc.set_threshold(500_000, 5, 10)
    atexit.register(gc.freeze)
