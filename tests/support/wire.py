"""What OpenAI's and Mistral's APIs are asked, and where."""

from typing import Any

import openai
import psutil
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock

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


CALLS_WEATHER = ChatMessage(
    role="assistant",
    blocks=[
        ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs={"city": "Paris"})
    ],
)
"""An answer that calls a tool."""


def openai_sdk(at: str, kind: Any = openai.OpenAI, key: str = "a-key") -> Any:
    """OpenAI's own client of a server at this address, without retries."""
    return kind(base_url=f"{at}/v1", api_key=key, max_retries=0, timeout=20)


def connections_to(port: int) -> set[object]:
    """This process's connections to a port."""
    found = psutil.Process().net_connections()
    return {one.laddr for one in found if one.raddr[1:] == (port,)}
