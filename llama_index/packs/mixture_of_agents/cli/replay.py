"""``moa replay``: a recipe against a saved run, without a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from .ask import in_quotes
from .command import Flags, UsageError, command
from .show import Run, Trace, place_of, saved

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

    from .sources import Source


@command
def replay(
    models: Flags,
    trace: Trace,
    question: Annotated[
        list[str] | None,
        Argument(
            help="The question; by default that of the run.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        str | None, Option("--system", "-s", help="The system prompt of the saved run.")
    ] = None,
    run: Run = -1,
) -> None:
    """Run a recipe again, with every call answered from a saved run.

    The file brings the recipe; options change it. No network, no keys, no
    cost. It fails if the recipe makes a call that the file lacks.
    """
    from llama_index.packs.mixture_of_agents.replay import replay as answered_from

    from .loop import Loop
    from .printing import answer, conversation
    from .screen import Screen

    text = in_quotes(question)
    runs = saved(trace)
    place = place_of(run, runs, trace)
    if text is not None:
        same = [number for number, one in enumerate(runs) if one.question == text]
        place = same[-1] if same else place
    recipe = _source(models, runs[place], trace).recipe(need_keys=False)
    mixture = answered_from(recipe, trace, place if text is None else None)
    screen = Screen()
    messages = conversation(system, runs[place].question if text is None else text)
    with Loop() as loop:
        result = loop.run(answer(mixture, messages, screen))
    screen.show(result)


def _source(models: Flags, recorded: "MixtureResult", trace: Path) -> "Source":
    """Where the recipe comes from: the run's own one, which options change.

    Raises:
        UsageError: The run does not hold its recipe, and no option names one.
    """
    from llama_index.packs.mixture_of_agents.config import Document

    from .sources import Source, find

    if recorded.run.recipe is None:
        if models == Flags():
            raise UsageError(
                f"{trace} does not hold its recipe: name one with --config, or models with -p and -a."
            )
        return find(models)
    own = Source(Document(recorded.run.recipe, str(trace)), str(trace))
    return own if models == Flags() else find(models, own)
