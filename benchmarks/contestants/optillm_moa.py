"""optillm's mixture_of_agents: one model is asked for three answers, for a critique of them, and for the last word."""

import logging
from typing import Any

from openai import OpenAI
from optillm.moa import mixture_of_agents  # type: ignore[import-not-found]

logging.disable(logging.WARNING)  # it tells of every step; a failure is raised


def make(setup: Any) -> dict[str, Any]:
    """Its function over one SDK client, as its server calls it; it is sync."""
    client = OpenAI(api_key=setup.key, base_url=f"{setup.base}/v1")

    def run(question: str) -> str:
        return mixture_of_agents("", question, client, setup.aggregator)[0]

    return {"run": run}
