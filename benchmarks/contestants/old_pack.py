"""The old pack, on a core on which it runs."""

from typing import Any

from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack


def make(setup: Any) -> dict[str, Any]:
    """A pack for every question: one takes no second one. Its own ``run`` works in no running loop."""
    names = (*setup.proposers, setup.aggregator)
    llms = [OpenAI(model=name, api_key=setup.key, api_base=f"{setup.base}/v1") for name in names]
    *proposers, aggregator = llms

    async def run(question: str) -> str:
        pack = MixtureOfAgentsPack(aggregator, proposers, setup.layers, timeout=1000)  # type: ignore[arg-type]
        return await pack._wf.run(query_str=question)  # type: ignore[attr-defined]  # noqa: SLF001

    return {"run": run}
