"""``moa batch``: many questions, their answers in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .command import DEGRADED, FAILED, Flags, Trace, UsageError, command, say, tracing

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.batch import Report
    from llama_index.packs.mixture_of_agents.recipe import Recipe

CONTINUE = "Run it again to continue: answered questions are not asked again."
OPEN = (
    "Open batches continue at the provider: the next run waits for them and pays for nothing twice."
)


Questions = Annotated[
    str,
    Argument(
        help='The questions: .jsonl, .txt, .csv, .tsv, .parquet, also s3://... and the like; "-" is standard input, as JSON lines.',
        show_default=False,
    ),
]
Out = Annotated[
    str,
    Option(
        "--out", "-o", help="The answers: .jsonl or .parquet.", metavar="<path>", show_default=False
    ),
]
InFlight = Annotated[
    int | None,
    Option(
        "--in-flight",
        help="Questions asked at once: 16 (by each worker), or by batch APIs a batch's size.",
    ),
]
Limit = Annotated[int | None, Option("--limit", help="Ask at most this many questions now.")]
MaxCost = Annotated[
    float | None, Option("--max-cost", help="US dollars that the whole batch may cost.")
]
Account = Annotated[
    str,
    Option(
        "--account", help="Batches of this account, anywhere, share --max-cost; see limits.store."
    ),
]
MaxFailures = Annotated[
    int, Option("--max-failures", help="Stop when this many in a row failed; 0 is never.")
]
System = Annotated[str, Option("--system", "-s", help="A system prompt for questions without one.")]
Details = Annotated[bool, Option("--details", help="Write the proposals too.")]
Via = Annotated[
    str,
    Option("--via", help='"batch-api": cheaper, by the providers\' batch APIs, within a day.'),
]
BatchSize = Annotated[
    int, Option("--batch-size", help="Requests in one batch of a provider's.", min=1)
]
Engine = Annotated[
    str, Option("--engine", help='"ray": the workers of a Ray cluster ask; see RAY_ADDRESS.')
]
Workers = Annotated[
    int | None,
    Option("--workers", help="Workers of the cluster; by default one for each CPU.", min=1),
]


@command
def batch(
    models: Flags,
    questions: Questions,
    out: Out,
    in_flight: InFlight = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    account: Account = "",
    max_failures: MaxFailures = 20,
    system: System = "",
    details: Details = False,
    via: Via = "direct",
    batch_size: BatchSize = 5_000,
    engine: Engine = "local",
    workers: Workers = None,
    trace: Trace = None,
) -> int:
    """Answer many questions; run it again to continue where it stopped.

    Each answer is written to the file at once. Questions that failed are in a
    file beside it, and are asked again the next time.
    """
    settings: dict[str, Any] = {
        "in_flight": in_flight, "limit": limit, "max_cost": max_cost, "max_failures": max_failures,
        "system": system, "details": details, "via": via, "batch_size": batch_size,
        "engine": engine, "workers": workers, "account": account,
    }  # fmt: skip
    if trace and engine == "ray":
        raise UsageError("--trace: the workers of a cluster write no trace; leave it out")
    from .sources import find

    source = find(models)
    recipe = source.recipe()
    if max_cost is not None:
        _require_prices(recipe)
    say(f"{recipe}\nModels from {source.origin}.")
    report = _run(recipe, questions, out, trace, settings)
    say(str(report))
    return _code(report, out)


def _run(
    recipe: "Recipe", questions: str, out: str, trace: Path | None, settings: dict[str, Any]
) -> "Report":
    """Run the batch to its end. If something ends it early, say how far it came."""
    from llama_index.packs.mixture_of_agents.batch import arun_batch
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    from .loop import Loop
    from .progress import Progress

    mixture = MixtureOfAgents(recipe)
    by_batches = settings["via"] == "batch-api"
    priced = at_batch_prices(recipe) if by_batches else recipe
    with (
        tracing(mixture, trace),
        Loop(fast=True) as loop,
        Progress(questions, priced, settings["max_cost"]) as progress,
    ):
        work = arun_batch(mixture, questions, out, watch=progress, **settings)
        try:
            return loop.run(work)
        except BaseException:  # Ctrl-C, a full disk, a bad line of standard input
            progress.close()
            if progress.last:
                say(f"{progress.last}\n{CONTINUE}")
                if progress.last.batches:
                    say(OPEN)
            raise


def at_batch_prices(recipe: "Recipe") -> "Recipe":
    """The recipe with the prices of its providers' batch APIs, for what is said beforehand."""
    from dataclasses import replace

    from llama_index.packs.mixture_of_agents.batch.route import prices_by_batch_api
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

    return replace(recipe, prices=prices_by_batch_api(MixtureOfAgents(recipe)))


def _code(report: "Report", out: str) -> int:
    """The exit code. If questions failed, say where the reasons are."""
    if report.failed:
        from llama_index.packs.mixture_of_agents.batch.remote_file import RemoteFile, is_remote

        here = Path(RemoteFile(out).name if is_remote(out) else out)
        say(f"{here.with_suffix('.failed.jsonl')} says why; run it again to ask these again.")
    if report.stopped:
        return FAILED
    return DEGRADED if report.failed else 0


def _require_prices(recipe: "Recipe") -> None:
    """Raise ``UsageError`` if a model has no price: a bound in US dollars would not hold."""
    unpriced = recipe.estimate().least_cost.unpriced
    if unpriced:
        example = f"--set 'prices.\"{unpriced[0]}\"=[0.4, 1.6]'"
        raise UsageError(
            f"--max-cost: there is no price for {', '.join(unpriced)}; give prices in US dollars per million tokens in "
            f"and out, in the recipe file or as {example}"
        )
