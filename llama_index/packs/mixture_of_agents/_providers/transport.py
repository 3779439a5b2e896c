"""The one place where an LLM is awaited: natively or in a thread, whole or streamed.

Two ways, because LlamaIndex's OpenAI and MistralAI classes keep one async client that is bound to the first event
loop that used it: on any other loop it breaks ("Event loop is closed") or stalls. So an LLM is awaited natively on
the first loop that this object saw, and in a thread, through its sync client, everywhere else. Where the LLM was
asked on another loop before, or was given a client of another loop, its error tells: then it is asked once more.
"""

import asyncio
import re
import weakref
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from importlib import import_module
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread, iterate_in_thread
from llama_index.packs.mixture_of_agents._messages.prompts import append_text, inject, text_of

from .characters import mended_response
from .detour import DETOUR
from .facts import (
    context_window,
    derives_from,
    endpoint_key,
    gives_samples,
    is_openai,
    is_openai_responses,
    provider_name,
    secrets,
)
from .faults import REPEATED_ROLES, SYSTEM_ROLE, causes
from .sdk_clients import with_checks, without_retries
from .streams import OnChunk, Streamed, read_stream


def has_clients(llm: LLM) -> bool:
    """Whether an LLM's class keeps clients of its provider's SDK, which take time to make."""
    return hasattr(llm, "_get_aclient") or hasattr(llm, "_client")


def _nothing_more() -> None:
    pass


class Transport:
    """An LLM object as it is asked.

    Args:
        llm: the LLM.
        alone: ask it as it is. Otherwise a copy is asked without retries and rate limits of its own, which the engine
            sees to.
        shared: give the copy the process's shared HTTP clients where its class can use them.

    Attributes:
        llm: the LLM to ask; the caller's own object where nothing had to be changed.
        key: its endpoint (provider, model, address).
        secrets: its keys, to be kept out of error texts.
        window: its model's context window in tokens, or None where that is not known.
        limiter: its rate limiter (``llama_index.core.rate_limiter``), or None.
        refused: optional parameters that the model has refused; they are not sent again.
        has_given_samples: whether one request has given several answers.
    """

    def __init__(self, llm: LLM, *, alone: bool = False, shared: bool = False) -> None:
        self.original = llm
        self.llm = llm if alone else without_retries(llm)
        self._unchecked = set[bool]() if alone else {False, True}
        if shared and is_openai(llm):
            from .connections import with_shared_clients  # it imports httpx, as this class does

            self.llm = with_shared_clients(self.llm)
        self.key = endpoint_key(llm)
        self.secrets = secrets(llm)
        self.window = context_window(llm)
        self.limiter: Any = getattr(llm, "rate_limiter", None)
        self.refused: set[str] = _known_refusals(llm)
        self.has_given_samples = False
        self._openai = is_openai(llm)
        self._overrides: dict[str, Any] = {}
        self._native = _is_own(llm, "achat")
        self._native_stream = _is_own(llm, "astream_chat")
        self._home: Callable[[], asyncio.AbstractEventLoop | None] | None = None
        self._limited: Transport | None = None
        self._most: int | None = None

    def prepare(self) -> None:
        """Make the LLM's async client and import what it needs, which takes up to seconds in a new process.

        An error is left to the call that needs the client.
        """
        with suppress(Exception):
            if getattr(self.llm, "reuse_client", True):  # else each call makes its own
                make: Any = getattr(self.llm, "_get_aclient", None)
                client: Any = make() if make else getattr(self.llm, "_client", None)
                getattr(getattr(client, "chat", None), "completions", None)

    @property
    def offers_samples(self) -> bool:
        """Whether one request can ask for several answers (``n=``)."""
        return self._openai and "n" not in self.refused

    @property
    def gives_samples(self) -> bool | None:
        """Whether one request gives several answers; None until that is known."""
        if not self.offers_samples:
            return False
        return True if self.has_given_samples else gives_samples(self.original)

    def parameters(self, wanted: dict[str, Any], *, stream: bool) -> dict[str, Any]:
        """What to send of the wanted parameters: without the refused ones, and asking a stream for its usage."""
        if stream and self._openai:
            wanted = {"stream_options": {"include_usage": True}, **wanted}
        if self._most and wanted.get("max_tokens"):
            wanted = {**wanted, "max_tokens": min(self._most, wanted["max_tokens"])}
        sent = {
            name: value
            for name, value in wanted.items()
            if value is not None and name not in self.refused
        }
        return {**sent, **self._overrides}

    def within(self, limit: Any) -> "Transport":
        """The transport for a caller that sets a token limit: the smaller of that and the LLM's own applies.

        LlamaIndex's OpenAI class prefers its own limit to one that is sent, and its class for Responses the one sent.

        Args:
            limit: the caller's limit; anything but a positive integer sets none.
        """
        name = "max_output_tokens" if is_openai_responses(self.llm) else "max_tokens"
        own = getattr(self.llm, name, None)
        if not own or not isinstance(limit, int) or limit <= 0:
            return self
        if not (limit < own if self._openai else limit > own and name == "max_output_tokens"):
            return self
        if self._limited is None:
            self._limited = copy(self)
            self._limited._take_limit_from(own)  # noqa: SLF001  # its own kind
        return self._limited

    def _take_limit_from(self, own: int) -> None:
        self._unchecked = set(self._unchecked)
        if self._openai:
            self.llm = self.llm.model_copy(update={"max_tokens": None})
        else:
            self._most = own

    def sent_by_itself(self) -> tuple[str, ...]:
        """Optional parameters that the LLM class sends without being told, and the roles of the messages."""
        return (
            SYSTEM_ROLE,
            REPEATED_ROLES,
            *(
                name
                for name in ("temperature", "max_tokens")
                if getattr(self.llm, name, None) is not None
            ),
        )

    def refuse(self, names: Sequence[str]) -> None:
        """Remember refused parameters, those of the LLM's own constructor included."""
        self.refused.update(names)
        own = [name for name in names if getattr(self.llm, name, None) is not None]
        if provider_name(self.llm) == "mistralai":
            from mistralai.client.types import UNSET

            self._overrides |= dict.fromkeys(own, UNSET)
        elif "temperature" in own:  # a per-call one wins over the constructor's
            self._overrides["temperature"] = _nothing(self.llm)
        if self._openai and "max_tokens" in own:  # the constructor's wins over a per-call one
            self.llm = self.llm.model_copy(update={"max_tokens": None})

    async def pace(self, tokens: int, *, threaded: bool) -> None:
        """Wait until the rate limiter lets one request of so many tokens through.

        Core's own decorators tell a limiter of the request only, never of its tokens.
        """
        most = getattr(self.limiter, "tokens_per_minute", None)
        if most:  # a bucket never holds more: it would wait forever
            tokens = min(tokens, int(most))
        if threaded or not self._here():
            await in_thread(partial(self.limiter.acquire, tokens))
        else:
            await self.limiter.async_acquire(tokens)

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        parameters: dict[str, Any],
        *,
        threaded: bool,
        again: Callable[[], None] = _nothing_more,
    ) -> ChatResponse:
        """Ask for a whole answer. Raises whatever the LLM raises.

        Args:
            messages: the conversation.
            parameters: what is sent beside it.
            threaded: ask in a thread, whichever loop this is.
            again: called where the LLM's async client was asked in vain, and a thread asks once more.
        """
        detour = DETOUR.get()
        if detour is None:
            return await self._chat(messages, parameters, threaded=threaded, again=again)
        async with detour.asking(self.llm) as stand_in:
            if stand_in is None:
                return await self._chat(messages, parameters, threaded=threaded, again=again)
            sent = _accepted(messages, self.refused)
            return mended_response(await stand_in.achat(sent, **parameters))

    async def _chat(
        self,
        messages: Sequence[ChatMessage],
        parameters: dict[str, Any],
        *,
        threaded: bool,
        again: Callable[[], None],
    ) -> ChatResponse:
        messages = _accepted(messages, self.refused)
        if not threaded and self._native and self._here():
            llm, sent = _addressed(self._checked(awaited=True), parameters, "async_client")
            try:
                return mended_response(await llm.achat(messages, **sent))
            except Exception as error:
                if not self._moves(error):
                    raise
            again()
        llm, sent = _addressed(self._checked(awaited=False), parameters, "client")
        return mended_response(await in_thread(partial(llm.chat, messages, **sent)))

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        parameters: dict[str, Any],
        on_chunk: OnChunk,
        *,
        threaded: bool,
        again: Callable[[], None] = _nothing_more,
    ) -> Streamed:
        """Ask for a streamed answer, as ``chat`` does for a whole one.

        Args:
            on_chunk: see ``read_stream``.
        """
        ends: list[ChatResponse] = []
        messages = _accepted(messages, self.refused)
        if not threaded and self._native_stream and self._here():
            llm, sent = _addressed(self._checked(awaited=True), parameters, "async_client")
            try:
                return await read_stream(await llm.astream_chat(messages, **sent), on_chunk, ends)
            except Exception as error:
                if ends or not self._moves(error):
                    raise
            again()
        llm, sent = _addressed(self._checked(awaited=False), parameters, "client")
        chunks = iterate_in_thread(partial(llm.stream_chat, messages, **sent))
        return await read_stream(chunks, on_chunk, ends)

    def _checked(self, *, awaited: bool) -> LLM:
        """The LLM to ask, whose client checks what comes back; the client is made when it is first needed."""
        if awaited in self._unchecked:
            self._unchecked.discard(awaited)
            self.llm = with_checks(self.llm, awaited=awaited)
        return self.llm

    def _here(self) -> bool:
        """Whether this is the loop that the LLM's async client may be bound to."""
        loop = asyncio.get_running_loop()
        if self._home is None:
            self._home = weakref.ref(loop)
        return self._home() is loop

    def _moves(self, error: Exception) -> bool:
        """Whether an error says that the LLM's async client is of another loop; if so, threads ask it from now on."""
        words = " ".join(str(one) for one in causes(error) if isinstance(one, RuntimeError))
        found = "loop is closed" in words or re.search("different (event )?loop", words) is not None
        if found:
            self._home = _nowhere
        return found


_SYSTEM = (MessageRole.SYSTEM, MessageRole.DEVELOPER)


def _accepted(messages: Sequence[ChatMessage], refused: Collection[str]) -> Sequence[ChatMessage]:
    """The messages as a chat template takes them that refuses system messages, or two of one role in a row.

    A template that wants roles to alternate often counts a system message as a turn, so both are done for it.
    """
    if SYSTEM_ROLE not in refused and REPEATED_ROLES not in refused:
        return messages
    instructions = [text_of(message) for message in messages if message.role in _SYSTEM]
    turns = [message for message in messages if message.role not in _SYSTEM]
    if instructions:
        turns = inject(turns, "\n\n".join(instructions), "user")
        if turns[0].role in _SYSTEM:  # there was no user message to put them into
            turns[0] = ChatMessage(role=MessageRole.USER, blocks=turns[0].blocks)
    return _merged(turns) if REPEATED_ROLES in refused else turns


def _merged(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The messages with neighbours of one role in one; tool calls and their results stay as they are."""
    merged: list[ChatMessage] = []
    for message in messages:
        before = merged[-1] if merged else None
        if before and before.role == message.role and _is_prose(before) and _is_prose(message):
            first, *others = message.blocks
            joined = append_text(before, first.text if isinstance(first, TextBlock) else "")
            joined.blocks.extend(others if isinstance(first, TextBlock) else message.blocks)
            merged[-1] = joined
        else:
            merged.append(message)
    return merged


def _is_prose(message: ChatMessage) -> bool:
    is_turn = message.role in (MessageRole.USER, MessageRole.ASSISTANT)
    calls = any(block.block_type == "tool_call" for block in message.blocks)
    return (
        is_turn
        and bool(message.blocks)
        and not calls
        and "tool_calls" not in message.additional_kwargs
    )


_GOOGLE = {
    "temperature": "temperature",
    "max_tokens": "max_output_tokens",
    "top_p": "top_p",
}
_RESPONSES = {"max_tokens": "max_output_tokens"}
_OLLAMA = {**_GOOGLE, "max_tokens": "num_predict"}


def _addressed(llm: LLM, parameters: dict[str, Any], client: str) -> tuple[LLM, dict[str, Any]]:
    """Whom to ask with which parameters: Google's and Ollama's classes ignore a call's settings by their usual names.

    Args:
        llm: the LLM.
        parameters: by their usual names.
        client: the name of Ollama's client that will be asked.
    """
    if is_openai_responses(llm):
        return llm, {_RESPONSES.get(name, name): value for name, value in parameters.items()}
    google = derives_from(llm, "google_genai")
    if not google and not derives_from(llm, "ollama"):
        return llm, parameters
    names = _GOOGLE if google else _OLLAMA
    settings = {names[name]: value for name, value in parameters.items() if name in names}
    rest = {name: value for name, value in parameters.items() if name not in names}
    if google:
        return llm, {**rest, "generation_config": {**settings, **rest.get("generation_config", {})}}
    getattr(llm, client)  # made when it is first asked for: else each copy would make its own
    own: dict[str, Any] = getattr(llm, "additional_kwargs", {})
    return llm.model_copy(update={"additional_kwargs": {**own, **settings}}), rest


def _nothing(llm: LLM) -> Any:
    """What a call says to send no setting where the LLM's constructor was given one."""
    sdk = next((sdk for sdk in ("openai", "anthropic") if derives_from(llm, sdk)), None)
    return import_module(sdk).NOT_GIVEN if sdk else None


def _is_own(llm: LLM, method: str) -> bool:
    """Whether an async method is the LLM's own, and not CustomLLM's, which calls the sync one.

    It is looked for in the classes: an attribute is wrapped anew each time that it is asked for.
    """
    owner = next((cls for cls in type(llm).__mro__ if method in vars(cls)), None)
    return owner is not CustomLLM


def _nowhere() -> None:
    return None


def _known_refusals(llm: LLM) -> set[str]:
    """LlamaIndex's OpenAI class keeps its own temperature from reasoning models, but not one that a call brings."""
    if not derives_from(llm, "openai"):
        return set()
    from llama_index.llms.openai.utils import O1_MODELS

    return {"temperature"} if getattr(llm, "model", "") in O1_MODELS else set()
