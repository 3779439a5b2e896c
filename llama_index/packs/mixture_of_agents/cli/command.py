"""What all commands share: exit codes, errors in words, and the options that name models."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer import Exit, Option

from llama_index.packs.mixture_of_agents.errors import (
    BatchError,
    ConfigError,
    EvaluationError,
    FailureKind,
    MixtureError,
    RecipeError,
    RunError,
)

ANSWERED, FAILED, BAD_USAGE, DEGRADED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes."""


class UsageError(Exception):
    """The user asked for something that is not valid; the message says what is."""


@dataclass(frozen=True)
class Flags:
    """The options that name the models; None if the environment or the file decides."""

    config: Annotated[
        Path | None,
        Option("--config", "-c", help="A recipe file: TOML, YAML or JSON.", show_default=False),
    ] = None
    mixture: Annotated[
        str | None, Option("--mixture", "-m", help="A mixture of the file, by its name.")
    ] = None
    recipe: Annotated[
        str | None, Option("--recipe", "-r", help="A recipe by its name, such as self_moa or vote.")
    ] = None
    proposers: Annotated[
        list[str] | None,
        Option(
            "--proposer", "-p", metavar="MODEL", help='A proposer, "provider:model"; once for each.'
        ),
    ] = None
    aggregator: Annotated[
        str | None,
        Option("--aggregator", "-a", metavar="MODEL", help="The model that writes the answer."),
    ] = None
    layers: Annotated[
        int | None, Option("--layers", "-l", help="How many layers of proposers.")
    ] = None
    temperature: Annotated[
        float | None, Option("--temperature", "-t", help="Sent with every call.")
    ] = None
    max_tokens: Annotated[int | None, Option("--max-tokens", help="Sent with every call.")] = None
    deadline: Annotated[float | None, Option("--deadline", help="Seconds for the whole run.")] = (
        None
    )
    values: Annotated[
        list[str] | None,
        Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of a recipe file, as in quorum=2.",
        ),
    ] = None


Debug = Annotated[bool, Option("--debug", help="Show the traceback of an error.")]


_OF_THE_USER = (
    BatchError,
    ConfigError,
    EvaluationError,
    RecipeError,
    UsageError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors in what the user asked for; all others are failures."""


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a function a command, whose errors are printed in a few words.

    Args:
        function: Does the work and returns the exit code, or None for 0. A parameter of type ``Flags`` becomes the
            options that name models.

    Returns:
        The function for Typer.
    """
    own = list(signature(function, eval_str=True).parameters.values())
    takes_flags = next((one.name for one in own if one.annotation is Flags), None)
    options = [one for one in own if one.annotation is not Flags]
    hints = get_type_hints(Flags, include_extras=True)
    named = (
        [(one.name, one.default, hints[one.name]) for one in fields(Flags)] if takes_flags else []
    )
    options += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=kind)
        for name, value, kind in named
    ]
    options.append(Parameter("debug", Parameter.KEYWORD_ONLY, default=False, annotation=Debug))

    @wraps(function)
    def run(*, debug: bool, **given: Any) -> None:
        if takes_flags:
            flags = {name: given.pop(name) for name, _, _ in named}
            given[takes_flags] = Flags(
                **{name: None if value == [] else value for name, value in flags.items()}
            )
        raise Exit(_ending(lambda: function(**given), debug or bool(os.environ.get("MOA_DEBUG"))))

    run.__signature__ = signature(function).replace(  # type: ignore[attr-defined]
        parameters=[one.replace(kind=Parameter.KEYWORD_ONLY) for one in options]
    )
    run.__annotations__ = {one.name: one.annotation for one in options}
    return run


def _ending(work: Callable[[], int | None], debug: bool) -> int:
    """Do the work, and return the exit code."""
    try:
        code = work() or ANSWERED
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            raise
        say(_in_words(error))
        return BAD_USAGE if isinstance(error, _OF_THE_USER) else FAILED
    return code


def _in_words(error: Exception) -> str:
    """An error in words, without a traceback."""
    if isinstance(error, RunError):
        return explain(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, (MixtureError, OSError, UsageError)):
        return str(error)
    return f"{type(error).__name__}: {error}\n(--debug shows where)"


def say(text: str) -> None:
    """Print a text to standard error, with lines broken between words in a terminal."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    for line in text.splitlines() or [""]:
        indent = line[: len(line) - len(line.lstrip())]
        wrapped = textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        print("\n".join(wrapped), file=sys.stderr)


_ADVICE = {
    FailureKind.AUTHENTICATION: "Is the key right? moa models shows which one is used; moa models --check tries it.",
    FailureKind.CONNECTION: "Is the server running, and its address right? moa models shows where it is looked for.",
    FailureKind.NOT_FOUND: "Is the model's name right? The server does not know it.",
    FailureKind.CONTEXT_WINDOW: "The question is longer than the model can take.",
    FailureKind.RATE_LIMITED: "The provider wants fewer requests: limits.in_flight in moa.toml bounds them.",
    FailureKind.TIMEOUT: "More time: --deadline SECONDS, or call.timeout in moa.toml.",
}


def explain(error: RunError) -> str:
    """Put an error into words, with advice.

    Returns:
        The text, of several lines.
    """
    kinds = dict.fromkeys(failure.kind for failure in error.failures)
    advice = [_ADVICE[kind] for kind in kinds if kind in _ADVICE]
    return "\n".join([f"No answer: {error}", *advice[:2]])


if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

Trace = Annotated[
    Path | None, Option("--trace", help="Append each run to this file, for moa show and replay.")
]


def tracing(mixture: "MixtureOfAgents", path: Path | None) -> AbstractContextManager[Any]:
    """Append a mixture's runs to a file while the context is open.

    Args:
        mixture: The mixture.
        path: The file; None for none.

    Returns:
        The context manager.

    Raises:
        OSError: The file cannot be written to.
    """
    if path is None:
        return nullcontext()
    from llama_index.packs.mixture_of_agents.config import to_data
    from llama_index.packs.mixture_of_agents.replay import trace_to

    return mixture.listen(trace_to(path, to_data(mixture.recipe)))
