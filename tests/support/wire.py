"""What OpenAI's and Mistral's APIs are asked, and where."""

from typing import Any

CHAT = "/v1/chat/completions"
MISTRAL_CHAT = "/mistral/v1/chat/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
BODY: dict[str, Any] = {"model": "moa", "messages": MESSAGES}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def request_body(text: str = "hello", model: str = "m", **more: Any) -> dict[str, Any]:
    """The body of a request for a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
