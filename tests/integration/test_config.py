"""A recipe out of a file, over HTTP."""

from llama_index.packs.mixture_of_agents import (
    MixtureOfAgents,
)
from llama_index.packs.mixture_of_agents.config import loads

MINIMAL = """
proposers = ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
"""


def test_a_recipe_out_of_a_file_answers(providers, monkeypatch):
    for name, value in providers.environment.items():
        monkeypatch.setenv(name, value)
    providers.configure("gpt-4.1", reply="forty-two")
    assert MixtureOfAgents(loads(MINIMAL)).complete("What is 6 times 7?").text == "forty-two"
    assert len(providers.log()) == 5
