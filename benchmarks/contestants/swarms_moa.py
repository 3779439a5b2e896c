"""swarms' MixtureOfAgents; it is sync, and an instance can only run one question at a time."""

import os
import queue
import tempfile
from typing import Any

os.environ.update(SWARMS_TELEMETRY_ON="false", WORKSPACE_DIR=tempfile.mkdtemp())

from swarms import Agent, MixtureOfAgents  # type: ignore[import-not-found]


def make(setup: Any) -> dict[str, Any]:
    """As many instances as run at once."""
    os.environ["OPENAI_API_KEY"] = setup.key
    instances: queue.SimpleQueue[MixtureOfAgents] = queue.SimpleQueue()

    def agent(name: str, model: str) -> Agent:
        return Agent(
            agent_name=name,
            system_prompt="",
            model_name=f"openai/{model}",
            llm_base_url=f"{setup.base}/v1",
            llm_api_key=setup.key,
            max_loops=1,
            temperature=0.7,
            max_tokens=2048,
            autosave=False,
            print_on=False,
            verbose=False,
        )

    def instance() -> MixtureOfAgents:
        agents = [agent(f"{number}", model) for number, model in enumerate(setup.proposers)]
        aggregator = agent("aggregator", setup.aggregator)
        return MixtureOfAgents(agents=agents, aggregator_agent=aggregator, layers=setup.layers)

    def run(question: str) -> str:
        try:
            mixture = instances.get_nowait()
        except queue.Empty:
            mixture = instance()
        answer = mixture.run(question)
        instances.put(mixture)
        if answer.startswith("Error"):
            raise RuntimeError(answer)
        return answer

    return {"run": run}
