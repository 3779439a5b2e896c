"""``moa ask``: one question, one answer."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from .command import DEGRADED, Flags, Trace, UsageError, command, tracing
from .late_packages import import_packages_late

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.recipe import Recipe
    from llama_index.packs.mixture_of_agents.result import MixtureResult


Question = Annotated[
    list[str] | None,
    Argument(
        help="The question; without it, standard input is read.",
        show_default=False,
    ),
]


@command
def ask(
    models: Flags,
    question: Question = None,
    system: Annotated[str | None, Option("--system", "-s", help="A system prompt.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print the whole result as JSON.")] = False,
    trace: Trace = None,
    quiet: Annotated[bool, Option("--quiet", "-q", help="Print the answer alone.")] = False,
    strict: Annotated[
        bool, Option("--strict", help="Exit with 3 if the answer is degraded.")
    ] = False,
) -> int:
    """Ask one question.

    The answer goes to standard output, everything else to standard error.
    """
    import_packages_late()
    text = read_question(question)
    from llama_index.packs.mixture_of_agents.errors import RunError
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .loop import Loop
    from .printing import answer, conversation
    from .screen import Screen
    from .sources import find

    source = find(models)
    mixture = MixtureOfAgents(source.recipe())
    screen = Screen(quiet=quiet or as_json)
    messages = conversation(system, text)
    with tracing(mixture, trace), Loop() as loop:
        try:
            result = loop.run(answer(mixture, messages, screen, write=not as_json))
        except RunError as error:
            if as_json and error.result is not None:
                _print_json(error.result, mixture.recipe)
            raise
    if as_json:
        _print_json(result, mixture.recipe)
    screen.show(result)
    return DEGRADED if strict and result.degraded else 0


def _print_json(result: "MixtureResult", recipe: "Recipe") -> None:
    """Print a result with its recipe; what standard output cannot encode becomes an ASCII escape."""
    from llama_index.packs.mixture_of_agents.config import to_data
    from llama_index.packs.mixture_of_agents.replay import with_recipe

    text = with_recipe(result, to_data(recipe)).to_json(indent=2)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = json.dumps(json.loads(text), indent=2)
    print(text)


def read_question(words: list[str] | None) -> str:
    """Take the question from the command line or from standard input.

    Args:
        words: The arguments; none or "-" reads standard input.

    Returns:
        The question's text.

    Raises:
        UsageError: There is no question, or it has no quotes around it.
    """
    question = in_quotes(words)
    if question is None and sys.stdin.isatty():
        raise UsageError('There is no question. Ask one: moa ask "What is LlamaIndex?"')
    if question in (None, "-"):
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    else:  # bytes of an argument that are not UTF-8 arrive as lone surrogates, which no request can carry
        text = str(question).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not text.strip():
        raise UsageError("The question is empty.")
    return text


def in_quotes(words: list[str] | None) -> str | None:
    """Require that a question is one argument.

    Args:
        words: The arguments.

    Returns:
        The question; None if there is none.

    Raises:
        UsageError: There are several arguments.
    """
    if words and len(words) > 1:
        raise UsageError(f'Put the question in quotes: "{" ".join(words)}"')
    return words[0] if words else None
