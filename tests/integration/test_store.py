"""What makes a batch another one, over HTTP."""

import pytest

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.batch import run_batch
from llama_index.packs.mixture_of_agents.errors import BatchError

TEXTS = [f"question {number}" for number in range(1, 101)]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "answers.jsonl"


# --- what it goes on with ----------------------------------------------------------------------------------------


def test_a_mixture_with_other_settings_is_another_one_and_a_time_limit_is_none(providers, out):
    providers.configure("*", reply="fine")
    models = [providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1")]

    def mixture(**settings):
        return MixtureOfAgents(llm=models[1], proposers=models[:1], num_layers=1, **settings)

    run_batch(mixture(), TEXTS[:1], out)
    with pytest.raises(BatchError, match="its answers are of another mixture"):
        run_batch(mixture(temperature=0.1), TEXTS[:2], out)
    assert run_batch(mixture(deadline=60), TEXTS[:1], out).skipped == 1
