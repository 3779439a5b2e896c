"""``--trace``: runs are appended to a file."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

Trace = Annotated[
    Path | None, Option("--trace", help="Append each run to this file, for moa show and replay.")
]


def tracing(mixture: "MixtureOfAgents", path: Path | None) -> AbstractContextManager[Any]:
    """While this context is open, a mixture's runs are appended to a file, where there is one.

    Raises:
        OSError: the file cannot be written to.
    """
    if path is None:
        return nullcontext()
    from llama_index.packs.mixture_of_agents.trace_files import trace_to

    return mixture.listen(trace_to(path))
