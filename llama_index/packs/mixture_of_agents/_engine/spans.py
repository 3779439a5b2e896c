"""Runs as spans and events of LlamaIndex's instrumentation: run -> layer -> call -> the LLM's own span.

With openinference-instrumentation-llama-index (extra ``otel``) the spans arrive in OpenTelemetry, with the attributes
named here. Tokens and money are under names of our own: tracers add up ``llm.token_count.*``, which the LLMs' own
spans carry already.
"""

import contextlib
import inspect
import sys
import uuid
from typing import Any

# LlamaIndex declares its dictionaries and lists bare.
# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span import active_span_id

from llama_index.packs.mixture_of_agents._providers.callbacks import is_heard, reached_from
from llama_index.packs.mixture_of_agents.errors import MixtureError
from llama_index.packs.mixture_of_agents.events import (
    AnswerDelta,
    CallFinished,
    CallRetried,
    CallStarted,
    Degraded,
    Event,
    LayerFinished,
    LayerStarted,
    RunFinished,
    RunStarted,
    Usage,
)
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of_call

_dispatcher = get_dispatcher(__name__)
_OTHERS_WARN = "openinference."
"""Its event handler logs a warning for every event that it does not know."""


class MixtureEvent(BaseEvent):
    """One of our events, for LlamaIndex's event handlers: everything that happens in a run but the answer's pieces."""

    event: Any

    @classmethod
    def class_name(cls) -> str:
        return "MixtureEvent"


def anybody_listens() -> bool:
    """Whether a handler has been added to a dispatcher that our spans and events reach."""
    return is_heard(_dispatcher)


class SpanTracer:
    """A listener that makes a span of each run, layer and call.

    It must receive each event where it happens: a call's start and end in the call's own task. Then the LLM's own span,
    in that task or in a thread that it starts, becomes a child of the call's span.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Trace] = {}

    def __call__(self, run: RunStarted, event: Event) -> None:
        trace = _Trace(run) if event is run else self._runs.get(run.run_id)
        if trace is None:
            return
        if event is run:
            self._runs[run.run_id] = trace
        elif isinstance(event, RunFinished):
            del self._runs[run.run_id]
        trace.hear(event)
        _dispatch(event)


def _dispatch(event: Event) -> None:
    if isinstance(event, AnswerDelta):
        return
    message = MixtureEvent(event=event)
    for dispatcher in reached_from(_dispatcher):
        for handler in dispatcher.event_handlers:
            if not type(handler).__module__.startswith(_OTHERS_WARN):
                # as LlamaIndex's own dispatcher does: whatever a user's handler raises concerns nobody else
                with contextlib.suppress(Exception):
                    handler.handle(message)


class _Trace:
    """The spans of one run."""

    def __init__(self, run: RunStarted) -> None:
        self.run = run
        self.outside = active_span_id.get()
        self.span = _Span(
            "MixtureOfAgents.run",
            self.outside,
            {"question": run.question},
            {"mixture.run_id": run.run_id},
        )
        self.layer: _Span | None = None
        self.calls: dict[int, _Span] = {}
        self.usage, self.cost = Usage(), Cost()
        self.degraded: list[str] = []

    def hear(self, event: Event) -> None:
        if isinstance(event, LayerStarted):
            inputs = {"layer": event.layer, "agents": list(event.agents)}
            self.layer = _Span(
                "MixtureOfAgents.layer", self.span.id, inputs, {"mixture.layer": event.layer}
            )
        elif isinstance(event, LayerFinished) and self.layer:
            self.layer.exit(
                [p.text for p in event.references], {"mixture.layer_closed": event.reason}
            )
            self.layer = None
            active_span_id.set(self.span.id)
        elif isinstance(event, CallStarted):
            self.calls[event.call] = _Span(
                f"MixtureOfAgents.{event.role}", self._above(event), *_described(event)
            )
        elif isinstance(event, CallRetried):
            self.calls[event.call].note(
                "retry", {"attempt": event.attempt, "failure": str(event.failure)}
            )
        elif isinstance(event, CallFinished):
            self._end_of_call(event)
        elif isinstance(event, Degraded):
            self.degraded.append(event.reason)
        elif isinstance(event, RunFinished):
            self._end(event)

    def _above(self, call: CallStarted | CallFinished) -> str:
        return self.layer.id if self.layer and call.role != "aggregator" else self.span.id

    def _end_of_call(self, call: CallFinished) -> None:
        cost = cost_of_call(call, self.run)
        self.usage, self.cost = self.usage + call.usage, self.cost + cost
        known = {
            **_spent(call.usage, cost),
            "mixture.attempts": call.attempts,
            "mixture.cached": call.cached,
            "mixture.hedged": call.hedged,
        }
        texts = [proposal.text for proposal in call.proposals]
        self.calls.pop(call.call).exit(texts, known, str(call.failure) if call.failure else "")
        active_span_id.set(self._above(call))

    def _end(self, end: RunFinished) -> None:
        if self.layer:
            self.layer.exit(None, {}, end.error)
        known = {
            **_spent(self.usage, self.cost),
            "mixture.answered_by": end.agent,
            "mixture.degraded": self.degraded,
        }
        self.span.exit(str(end.message.content or "") if end.message else None, known, end.error)
        active_span_id.set(self.outside)


def _described(call: CallStarted) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call's span: its input, and its attributes."""
    inputs = {"agent": call.agent, "role": call.role, "layer": call.layer, "model": call.model}
    return inputs, {
        "agent.name": call.agent,
        "mixture.role": call.role,
        "mixture.layer": call.layer,
        "mixture.model": call.model,
        "mixture.provider": call.provider,
    }


def _spent(usage: Usage, cost: Cost) -> dict[str, Any]:
    known: dict[str, Any] = {
        "mixture.requests": usage.requests,
        "mixture.tokens.input": usage.input_tokens,
        "mixture.tokens.output": usage.output_tokens,
        "mixture.tokens.reasoning": usage.reasoning_tokens,
        "mixture.tokens.cached": usage.cached_tokens,
        "mixture.tokens.estimated": usage.estimated,
    }
    if cost.usd is not None:
        known["mixture.cost_usd"] = float(cost.usd)
    return known


def _inputs(**_: Any) -> None: ...


_SIGNATURE = inspect.signature(_inputs)


class _Span:
    """A span that is open for every span handler, and current in this task.

    Args:
        name: the first part of its id, as LlamaIndex's own spans have it.
        parent: the id of the span above it.
        inputs: what it shows as its input.
        attributes: for OpenTelemetry; other handlers get them as tags.
    """

    def __init__(
        self, name: str, parent: str | None, inputs: dict[str, Any], attributes: dict[str, Any]
    ) -> None:
        self.id = f"{name}-{uuid.uuid4()}"
        self._inputs = _SIGNATURE.bind(**inputs)
        _dispatcher.span_enter(
            id_=self.id, bound_args=self._inputs, parent_id=parent, tags=attributes
        )
        active_span_id.set(self.id)
        self._otel = _otel_span()
        self._set(attributes)

    def note(self, name: str, attributes: dict[str, Any]) -> None:
        if self._otel is not None:
            self._otel.add_event(name, attributes)

    def exit(self, result: Any, attributes: dict[str, Any], error: str = "") -> None:
        self._set(attributes)
        if error:
            failed = MixtureError(error)
            _dispatcher.span_drop(id_=self.id, bound_args=self._inputs, err=failed)
        else:
            _dispatcher.span_exit(id_=self.id, bound_args=self._inputs, result=result)

    def _set(self, attributes: dict[str, Any]) -> None:
        if self._otel is not None:
            self._otel.set_attributes(attributes)


def _otel_span() -> Any:
    """The OpenTelemetry span of the current LlamaIndex span, or None. Nothing is imported for it."""
    openinference = sys.modules.get("openinference.instrumentation.llama_index")
    return openinference.get_current_span() if openinference else None
