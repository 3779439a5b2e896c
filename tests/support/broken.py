"""How a mixture fails whose provider answers wrongly, natively and in threads, whole and streamed."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from asking import respond
from llama_index.core.llms.llm import LLM
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI, OpenAIResponses

from llama_index.packs.mixture_of_agents import (
    AggregatorFailed,
    MixtureOfAgents,
    QuorumNotMet,
    moa,
)
from llama_index.packs.mixture_of_agents.errors import Failure, FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def own_clients(base: str) -> OpenAI:
    """As a user has it who has asked it already."""
    llm = OpenAI("gpt-4.1", api_key="k", api_base=f"{base}/v1")
    llm._get_client()  # pyright: ignore[reportPrivateUsage]
    llm._get_aclient()  # pyright: ignore[reportPrivateUsage]
    return llm


CLASSES: dict[str, Callable[[str], LLM]] = {
    "openai": lambda base: OpenAI("gpt-4.1", api_key="k", api_base=f"{base}/v1"),
    "its own clients": own_clients,
    "mistral": lambda base: MistralAI("mistral-small-latest", api_key="k", endpoint=base),
    "responses": lambda base: OpenAIResponses("gpt-4.1", api_key="k", api_base=f"{base}/v1"),
}
OF_EACH_CLASS = pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


async def ask(mixture: MixtureOfAgents, way: str, *, streamed: bool, **settings: Any) -> Any:
    """The result of a run."""
    ways = {"sync": ("chat", "stream_chat"), "async": ("achat", "astream_chat")}
    response = await respond(mixture, ways[way][streamed], **settings)
    return response.additional_kwargs["mixture"]


async def fails(
    llm: LLM, way: str, *, streamed: bool, retries: int = 0, role: str = "aggregator"
) -> Failure:
    """How a call to the LLM fails, asked as the aggregator or as the only proposer."""
    other = ScriptedLLM("Because.")
    policy = CallPolicy(retries=retries, backoff=0)
    members = ([other], llm) if role == "aggregator" else ([llm], other)
    mixture = MixtureOfAgents(moa(members[0], members[1], layers=1, call=policy))
    with pytest.raises((AggregatorFailed, QuorumNotMet)) as raised:
        await ask(mixture, way, streamed=streamed)
    (failure,) = raised.value.failures
    return failure


def always(*pieces: bytes) -> Callable[[bytes], Iterable[bytes]]:
    return lambda _: pieces


BUSY = {"message": "the model is busy", "code": 429}
"""A provider's error."""


def says_busy(failure: Failure) -> bool:
    """Whether a failure tells ``BUSY``, in the provider's words."""
    told = (failure.kind, failure.status) == (FailureKind.RATE_LIMITED, 429)
    return told and "the model is busy" in failure.message
