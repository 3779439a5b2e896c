"""``ScriptedLLM``: an LLM that follows a script, for tests of code that uses an LLM. No network, no keys.

It is natively async, streams, takes tools, and records its requests.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    ContentBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.llm import ToolSelection

from llama_index.packs.mixture_of_agents._providers.function_calling import ChatLLM

Reply: TypeAlias = (
    str
    | ChatMessage
    | ChatResponse
    | ToolSelection
    | Sequence[ToolSelection]
    | BaseException
    | None
)
Script: TypeAlias = Reply | Callable[[Sequence[ChatMessage]], Any]


@dataclass(frozen=True)
class ReceivedRequest:
    """One request that a ``ScriptedLLM`` received.

    Attributes:
        messages: the messages.
        kwargs: the keyword arguments.
        streamed: whether a streamed answer was wanted.
        at: the time, as a ``time.perf_counter`` reading in seconds.
    """

    messages: tuple[ChatMessage, ...]
    kwargs: dict[str, Any]
    streamed: bool
    at: float = field(default_factory=time.perf_counter)


class ScriptedLLM(ChatLLM):
    """An LLM that follows a script.

    Args:
        replies: the answers, in turn; the last one repeats. An answer is a text, a message, a response, tool calls,
            an exception to raise, or None for a message without content. It may also be a function that takes the
            messages and returns one of these. An async function can await an event of the test.
        model: the model's name.
        context_window: the context window in tokens.
        num_output: the tokens reserved for an answer; -1 for an unknown number.
        tools: whether it takes tools.
        usage: the tokens to report, as (input, output); None reports none.

    Example:
        ```python
        from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

        llm = ScriptedLLM("Paris.", TimeoutError("too slow"))
        assert llm.complete("What is the capital of France?").text == "Paris."
        assert llm.requests[0].messages[0].content == "What is the capital of France?"
        ```
    """

    model: str = "scripted"
    _replies: list[Script] = PrivateAttr()
    _metadata: LLMMetadata = PrivateAttr()
    _usage: tuple[int, int] | None = PrivateAttr()
    _requests: list[ReceivedRequest] = PrivateAttr(default_factory=list[ReceivedRequest])
    _in_flight: int = PrivateAttr(default=0)
    _high_water: int = PrivateAttr(default=0)

    def __init__(
        self,
        *replies: Script,
        model: str = "scripted",
        context_window: int = 128_000,
        num_output: int = -1,
        tools: bool = True,
        usage: tuple[int, int] | None = (10, 5),
        **kwargs: Any,
    ) -> None:
        fields: dict[str, Any] = {**kwargs, "model": model}
        super().__init__(**fields)
        self._replies = list(replies) or ["scripted answer"]
        self._usage = usage
        self._metadata = LLMMetadata(
            context_window=context_window,
            num_output=num_output,
            is_chat_model=True,
            is_function_calling_model=tools,
            model_name=model,
        )

    @classmethod
    def class_name(cls) -> str:
        return "ScriptedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return self._metadata

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """The requests that it has received so far."""
        return tuple(self._requests)

    @property
    def asked(self) -> tuple[ReceivedRequest, ...]:
        """The same as ``requests``."""
        return self.requests

    @property
    def high_water(self) -> int:
        """The largest number of requests that it had at the same time."""
        return self._high_water

    def _next(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any], streamed: bool
    ) -> Script:
        self._requests.append(ReceivedRequest(tuple(messages), kwargs, streamed))
        return self._replies[min(len(self._requests), len(self._replies)) - 1]

    async def _areply(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any], streamed: bool
    ) -> ChatResponse:
        script = self._next(messages, kwargs, streamed)
        self._in_flight += 1
        self._high_water = max(self._high_water, self._in_flight)
        try:
            reply = script(messages) if callable(script) else script
            return self._respond(await reply if inspect.isawaitable(reply) else reply)
        finally:
            self._in_flight -= 1

    def _reply(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any], streamed: bool
    ) -> ChatResponse:
        script = self._next(messages, kwargs, streamed)
        reply = script(messages) if callable(script) else script
        return self._respond(
            asyncio.run(_result_of(reply)) if inspect.isawaitable(reply) else reply
        )

    def _respond(self, reply: Any) -> ChatResponse:
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, ChatResponse):
            return reply
        message = (
            reply
            if isinstance(reply, ChatMessage)
            else ChatMessage(role="assistant", blocks=_blocks(reply))
        )
        sent, received = self._usage or (0, 0)
        usage = {"prompt_tokens": sent, "completion_tokens": received} if self._usage else None
        return ChatResponse(
            message=message, raw={"usage": usage, "choices": [{"finish_reason": "stop"}]}
        )

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._reply(messages, kwargs, False)

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._areply(messages, kwargs, False)

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from _chunks(self._reply(messages, kwargs, True))

    async def _astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        async def gen() -> ChatResponseAsyncGen:
            for chunk in _chunks(await self._areply(messages, kwargs, True)):
                yield chunk

        return gen()

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[Any],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        question = [
            ChatMessage(role="user", content=user_msg) if isinstance(user_msg, str) else user_msg
        ]
        return {
            "messages": [*(chat_history or []), *(message for message in question if message)],
            "tools": [tool.metadata.to_openai_tool() for tool in tools],
            "tool_choice": "required" if tool_required else "auto",
            **kwargs,
        }


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


def _blocks(reply: Any) -> list[ContentBlock]:
    if reply is None:
        return []
    if isinstance(reply, str):
        return [TextBlock(text=reply)]
    calls = [reply] if isinstance(reply, ToolSelection) else reply
    return [
        ToolCallBlock(tool_call_id=c.tool_id, tool_name=c.tool_name, tool_kwargs=c.tool_kwargs)
        for c in calls
    ]


def _chunks(response: ChatResponse) -> ChatResponseGen:
    """Yield the response word by word. Tool calls and usage come with the last chunk."""
    words = (response.message.content or "").split(" ")
    text = ""
    for number, word in enumerate(words, 1):
        delta = word if number == 1 else f" {word}"
        text += delta
        last = number == len(words)
        message = (
            response.message if last else ChatMessage(role=MessageRole.ASSISTANT, content=text)
        )
        yield ChatResponse(message=message, delta=delta, raw=response.raw if last else None)
