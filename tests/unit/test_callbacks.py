"""An LLM is asked past LlamaIndex's callbacks while nobody listens, and through them as soon as somebody does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import wrapt
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ChatResponseAsyncGen
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.instrumentation.span_handlers import NullSpanHandler, SimpleSpanHandler
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents._providers.callbacks import method_to_await
from llama_index.packs.mixture_of_agents._providers.function_calling import ChatLLM
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

ASKED = [ChatMessage(role="user", content="Why?")]
METHODS = ("achat", "astream_chat")
KNOWN = {
    "ADDITIONAL_KWARGS", "AsyncGenerator", "BaseException", "CBEventType", "ChatResponseAsyncGen", "EXCEPTION",
    "EventPayload", "LLM", "LLMChatEndEvent", "LLMChatStartEvent", "MESSAGES", "RESPONSE", "SERIALIZED",
    "active_span_id", "as_trace", "async_acquire", "dispatcher", "event", "get", "isinstance", "on_event_end",
    "on_event_start", "pop", "rate_limiter", "to_dict", "to_payload",
}  # fmt: skip
"""What LlamaIndex's callbacks use: events, spans, traces, a payload without its key, and the rate limiter."""


class Events(BaseEventHandler):
    """Keeps the names of the events that it receives."""

    names: list[str]

    def handle(self, event: Any, **_: Any) -> None:
        self.names.append(type(event).__name__)


class Manager(CallbackManager):
    """A callback manager of a user's own."""


class Callbacks(BaseCallbackHandler):
    """An old-style callback handler."""

    def __init__(self) -> None:
        super().__init__([], [])

    def on_event_start(self, *_: Any, **__: Any) -> str:
        return ""

    def on_event_end(self, *_: Any, **__: Any) -> None: ...

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: Any = None, trace_map: Any = None) -> None: ...


class Heir(NullSpanHandler):
    """A handler that derives from LlamaIndex's deaf one, and hears."""

    def span_enter(self, *_: Any, **__: Any) -> None: ...


class Limiter:
    """A rate limiter that lets everything through."""

    async def async_acquire(self, tokens: int = 0) -> None: ...

    def acquire(self, tokens: int = 0) -> None: ...


def goes_past(llm: Any, name: str) -> bool:
    return method_to_await(llm, name).__func__ is not getattr(llm, name).__func__


@pytest.fixture
def added() -> Iterator[Callable[..., None]]:
    """Adds a handler to a dispatcher, until the test ends."""
    lists: list[tuple[list[Any], Any]] = []

    def add(dispatcher: str, kind: str, handler: Any) -> None:
        handlers = getattr(get_dispatcher(dispatcher), kind)
        handlers.append(handler)
        lists.append((handlers, handler))

    yield add
    for handlers, handler in lists:
        handlers.remove(handler)


@pytest.mark.parametrize("name", METHODS)
def test_an_llm_is_asked_past_the_callbacks_while_nobody_listens(name):
    llm = ScriptedLLM("because")
    assert goes_past(llm, name)
    assert method_to_await(llm, name) == method_to_await(llm, name, unheard=True)


@pytest.mark.parametrize(
    "dispatcher",
    ["root", "llama_index.core.llms.callbacks", ChatLLM.__module__],
)
@pytest.mark.parametrize(
    ("kind", "handler"),
    [
        ("event_handlers", Events(names=[])),
        ("span_handlers", SimpleSpanHandler()),
        ("span_handlers", Heir()),
    ],
)
@pytest.mark.parametrize("name", METHODS)
def test_an_llm_is_asked_through_them_while_a_dispatcher_has_a_handler(
    added, name, kind, handler, dispatcher
):
    llm = ScriptedLLM("because")
    assert goes_past(llm, name)
    added(dispatcher, kind, handler)
    assert not goes_past(llm, name)


@pytest.mark.parametrize(
    "settings",
    [
        {"callback_manager": CallbackManager([Callbacks()])},
        {"callback_manager": Manager()},
        {"rate_limiter": Limiter()},
    ],
    ids=["a callback handler", "a callback manager of another class", "a rate limiter"],
)
def test_an_llm_is_asked_through_them_if_they_do_something_for_it(settings):
    llm = ScriptedLLM("because")
    for name, value in settings.items():
        object.__setattr__(llm, name, value)
    assert not goes_past(llm, "achat")


class Spanned(ScriptedLLM):
    """Keeps the span in which each of its requests was made."""

    spans: list[str | None] = Field(default_factory=list)

    def __init__(self) -> None:
        super().__init__("b")

    async def _achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self.spans.append(active_span_id.get())
        return await super()._achat(messages, **kwargs)

    async def _astream_chat(self, messages: Any, **kwargs: Any) -> ChatResponseAsyncGen:
        self.spans.append(active_span_id.get())
        return await super()._astream_chat(messages, **kwargs)


async def whole(mixture: MixtureOfAgents) -> None:
    await mixture.achat(ASKED)


async def streamed(mixture: MixtureOfAgents) -> None:
    assert [chunk async for chunk in await mixture.astream_chat(ASKED)]


@pytest.mark.parametrize(("ask", "name"), [(whole, "achat"), (streamed, "astream_chat")])
async def test_an_llms_span_is_made_for_those_who_listen(added, ask, name):
    llm = Spanned()
    mixture = MixtureOfAgents(llm=llm, proposers=[ScriptedLLM("a")], num_layers=1)
    await ask(mixture)
    added("root", "span_handlers", SimpleSpanHandler())
    await ask(mixture)
    before, after = llm.spans
    assert "Spanned" not in str(before)
    assert f"Spanned.{name}" in str(after)


async def test_a_handler_that_comes_between_two_runs_hears_every_call_of_the_second(added):
    mixture = MixtureOfAgents(
        llm=ScriptedLLM("c"), proposers=[ScriptedLLM("a"), ScriptedLLM("b")], num_layers=1
    )
    events = Events(names=[])
    await mixture.achat(ASKED)
    added("root", "event_handlers", events)
    await mixture.achat(ASKED)
    for kind in (LLMChatStartEvent, LLMChatEndEvent):
        assert events.names.count(kind.__name__) == 3 + 1  # the mixture is an LLM too


async def test_what_an_object_itself_has_in_place_of_its_method_is_called():
    async def other(messages: Any, **_: Any) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role="assistant", content="another"))

    llm = ScriptedLLM("c")
    object.__setattr__(llm, "achat", other)
    mixture = MixtureOfAgents(llm=llm, proposers=[ScriptedLLM("a")], num_layers=1)
    assert (await mixture.achat(ASKED)).message.content == "another"


async def test_an_llm_without_a_callback_manager_is_asked():
    llm = ScriptedLLM("c")
    del vars(llm)["callback_manager"]
    mixture = MixtureOfAgents(llm=llm, proposers=[ScriptedLLM("a")], num_layers=1)
    assert (await mixture.achat(ASKED)).message.content == "c"


@pytest.mark.parametrize("name", METHODS)
def test_llama_indexs_callbacks_do_nothing_but_what_is_known_here(name):
    """Whatever another version adds to them would be left out too."""
    names = set(vars(ChatLLM)[name].__wrapped__.__code__.co_names)
    assert names - KNOWN == set()


async def test_what_others_have_put_around_a_method_is_called(monkeypatch):
    calls: list[str] = []

    @wrapt.decorator
    async def counted(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        calls.append(type(instance).__name__)
        return await wrapped(*args, **kwargs)

    mixture = MixtureOfAgents(llm=ScriptedLLM("c"), proposers=[ScriptedLLM("a")], num_layers=1)
    await mixture.achat(ASKED)
    monkeypatch.setattr(ScriptedLLM, "achat", counted(vars(ChatLLM)["achat"]))
    await mixture.achat(ASKED)
    assert calls == ["ScriptedLLM"] * 2


class Loud(ScriptedLLM):
    """An LLM class that overrides the method, without callbacks of its own."""

    def __init__(self) -> None:
        super().__init__("c")

    async def achat(self, messages: Any, **kwargs: Any) -> Any:
        await super().achat(messages, **kwargs)
        return ChatResponse(message=ChatMessage(role="assistant", content="C"))


async def test_a_method_that_a_class_overrides_is_called():
    mixture = MixtureOfAgents(llm=Loud(), proposers=[ScriptedLLM("a")], num_layers=1)
    assert (await mixture.achat(ASKED)).message.content == "C"
