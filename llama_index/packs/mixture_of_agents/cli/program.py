"""All commands as one program."""

from typing import Annotated

from typer import Exit, Option, Typer

from .ask import ask
from .batch import batch
from .chat import chat
from .demo import demo
from .estimate import estimate
from .eval import evaluate
from .init import init
from .mcp import mcp
from .models import models
from .pack import pack
from .replay import replay
from .serve import serve
from .show import show

app = Typer(
    help="Ask several LLMs at once and have one of them write the answer: a Mixture of Agents.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from ._template import version

        print(version())
        raise Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool, Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for one in (
    demo,
    ask,
    chat,
    serve,
    mcp,
    batch,
    evaluate,
    estimate,
    show,
    replay,
    models,
    init,
    pack,
):
    # "eval" as a Python name would hide the built-in function
    app.command("eval" if one is evaluate else None)(one)
