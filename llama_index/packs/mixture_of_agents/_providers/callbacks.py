"""LlamaIndex's callbacks around an LLM's async methods, and the way past them while nobody listens.

For each call they inspect a signature, draw a UUID, write the LLM's settings down and make events, whether anybody listens
or not. docs/performance-notes.md says what that costs.
"""

# LlamaIndex does not list what it imports from its own package of instrumentation.
# pyright: reportPrivateImportUsage=false
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import getclosurevars
from types import FunctionType, MethodType
from typing import Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import NullEventHandler, NullSpanHandler
from llama_index.core.llms.llm import LLM

_SPANS = "llama_index_instrumentation.dispatcher"
_EVENTS = "llama_index.core.llms.callbacks"


def method_to_await(llm: LLM, name: str, *, unheard: bool = False) -> Callable[..., Any]:
    """The method of an LLM, without LlamaIndex's callbacks while nobody listens to them.

    Args:
        llm: the LLM.
        name: the name of an async method.
        unheard: whether to leave the callbacks out though somebody listens.

    Returns:
        The method; as it is, if LlamaIndex's callbacks are not all that is around it.
    """
    found: Any = getattr(llm, name)
    known = _known(found)
    if known and (unheard or not known.is_needed(found.__self__)):
        return MethodType(known.function, found.__self__)
    return found


_DEAF = (NullSpanHandler, NullEventHandler)
"""LlamaIndex's handlers that do nothing."""


def reached_from(dispatcher: Any) -> Iterator[Any]:
    """The dispatchers whose handlers receive a dispatcher's spans and events: itself and those above it."""
    while dispatcher:
        yield dispatcher
        dispatcher = dispatcher.parent if dispatcher.propagate else None


def is_heard(dispatcher: Any) -> bool:
    """Whether any handler receives a dispatcher's spans and events."""
    for reached in reached_from(dispatcher):
        for handler in (*reached.span_handlers, *reached.event_handlers):
            if type(handler) not in _DEAF:  # a handler that derives from one of them may hear
                return True
    return False


@dataclass(frozen=True, slots=True)
class _Decorated:
    """A function with LlamaIndex's callbacks around it, and the dispatchers of its spans and of its events."""

    function: Callable[..., Any]
    spans: Any
    events: Any

    def is_needed(self, llm: LLM) -> bool:
        """Whether the callbacks do anything for an LLM: a handler receives what they make, or they limit its rate."""
        manager: Any = getattr(llm, "callback_manager", None)
        if type(manager) is not CallbackManager or manager.handlers:
            return True
        if getattr(llm, "rate_limiter", None) is not None:
            return True
        return is_heard(self.spans) or is_heard(self.events)


_KNOWN: dict[int, tuple[Any, _Decorated | None]] = {}
"""The methods of classes seen so far, by their ``id``, with what is in them. None is ever freed, so each ``id`` stays its own."""


def _known(found: Any) -> _Decorated | None:
    """What is in a method of an object; None if it is not a class's method that LlamaIndex has wrapped."""
    method = getattr(found, "_self_parent", None)
    if method is None:
        return None
    known = _KNOWN.get(id(method))
    if known is None:
        known = _KNOWN[id(method)] = (method, _decorated(method))
    return known[1]


def _decorated(method: Any) -> _Decorated | None:
    """What is in a class's method; None unless LlamaIndex's callbacks, and nothing else, are around it."""
    span, event = getattr(method, "_self_wrapper", None), getattr(method, "__wrapped__", None)
    if not isinstance(span, FunctionType) or not isinstance(event, FunctionType):
        return None
    names = event.__globals__
    if span.__module__ != _SPANS or names["__name__"] != _EVENTS:
        return None
    function = getclosurevars(event).nonlocals.get("f")
    spans, events = getclosurevars(span).nonlocals.get("self"), names.get("dispatcher")
    if function is None or spans is None or events is None:  # another version of LlamaIndex
        return None
    return _Decorated(function, spans, events)
