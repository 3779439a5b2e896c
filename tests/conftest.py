"""What every test file shares: the network guard, and the simulated providers, one process per test session."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import certifi
import hypothesis
import no_network
import openai
import pytest
import pytest_asyncio

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Processes that tests start are guarded too: their sitecustomize is the one beside no_network.
_OFFLINE = str(Path(__file__).parent / "support" / "offline")
_BEFORE = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join([_OFFLINE, _BEFORE] if _BEFORE else [_OFFLINE])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests marked `slow`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.quick:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session", autouse=True)
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Spare every HTTP client the tens of milliseconds that all of certifi's take: no test speaks TLS, `pip` apart."""
    if "DOORS" in os.environ:
        return
    first, end, _ = (
        Path(certifi.where()).read_text("utf-8").partition("-----END CERTIFICATE-----\n")
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_text(first + end)
    os.environ["SSL_CERT_FILE"] = str(file)


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine() -> Iterator[None]:
    yield
    tried = no_network.attempts.copy()
    no_network.attempts.clear()
    assert not tried


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


@pytest.fixture
def sdk(providers: SimulatedProviders) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, without retries, so that each call is one request."""
    with openai.OpenAI(
        api_key="simulated-key", base_url=providers.openai_base, max_retries=0, timeout=5
    ) as client:
        yield client


@pytest_asyncio.fixture
async def http(providers: SimulatedProviders) -> AsyncIterator[aiohttp.ClientSession]:
    """A bare HTTP client with a key, for paths relative to the simulated server."""
    headers = {"Authorization": "Bearer simulated-key"}
    async with aiohttp.ClientSession(providers.base, headers=headers) as session:
        yield session
