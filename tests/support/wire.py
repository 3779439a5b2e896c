"""What OpenAI's and Mistral's APIs are asked, and where."""

from typing import Any

CHAT = "/v1/chat/completions"
MISTRAL_CHAT = "/mistral/v1/chat/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
BODY: dict[str, Any] = {"model": "moa", "messages": MESSAGES}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4.1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def request_body(text: str = "hello", model: str = "m", **more: Any) -> dict[str, Any]:
    """The body of a request for a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}
