"""A key that a provider repeats reaches nothing that a run leaves behind."""

import json
import logging
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hostile import head, hostile
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI, OpenAIResponses
from openai import AsyncAzureOpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents, QuorumNotMet, moa
from llama_index.packs.mixture_of_agents.display.page import document
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.replay import trace_to
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

CANARY = "c4nary/key+with=signs"
FORMS = (
    CANARY,
    quote(CANARY, safe=""),
    *(b64encode(before + CANARY.encode()).decode() for before in (b"", b"m", b"me")),
)


def azure(base: str) -> LLM:
    client = AsyncAzureOpenAI(
        azure_endpoint=base, api_version="2024-10-21", api_key=CANARY, max_retries=0
    )
    return OpenAIResponses("gpt-4.1", api_key="k", async_openai_client=client)


def with_a_query(base: str) -> LLM:
    return OpenAI("gpt-4.1", api_key="k", api_base=f"{base}/v1?sig={quote(CANARY, safe='')}")


CLASSES: dict[str, Callable[[str], LLM]] = {
    "openai": lambda base: OpenAI("gpt-4.1", api_key=CANARY, api_base=f"{base}/v1"),
    "a query": with_a_query,
    "mistral": lambda base: MistralAI("mistral-small-latest", api_key=CANARY, endpoint=base),
    "azure": azure,
}


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
async def test_a_key_that_a_provider_repeats_is_in_no_page_trace_log_or_text(
    make: Callable[[str], LLM], status: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    trace = tmp_path / "trace.jsonl"
    body = json.dumps({"error": {"message": f"no access with {' or '.join(FORMS)}"}}).encode()
    with hostile(lambda _: (head(status=status), body)) as server:
        llm = make(server.base)
        mixture = MixtureOfAgents(
            moa([llm], ScriptedLLM("So."), layers=1, call=CallPolicy(retries=0))
        )
        mixture.listen(trace_to(trace))
        with pytest.raises(QuorumNotMet) as raised:
            await mixture.achat([ChatMessage(role="user", content="Why?")])
    result = raised.value.result
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("llama_index.packs")]
    shown = [str(raised.value), repr(result), result.to_json(), document(result), trace.read_text()]
    assert all("no access with" in text for text in (shown[0], shown[2], shown[-1]))
    for text in (*shown, *ours):
        assert "c4nary" not in text
        assert not any(form[4:-4] in text for form in FORMS)
