"""Finds the batch API of an LLM's provider. A further provider is one file, and one line here."""

from llama_index.core.llms.llm import LLM

from .batch_wire import BatchAPI
from .facts import derives_from, is_openai_responses, provider_name
from .mistral_batch_api import MistralBatches
from .openai_batch_api import OpenAIBatches


def batch_api_of(llm: LLM) -> BatchAPI | None:
    """Find the batch API of an LLM's provider.

    OpenAI's class may be connected to any OpenAI-compatible server. The upload of the first file shows whether that
    server has a batch API.

    Returns:
        The batch API; None if the provider has none that is known here.
    """
    name = provider_name(llm)
    if name == "openai" and derives_from(llm, "openai") and not is_openai_responses(llm):
        return OpenAIBatches()
    if name == "mistralai" and not getattr(llm, "_uses_azure", False):
        return MistralBatches()
    return None
