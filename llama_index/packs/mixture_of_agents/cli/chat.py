"""``moa chat``: a conversation."""

import sys
from contextlib import suppress
from importlib import import_module
from typing import Annotated

from typer import Option

from .command import Flags, Trace, command, say
from .late_packages import import_packages_late

WELCOME = "Ask, or type /help. Ctrl-C stops an answer, Ctrl-D leaves."
PROMPT = "> "
LONG = '"""'
"""A line that begins and ends a question of many lines."""


@command
def chat(
    models: Flags,
    system: Annotated[str | None, Option("--system", "-s", help="A system prompt.")] = None,
    trace: Trace = None,
) -> None:
    """Hold a conversation.

    If standard input is not a terminal, each of its lines is a question.
    """
    import_packages_late()
    from .loop import Loop
    from .sources import find
    from .talk import Talk

    source = find(models)
    with Loop() as loop:
        talk = Talk(source.recipe(), loop, system, trace)
        say(f"{talk.recipe}\nModels from {source.origin}. {WELCOME}")
        going = True
        while going and (question := read()) is not None:
            going = talk.handle(question)


def read() -> str | None:
    """Read the user's next input.

    Returns:
        A line, or the lines between two lines of three quotes; None at the end.
    """
    line = _line(PROMPT)
    if line is None or line.strip() != LONG:
        return line
    lines: list[str] = []
    while (line := _line("  ")) is not None and line.strip() != LONG:
        lines.append(line)
    return "\n".join(lines)


def _line(prompt: str) -> str | None:
    if not sys.stdin.isatty():
        data = sys.stdin.buffer.readline()
        return data.decode("utf-8", "replace").rstrip("\n") if data else None
    with suppress(ImportError):  # Windows has none
        import_module("readline")  # lets input() edit a line and recall earlier ones
    if not sys.stdout.isatty():  # input() would put its prompt there
        print(prompt, end="", file=sys.stderr, flush=True)
        prompt = ""
    try:
        return input(prompt)
    except EOFError:
        print(file=sys.stderr)
        return None
    except KeyboardInterrupt:
        print(file=sys.stderr)
        say("Ctrl-D leaves.")
        return ""
