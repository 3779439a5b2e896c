"""``moa replay``: a recipe against a saved run, without a network."""

from typing import Annotated

from typer import Argument, Option

from .command import Flags, command
from .show import Trace, saved


@command
def replay(
    models: Flags,
    trace: Trace,
    question: Annotated[
        str | None,
        Argument(help="The question; by default that of the file's last run.", show_default=False),
    ] = None,
    system: Annotated[
        str | None, Option("--system", "-s", help="The system prompt that it had.")
    ] = None,
) -> None:
    """Run a recipe again, with every call answered from a saved run.

    No network, no keys, no cost. It fails where the recipe makes a call that the file lacks.
    """
    from llama_index.packs.mixture_of_agents.replay import replay as against

    from .loop import Loop
    from .printing import answer, conversation
    from .screen import Screen
    from .sources import find

    runs = saved(trace)
    mixture = against(find(models).recipe(need_keys=False), trace)
    screen = Screen()
    messages = conversation(system, runs[-1].question if question is None else question)
    with Loop() as loop:
        result = loop.run(answer(mixture, messages, screen))
    screen.show(result)
