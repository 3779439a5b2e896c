"""The one place where an LLM is awaited: natively or in a thread, whole or streamed.

Two ways, because LlamaIndex's OpenAI and MistralAI classes keep one async client that is bound to the first event
loop that used it: on any other loop it breaks ("Event loop is closed") or stalls. So an LLM is awaited natively on
the first loop that this object saw, and in a thread, through its sync client, everywhere else.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM

from .llms import endpoint_key, secrets
from .threads import in_thread, iterate_in_thread

OnChunk = Callable[[str, ChatResponse], None]


class Transport:
    """An LLM object as the engine asks it: a copy without retries of its own, since calls.py makes them.

    Attributes:
        llm: the LLM to ask; the caller's own object where nothing had to be changed.
        key: its endpoint (provider, model, address).
        secrets: its keys, to be kept out of error texts.
        refused: optional parameters that the model has refused; they are not sent again.
    """

    def __init__(self, llm: LLM) -> None:
        self.original = llm
        self.llm = _without_own_retries(llm)
        self.key = endpoint_key(llm)
        self.secrets = secrets(llm)
        self.refused: set[str] = _known_refusals(llm)
        self._openai = _is_openai(llm)
        self._native = type(llm).achat is not CustomLLM.achat
        self._native_stream = type(llm).astream_chat is not CustomLLM.astream_chat
        self._home: weakref.ref[asyncio.AbstractEventLoop] | None = None

    @property
    def offers_samples(self) -> bool:
        """Whether one request can ask for several answers (``n=``)."""
        return self._openai and "n" not in self.refused

    def parameters(self, wanted: dict[str, Any], *, stream: bool) -> dict[str, Any]:
        """What to send of the wanted parameters: without the refused ones, and asking a stream for its usage."""
        if stream and self._openai:
            wanted = {"stream_options": {"include_usage": True}, **wanted}
        return {name: value for name, value in wanted.items() if value is not None and name not in self.refused}

    def sent_by_itself(self) -> tuple[str, ...]:
        """Optional parameters that the LLM class sends without being told."""
        return tuple(name for name in ("temperature", "max_tokens") if getattr(self.llm, name, None) is not None)

    def refuse(self, names: Sequence[str]) -> None:
        """Remember refused parameters, those of the LLM's own constructor included."""
        self.refused.update(names)
        if self._openai:
            # A per-call value overrides the constructor's temperature; the constructor's max_tokens wins over any.
            self.llm = self.llm.model_copy(update={"max_tokens": None}) if "max_tokens" in names else self.llm

    def _own_refusals(self) -> dict[str, Any]:
        if not self._openai or "temperature" not in self.refused or self.llm.model in _reasoning_models():  # type: ignore[attr-defined]
            return {}
        from openai import NOT_GIVEN

        return {"temperature": NOT_GIVEN}

    def _here(self) -> bool:
        """Whether this is the loop that the LLM's async client may be bound to."""
        loop = asyncio.get_running_loop()
        if self._home is None:
            self._home = weakref.ref(loop)
        return self._home() is loop

    async def chat(self, messages: Sequence[ChatMessage], parameters: dict[str, Any], *, threaded: bool) -> ChatResponse:
        """Ask for a whole answer. Raises whatever the LLM raises."""
        parameters = {**parameters, **self._own_refusals()}
        if threaded or not self._native or not self._here():
            return await in_thread(partial(self.llm.chat, messages, **parameters))
        return await self.llm.achat(messages, **parameters)

    async def stream(
        self, messages: Sequence[ChatMessage], parameters: dict[str, Any], on_chunk: OnChunk, *, threaded: bool
    ) -> tuple[str, ChatResponse | None]:
        """Ask for a streamed answer.

        Args:
            on_chunk: called with each new piece of text and the chunk it came in.

        Returns:
            The whole text and the last chunk. The text is rebuilt from the deltas: what integrations accumulate in
            ``message`` is not always right.
        """
        parameters = {**parameters, **self._own_refusals()}
        pieces: list[str] = []
        last: ChatResponse | None = None
        async for chunk in self._chunks(messages, parameters, threaded):
            text = chunk.delta or ""
            pieces.append(text)
            last = chunk
            on_chunk(text, chunk)
        return "".join(pieces), last

    async def _chunks(
        self, messages: Sequence[ChatMessage], parameters: dict[str, Any], threaded: bool
    ) -> AsyncIterator[ChatResponse]:
        if threaded or not self._native_stream or not self._here():
            async for chunk in iterate_in_thread(partial(self.llm.stream_chat, messages, **parameters)):
                yield chunk
        else:
            async for chunk in await self.llm.astream_chat(messages, **parameters):
                yield chunk


def _without_own_retries(llm: LLM) -> LLM:
    if not getattr(llm, "max_retries", 0):
        return llm
    copy = llm.model_copy(update={"max_retries": 0})
    for name in ("_client", "_aclient"):  # clients made before this copy, or given by the user, retry too
        with_options: Any = getattr(getattr(copy, name, None), "with_options", None)
        if with_options:
            setattr(copy, name, with_options(max_retries=0))
    return copy


def _is_openai(llm: LLM) -> bool:
    """Whether it is LlamaIndex's OpenAI class or one derived from it."""
    return any(cls.__module__.startswith("llama_index.llms.openai.") for cls in type(llm).__mro__)


def _reasoning_models() -> frozenset[str]:
    from llama_index.llms.openai.utils import O1_MODELS

    return frozenset(O1_MODELS)


def _known_refusals(llm: LLM) -> set[str]:
    return {"temperature"} if _is_openai(llm) and getattr(llm, "model", "") in _reasoning_models() else set()
