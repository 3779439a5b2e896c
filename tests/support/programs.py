"""Python programs in processes of their own that need not import LlamaIndex and other large packages first.

That takes seconds of CPU, and the suite starts more than a hundred of them. So each is a fork of one process that has
imported them, with a memory, folder, environment, exit code and standard streams of its own. Windows cannot fork: there
each program imports them itself. The streams are UTF-8, or what PYTHONIOENCODING says.
"""

import atexit
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

STREAMS = ("stdin", "stdout", "stderr")
_forks: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
_forks.set_forkserver_preload(
    [
        "llama_index.core",
        "llama_index.llms.openai",
        "llama_index.llms.mistralai",
        "aiohttp",
        "fastapi",
        "mcp.server.streamable_http_manager",
        "pydantic_settings",
        "scipy.stats",
        "sse_starlette",
        "statsmodels.api",
        "typer.main",
        "uvicorn.main",
    ]
)


def run_python(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> CompletedProcess[str]:
    """What `python ARGUMENTS` does: `-m MODULE ...`, `-c CODE ...` or `FILE ...`.

    Returns:
        its exit code, and what it wrote.
    """
    with TemporaryDirectory() as folder:
        program = start_python(*arguments, folder=Path(folder), cwd=cwd, env=env, stdin=stdin)
        program.join()
        assert program.exitcode is not None
        encoding = (env or {}).get("PYTHONIOENCODING", "utf-8")
        out, err = (Path(folder, name).read_text(encoding) for name in STREAMS[1:])
        return CompletedProcess(arguments, program.exitcode, out, err)


def start_python(
    *arguments: str,
    folder: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Any:
    """The same while it runs, a ``multiprocessing.Process``; its standard streams are files of a folder."""
    streams = [folder / name for name in STREAMS]
    for stream in streams:
        stream.write_bytes(stdin if stream.name == "stdin" else b"")
    where, around = cwd or Path.cwd(), dict(os.environ if env is None else env)
    program = _forks.Process(target=_run, args=(arguments, where, around, streams))
    program.start()
    return program


def interrupt(program: Any) -> None:
    """Press Ctrl-C."""
    os.kill(program.pid, signal.SIGINT)


def _run(
    arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str], streams: list[Path]
) -> None:
    atexit._clear()  # what the process that this is a fork of does at its end
    for number, stream in enumerate(streams):
        binary = getattr(os, "O_BINARY", 0)  # Windows would change line breaks
        os.dup2(os.open(stream, os.O_RDWR | os.O_APPEND | binary), number)
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding=encoding, errors=errors)
        for number, (mode, errors) in enumerate(
            [("r", "strict"), ("w", "strict"), ("w", "backslashreplace")]
        )
    )
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    kind, *rest = arguments
    sys.path.insert(0, str(Path(kind).parent) if kind.endswith(".py") else "")
    try:
        if kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [*arguments]
            runpy.run_path(kind, run_name="__main__")
    finally:
        atexit._run_exitfuncs()
        with suppress(BrokenPipeError):
            sys.stdout.flush()
