"""Which LLMs can be asked by their provider's batch API. A further provider is one file, and one line here."""

from llama_index.core.llms.llm import LLM

from .batch_wire import BatchAPI
from .facts import derives_from, is_openai_responses, provider_name
from .mistral_batch_api import MistralBatches
from .openai_batch_api import OpenAIBatches


def batch_api_of(llm: LLM) -> BatchAPI | None:
    """The batch API of an LLM's provider; None if it has none that is known here.

    OpenAI's class may ask any server that speaks OpenAI's language. Whether that has a batch API shows when the first
    file is uploaded.
    """
    name = provider_name(llm)
    if name == "openai" and derives_from(llm, "openai") and not is_openai_responses(llm):
        return OpenAIBatches()
    if name == "mistralai" and not getattr(llm, "_uses_azure", False):
        return MistralBatches()
    return None
