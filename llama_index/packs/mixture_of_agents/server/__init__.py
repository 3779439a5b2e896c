"""Any LLM over HTTP: LlamaIndex LLMs, mixtures above all, as an OpenAI-compatible API. Needs the extra ``server``."""

from .api_keys import ApiKey
from .app import create_app
from .lifecycle import serve

__all__ = ["ApiKey", "create_app", "serve"]
