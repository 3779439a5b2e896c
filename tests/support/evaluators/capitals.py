"""A task for inspect-ai: two capitals."""

from inspect_ai import Task, task  # pyright: ignore[reportMissingImports]
from inspect_ai.dataset import Sample  # pyright: ignore[reportMissingImports]
from inspect_ai.scorer import includes  # pyright: ignore[reportMissingImports]


@task
def capitals() -> Task:
    samples = [
        Sample(input="What is the capital of France?", target="Paris"),
        Sample(input="What is the capital of Peru?", target="Lima"),
    ]
    return Task(dataset=samples, scorer=includes())
