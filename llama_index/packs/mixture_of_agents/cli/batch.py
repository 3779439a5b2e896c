"""``moa batch``: many questions, their answers in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .command import DEGRADED, FAILED, Flags, Trace, UsageError, command, say, tracing

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.batch import Report
    from llama_index.packs.mixture_of_agents.recipe import Recipe

GO_ON = "Run it again to go on: what is answered is not asked again."


@command
def batch(
    models: Flags,
    questions: Annotated[
        Path,
        Argument(
            help='The questions: .jsonl, .txt, .csv, .tsv, .parquet; "-" is standard input, as JSON lines.',
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        Option("--out", "-o", help="The answers: .jsonl or .parquet.", show_default=False),
    ],
    in_flight: Annotated[int, Option("--in-flight", help="Questions asked at once.")] = 16,
    limit: Annotated[int | None, Option("--limit", help="Ask no more than so many now.")] = None,
    max_cost: Annotated[
        float | None, Option("--max-cost", help="US dollars that the whole batch may cost.")
    ] = None,
    max_failures: Annotated[
        int, Option("--max-failures", help="Stop when so many in a row failed; 0 is never.")
    ] = 20,
    system: Annotated[
        str, Option("--system", "-s", help="A system prompt for questions without one.")
    ] = "",
    details: Annotated[bool, Option("--details", help="Write the proposals down too.")] = False,
    trace: Trace = None,
) -> int:
    """Answer many questions; run it again to go on where it was.

    Each answer is in the file as soon as it is there. Questions that failed are in a file beside it, and are asked
    again the next time.
    """
    settings: dict[str, Any] = {
        "in_flight": in_flight, "limit": limit, "max_cost": max_cost, "max_failures": max_failures,
        "system": system, "details": details,
    }  # fmt: skip
    from .sources import find

    source = find(models)
    recipe = source.recipe()
    if max_cost is not None:
        _see_that_prices_are_known(recipe)
    say(f"{recipe}\nModels from {source.origin}.")
    report = _run(recipe, questions, out, trace, settings)
    say(str(report))
    if report.failed:
        say(f"{out.with_suffix('.failed.jsonl')} says why; run it again to ask these again.")
    return _code(report)


def _run(
    recipe: "Recipe", questions: Path, out: Path, trace: Path | None, settings: dict[str, Any]
) -> "Report":
    from llama_index.packs.mixture_of_agents.batch import arun_batch
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .loop import Loop
    from .progress import Progress

    mixture = MixtureOfAgents(recipe)
    with (
        tracing(mixture, trace),
        Loop(fast=True) as loop,
        Progress(questions, recipe, settings["max_cost"]) as progress,
    ):
        work = arun_batch(mixture, questions, out, watch=progress, **settings)
        try:
            return loop.run(work)
        except BaseException:  # Ctrl-C, a full disk, a bad line of standard input
            progress.close()
            if progress.last:
                say(f"{progress.last}\n{GO_ON}")
            raise


def _code(report: "Report") -> int:
    if report.stopped:
        return FAILED
    return DEGRADED if report.failed else 0


def _see_that_prices_are_known(recipe: "Recipe") -> None:
    unpriced = recipe.estimate().least_cost.unpriced
    if unpriced:
        example = f"--set 'prices.\"{unpriced[0]}\"=[0.4, 1.6]'"
        raise UsageError(
            f"--max-cost: there is no price for {', '.join(unpriced)}; give prices in US dollars per million tokens in "
            f"and out, in the recipe file or as {example}"
        )
