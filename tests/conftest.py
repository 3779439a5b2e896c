"""What every test file shares: the simulated providers, one process per test session."""

from collections.abc import Iterator

import pytest

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders


@pytest.fixture(scope="session")
def provider_process() -> Iterator[SimulatedProviders]:
    """The process; tests take `providers`."""
    with SimulatedProviders() as sim:
        yield sim


@pytest.fixture
def providers(provider_process: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers with nothing configured and an empty log."""
    provider_process.reset()
    return provider_process
