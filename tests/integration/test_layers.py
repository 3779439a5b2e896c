"""A straggler of a closed layer hangs up."""

from asking import ask

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    Proposer,
    Recipe,
)
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders


async def test_a_straggler_hangs_up(providers: SimulatedProviders) -> None:
    providers.hold("gpt-4.1-mini")
    layer = Layer(
        (
            Proposer(providers.openai("gpt-4.1-mini")),
            Proposer(providers.mistral("mistral-small-latest")),
        ),
        quorum=1,
        grace=0.1,
    )
    result = await ask(MixtureOfAgents(Recipe((layer,), Aggregator(providers.openai("gpt-4.1")))))
    assert result.answer
    await providers.await_for("gpt-4.1-mini", hung_up=1, open=0, timeout=2)
