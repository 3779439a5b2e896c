"""The one place where an LLM is awaited: natively or in a thread, whole or streamed.

There are two ways, because LlamaIndex's OpenAI and MistralAI classes keep one async client, which is bound to the first
event loop that used it. On any other loop it breaks ("Event loop is closed") or stalls. So an LLM is awaited natively on
the first loop that this object saw. Everywhere else its sync methods run in a thread. If the client belongs to another
loop nevertheless, an error shows it, and a thread makes the request again. An LLM over shared connections works on every
loop and is always awaited: threads double the CPU of a call.
"""

import asyncio
import re
import weakref
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from importlib import import_module
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread, iterate_in_thread
from llama_index.packs.mixture_of_agents._messages.prompts import inject, merged_turns, text_of

from .callbacks import method_to_await
from .characters import mended_response
from .detour import DETOUR, chat_by_detour
from .facts import (
    context_window,
    derives_from,
    endpoint_key,
    gives_finish_reasons,
    gives_samples,
    is_openai,
    is_openai_responses,
    known_refusals,
    method_owner,
    provider_name,
    secrets,
)
from .faults import REPEATED_ROLES, SYSTEM_ROLE, causes
from .function_calling import FormingLLM
from .sdk_clients import with_checks, without_retries, works_on_every_loop
from .streams import OnChunk, Streamed, read_stream


def has_clients(llm: LLM) -> bool:
    """Whether an LLM's class keeps clients of its provider's SDK. Making them takes time."""
    return hasattr(llm, "_get_aclient") or hasattr(llm, "_client")


def _nothing_more() -> None:
    pass


class Transport:
    """Sends requests to one LLM object.

    Args:
        llm: the LLM.
        alone: whether to use the LLM unchanged. Otherwise the engine retries and limits, not the copy that is used.
        shared: whether to give the copy the process's shared HTTP clients, if its class can use them.

    Attributes:
        llm: the LLM that receives the requests. It is the caller's own object if nothing had to change.
        key: its endpoint (provider, model, address).
        secrets: its keys, which must not appear in error texts.
        limiter: its rate limiter (``llama_index.core.rate_limiter``), or None.
        refused: optional parameters that the model has refused. They are not sent again.
        has_given_samples: whether one request has returned several answers.
    """

    def __init__(self, llm: LLM, *, alone: bool = False, shared: bool = False) -> None:
        self.original = llm
        self.llm = llm if alone else without_retries(llm)
        self._unchecked = set[bool]() if alone else {False, True}
        if shared and (is_openai(llm) or derives_from(llm, "anthropic")):
            from .connections import with_shared_clients  # it imports httpx, as these classes do

            self.llm = with_shared_clients(self.llm)
        self.key = endpoint_key(llm)
        self.secrets = secrets(llm)
        self._learned = {"window": context_window(llm)}
        self.limiter: Any = getattr(llm, "rate_limiter", None)
        self.refused: set[str] = known_refusals(llm)
        self.has_given_samples = False
        self._openai = is_openai(llm)
        self._overrides: dict[str, Any] = {}
        self._native = _is_own(llm, "achat")
        self._native_stream = _is_own(llm, "astream_chat")
        self._works_on_every_loop = works_on_every_loop(self.llm)
        self._home: Callable[[], asyncio.AbstractEventLoop | None] | None = None
        self._limited: Transport | None = None
        self._most: int | None = None

    def prepare(self) -> None:
        """Make the LLM's async client and import what it needs. In a new process this takes up to seconds.

        Errors are ignored here: the call that needs the client reports them.
        """
        with suppress(Exception):
            if getattr(self.llm, "reuse_client", True):  # otherwise each call makes its own
                make: Any = getattr(self.llm, "_get_aclient", None)
                client: Any = make() if make else getattr(self.llm, "_client", None)
                getattr(getattr(client, "chat", None), "completions", None)

    @property
    def window(self) -> int | None:
        """The model's context window in tokens; None if it is unknown."""
        return self._learned["window"]

    def learn_window(self, tokens: int) -> None:
        """Remember the context window that the model's server names. The class may know a larger one."""
        self._learned["window"] = min(tokens, self.window or tokens)

    @property
    def offers_samples(self) -> bool:
        """Whether one request can ask for several answers (``n=``)."""
        return self._openai and "n" not in self.refused

    @property
    def gives_samples(self) -> bool | None:
        """Whether one request returns several answers; None until that is known."""
        if not self.offers_samples:
            return False
        return True if self.has_given_samples else gives_samples(self.original)

    def parameters(self, wanted: dict[str, Any], *, stream: bool) -> dict[str, Any]:
        """Decide which parameters to send.

        Args:
            wanted: the parameters of the call.
            stream: whether the answer is streamed. Some servers then report usage only on request.

        Returns:
            The parameters, without those that are None or were refused.
        """
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
        """The transport for a caller that sets a token limit. The smaller of this limit and the LLM's own applies.

        LlamaIndex's OpenAI class prefers its own limit. Its class for the Responses API prefers the one that is sent.

        Args:
            limit: the caller's limit. Anything but a positive integer means no limit.

        Returns:
            This transport, or a copy of it.
        """
        name = "max_output_tokens" if is_openai_responses(self.llm) else "max_tokens"
        own = getattr(self.llm, name, None)
        if not own or not isinstance(limit, int) or limit <= 0:
            return self
        if not (limit < own if self._openai else limit > own and name == "max_output_tokens"):
            return self
        if self._limited is None:
            self._limited = copy(self)
            self._limited._take_limit_from(own)  # noqa: SLF001  # another object of this class
        return self._limited

    def _take_limit_from(self, own: int) -> None:
        self._unchecked = set(self._unchecked)
        if self._openai:
            self.llm = self.llm.model_copy(update={"max_tokens": None})
        else:
            self._most = own

    def sent_by_itself(self) -> tuple[str, ...]:
        """What a model may refuse without a parameter of the call: the LLM's own settings, and the messages' roles."""
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
        """Remember parameters that the model refused, and stop sending them.

        Args:
            names: the parameters. Those of the LLM's constructor are overridden or removed.
        """
        self.refused.update(names)
        own = [name for name in names if getattr(self.llm, name, None) is not None]
        if provider_name(self.llm) == "mistralai":
            from mistralai.client.types import UNSET

            self._overrides |= dict.fromkeys(own, UNSET)
        elif "temperature" in own:  # the call's value takes precedence over the constructor's
            self._overrides["temperature"] = _nothing(self.llm)
        # The constructor's value takes precedence over the call's.
        if self._openai and "max_tokens" in own:
            self.llm = self.llm.model_copy(update={"max_tokens": None})

    async def pace(self, tokens: int, *, threaded: bool) -> None:
        """Wait until the rate limiter admits a request.

        Core's own decorators report only the request to the limiter, never its tokens.

        Args:
            tokens: the number of tokens of the request.
            threaded: whether to wait in a thread.
        """
        most = getattr(self.limiter, "tokens_per_minute", None)
        if most:  # the limiter's bucket never holds more: the request would wait forever
            tokens = min(tokens, int(most))
        if threaded or not self._here():
            await in_thread(partial(self.limiter.acquire, tokens))
        else:
            await self.limiter.async_acquire(tokens)

    def chat(
        self,
        messages: Sequence[ChatMessage],
        parameters: dict[str, Any],
        *,
        threaded: bool,
        again: Callable[[], None] = _nothing_more,
    ) -> Coroutine[Any, Any, ChatResponse]:
        """Request a whole answer. Raises whatever the LLM raises.

        Args:
            messages: the conversation.
            parameters: keyword arguments of the request.
            threaded: whether to call the sync method in a thread, unless the LLM works on every loop.
            again: called before a second request: the async client belonged to another loop, so a thread tries again.
        """
        ask = partial(self._chat, messages, parameters, threaded=threaded, again=again)
        detour = None if isinstance(self.llm, FormingLLM) else DETOUR.get()
        if detour is None:
            return ask()
        sent = _accepted(messages, self.refused)
        return chat_by_detour(detour, self.llm, sent, parameters, ask)

    async def _chat(
        self,
        messages: Sequence[ChatMessage],
        parameters: dict[str, Any],
        *,
        threaded: bool,
        again: Callable[[], None],
    ) -> ChatResponse:
        messages = _accepted(messages, self.refused)
        if self._native and self._may_await(threaded=threaded):
            llm, sent = self._ready(parameters, awaited=True)
            try:
                return mended_response(await method_to_await(llm, "achat")(messages, **sent))
            except Exception as error:
                if not self._moves(error):
                    raise
            again()
        llm, sent = self._ready(parameters, awaited=False)
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
        """Request a streamed answer, as ``chat`` does for a whole one.

        Args:
            messages: the conversation.
            parameters: keyword arguments of the request.
            on_chunk: see ``read_stream``.
            threaded: as for ``chat``.
            again: as for ``chat``.
        """
        ends: list[ChatResponse] = []
        read = partial(
            read_stream, on_chunk=on_chunk, ends=ends, gives_reason=gives_finish_reasons(self.llm)
        )
        messages = _accepted(messages, self.refused)
        if self._native_stream and self._may_await(threaded=threaded):
            llm, sent = self._ready(parameters, awaited=True)
            try:
                return await read(await method_to_await(llm, "astream_chat")(messages, **sent))
            except Exception as error:
                if ends or not self._moves(error):
                    raise
            again()
        llm, sent = self._ready(parameters, awaited=False)
        return await read(iterate_in_thread(partial(llm.stream_chat, messages, **sent)))

    def _ready(self, parameters: dict[str, Any], *, awaited: bool) -> tuple[LLM, dict[str, Any]]:
        """The LLM to call, with a client that checks the responses, and its parameters as its class names them."""
        if awaited in self._unchecked:  # the client is made when it is first needed
            self._unchecked.discard(awaited)
            self.llm = with_checks(self.llm, awaited=awaited)
        if self._openai:
            return self.llm, parameters
        return _addressed(self.llm, parameters, "async_client" if awaited else "client")

    def _may_await(self, *, threaded: bool) -> bool:
        return self._works_on_every_loop or (not threaded and self._here())

    def _here(self) -> bool:
        """Whether this is the loop that the LLM's async client may be bound to."""
        loop = asyncio.get_running_loop()
        self._home = self._home or weakref.ref(loop)
        return self._home() is loop

    def _moves(self, error: Exception) -> bool:
        """Whether an error shows that the async client belongs to another loop. If so, threads are used from now on."""
        words = " ".join(str(one) for one in causes(error) if isinstance(one, RuntimeError))
        found = "loop is closed" in words or re.search("different (event )?loop", words) is not None
        if found:
            self._home = _nowhere
        return found


_SYSTEM = (MessageRole.SYSTEM, MessageRole.DEVELOPER)


def _accepted(messages: Sequence[ChatMessage], refused: Collection[str]) -> Sequence[ChatMessage]:
    """Adapt messages to a chat template that refuses system messages, or repeated roles.

    A template that wants alternating roles often counts a system message as a turn, so it gets neither.
    """
    if SYSTEM_ROLE not in refused and REPEATED_ROLES not in refused:
        return messages
    instructions = [text_of(message) for message in messages if message.role in _SYSTEM]
    turns = [message for message in messages if message.role not in _SYSTEM]
    if instructions:
        turns = inject(turns, "\n\n".join(instructions), "user")
        if turns[0].role in _SYSTEM:  # there was no user message to append them to
            turns[0] = ChatMessage(role=MessageRole.USER, blocks=turns[0].blocks)
    return merged_turns(turns) if REPEATED_ROLES in refused else turns


_GOOGLE = {"temperature": "temperature", "max_tokens": "max_output_tokens", "top_p": "top_p"}
_RESPONSES = {"max_tokens": "max_output_tokens"}
_OLLAMA = {**_GOOGLE, "max_tokens": "num_predict"}


def _addressed(llm: LLM, parameters: dict[str, Any], client: str) -> tuple[LLM, dict[str, Any]]:
    """Rename parameters for LLM classes that ignore the usual names: Google's, Ollama's, OpenAI's for Responses.

    Args:
        llm: the LLM.
        parameters: the parameters by their usual names.
        client: the attribute of Ollama's client that will be used.

    Returns:
        The LLM to call, and its parameters.
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
    getattr(llm, client)  # this makes the client; otherwise each copy would make its own
    own: dict[str, Any] = getattr(llm, "additional_kwargs", {})
    return llm.model_copy(update={"additional_kwargs": {**own, **settings}}), rest


def _nothing(llm: LLM) -> Any:
    """The value with which a call removes a setting of the LLM's constructor."""
    sdk = next((sdk for sdk in ("openai", "anthropic") if derives_from(llm, sdk)), None)
    return import_module(sdk).NOT_GIVEN if sdk else None


def _is_own(llm: LLM, method: str) -> bool:
    """Whether an LLM has its own async method. That of CustomLLM does not count: it calls the sync one."""
    return method_owner(llm, method) is not CustomLLM


def _nowhere() -> None:
    return None
