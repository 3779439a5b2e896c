"""Bases of our own LLM classes: ``ChatLLM`` is made of four chats, ``FormingLLM`` gives tool calls and filled schemas."""

# LlamaIndex leaves its callback decorators untyped.
# pyright: reportUntypedFunctionDecorator=false, reportUnknownVariableType=false

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

import llama_index.core.instrumentation as instrument
from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    MessageRole,
)
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import Model, PydanticProgramMode

from .structured import Filling, Schema, Tools, tool_selections, with_one_tool_call

dispatcher = instrument.get_dispatcher(__name__)  # pyright: ignore[reportPrivateImportUsage]


class ChatLLM(FunctionCallingLLM):
    """An LLM of four methods, which a class defines: ``_chat``, ``_achat``, ``_stream_chat`` and ``_astream_chat``.

    Completions are made of them too. LlamaIndex's callbacks and tracers see each request once.
    """

    if TYPE_CHECKING:  # as abstract methods, LlamaIndex would open a second span for each

        def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse: ...

        async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse: ...

        def _stream_chat(
            self, messages: Sequence[ChatMessage], **kwargs: Any
        ) -> ChatResponseGen: ...

        async def _astream_chat(
            self, messages: Sequence[ChatMessage], **kwargs: Any
        ) -> ChatResponseAsyncGen: ...

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._achat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return await self._astream_chat(messages, **kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_to_completion_decorator(self._chat)(prompt, **kwargs)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return await achat_to_completion_decorator(self._achat)(prompt, **kwargs)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        return stream_chat_to_completion_decorator(self._stream_chat)(prompt, **kwargs)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        return await astream_chat_to_completion_decorator(self._astream_chat)(prompt, **kwargs)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        calls = tool_selections(response)
        if not calls and error_on_no_tool_call:
            raise ValueError("the answer calls no tool")
        return calls


class FormingLLM(ChatLLM):
    """An LLM whose answers can be tool calls or filled schemas (see ``structured``).

    It takes them through ``tools=`` and ``response_format=`` of a chat, as objects. The aggregator that answers receives
    them in the format of its own class.
    """

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
        """Pass the tools on as objects. Each aggregator receives them in the format of its own class."""
        question = (
            ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg
        )
        messages = [*(chat_history or []), *([question] if question else [])]
        if not tools:
            kwargs.pop("tool_choice", None)
            return {"messages": messages, **kwargs}
        if not self.metadata.is_function_calling_model:
            raise ValueError(f"{self.metadata.model_name} takes no tools: its aggregator does not")
        form = Tools(
            tools, allow_parallel_tool_calls=allow_parallel_tool_calls, tool_required=tool_required
        )
        return {"messages": messages, "tools": form, **kwargs}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[Any],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else with_one_tool_call(response)

    @dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Answer with an object. Proposers answer in prose, and the aggregator fills in the class.

        Args:
            output_cls: the pydantic class.
            prompt: the prompt.
            llm_kwargs: keyword arguments of the chat.
            prompt_args: values for the prompt's variables.

        Raises:
            ValueError: the aggregator's answer does not fit the class.
            RunError: there is no answer.
        """
        if not self._fills_schemas:
            return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        started = LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
        dispatcher.event(started)
        messages, kwargs = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filled = Schema(output_cls).read(self.chat(messages, **kwargs))
        dispatcher.event(LLMStructuredPredictEndEvent(output=filled))
        return cast("Model", filled)

    @dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """``structured_predict`` for async code."""
        if not self._fills_schemas:
            return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        started = LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
        dispatcher.event(started)
        messages, kwargs = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filled = Schema(output_cls).read(await self.achat(messages, **kwargs))
        dispatcher.event(LLMStructuredPredictEndEvent(output=filled))
        return cast("Model", filled)

    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: PromptTemplate,
        llm_kwargs: Any = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if not self._fills_schemas:
            yield from super()._structured_stream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return
        messages, kwargs = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filling = Filling(output_cls)
        for chunk in self.stream_chat(messages, **kwargs):
            yield from filling.further(chunk)
        yield from filling.end()

    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: PromptTemplate,
        llm_kwargs: Any = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if not self._fills_schemas:
            return await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        messages, kwargs = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)

        async def gen() -> AsyncGenerator[Any, None]:
            filling = Filling(output_cls)
            async for chunk in await self.astream_chat(messages, **kwargs):
                for filled in filling.further(chunk):
                    yield filled
            for filled in filling.end():
                yield filled

        return gen()

    @property
    def _fills_schemas(self) -> bool:
        """Whether the aggregator's class handles structured output; otherwise a program that the user chose does."""
        return self.pydantic_program_mode == PydanticProgramMode.DEFAULT

    def _to_fill(
        self,
        output_cls: type[Any],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[list[ChatMessage], dict[str, Any]]:
        of_tools = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
        kwargs = {name: value for name, value in (llm_kwargs or {}).items() if name not in of_tools}
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        return messages, {**kwargs, "response_format": Schema(output_cls)}
