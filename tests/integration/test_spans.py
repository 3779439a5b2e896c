"""Spans: run -> layer -> call -> the LLM's own, for OpenTelemetry and for LlamaIndex's own handlers."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from asking import ask, in_every_way
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span import SimpleSpan, active_span_id
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index_instrumentation import get_dispatcher
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from pydantic import Field
from tracers import REASON, TAKES_THIS_CORE

from llama_index.packs.mixture_of_agents import MixtureOfAgents, RunError, moa
from llama_index.packs.mixture_of_agents._engine.spans import MixtureEvent, anybody_listens
from llama_index.packs.mixture_of_agents.events import CallFinished, CallStarted
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

# openinference uses a method that pydantic deprecates; as an error it would keep it from making the LLMs' spans.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """Everything that arrives in OpenTelemetry."""
    if not TAKES_THIS_CORE:
        pytest.skip(REASON)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LlamaIndexInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    if not instrumentor.is_instrumented_by_opentelemetry:
        pytest.skip("this openinference wants a newer llama-index-core")
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


class Tree:
    """Spans by name, with their parents."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.spans = exporter.get_finished_spans()
        self._by_id = {context(span).span_id: span for span in self.spans}

    def above(self, span: ReadableSpan) -> ReadableSpan | None:
        return self._by_id.get(span.parent.span_id) if span.parent else None

    def path(self, span: ReadableSpan | None) -> list[str]:
        names: list[str] = []
        while span is not None:
            names.insert(0, span.name)
            span = self.above(span)
        return names

    def named(self, name: str) -> list[ReadableSpan]:
        found = [span for span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)


def context(span: ReadableSpan) -> SpanContext:
    assert span.context
    return span.context


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def two_layers(providers: SimulatedProviders) -> MixtureOfAgents:
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    quick = CallPolicy(backoff=0)
    return MixtureOfAgents(moa(proposers, providers.openai("gpt-4.1"), layers=2, call=quick))


@in_every_way
async def test_a_run_of_two_layers_is_a_tree(
    providers: SimulatedProviders, exported: InMemorySpanExporter, way: str
):
    providers.configure("gpt-4.1-mini", script=[failure(503)], cached_tokens=1)
    result = await ask(two_layers(providers), way)
    tree = Tree(exported)
    outer = f"MixtureOfAgents.{way}"
    run = [outer, "MixtureOfAgents.run"]
    layer, proposer = [*run, "MixtureOfAgents.layer"], "MixtureOfAgents.proposer"
    own = {"chat": "chat", "stream_chat": "chat"}.get(way, "achat")
    awaited = f"a{way.removeprefix('a')}"  # over shared connections, for blocking callers too
    paths = Counter(" > ".join(tree.path(span)) for span in tree.spans)
    expected = Counter(
        {
            outer: 1,
            " > ".join(run): 1,
            " > ".join(layer): 2,
            " > ".join([*layer, proposer]): 4,
            " > ".join([*layer, proposer, "OpenAI.achat"]): 3,
            " > ".join([*layer, proposer, f"MistralAI.{own}"]): 2,
            " > ".join([*run, "MixtureOfAgents.aggregator"]): 1,
            " > ".join([*run, "MixtureOfAgents.aggregator", f"OpenAI.{awaited}"]): 1,
        }
    )
    assert paths == expected

    first = attributes(tree.named(proposer)[0])
    call = result.calls[0]
    assert first["agent.name"] == first["mixture.model"] == "gpt-4.1-mini"
    assert first["mixture.layer"] == 1
    assert first["mixture.role"] == "proposer"
    assert first["mixture.provider"] == "openai"
    assert first["mixture.attempts"] == 2
    assert first["mixture.tokens.input"] == call.usage.input_tokens > 0
    assert first["mixture.tokens.output"] == call.usage.output_tokens > 0
    assert first["mixture.tokens.cached"] == 1
    assert first["mixture.cost_usd"] == pytest.approx(float(result.cost_of(call).at_least))
    (retry,) = tree.named(proposer)[0].events
    assert retry.name == "retry"
    assert "server_error 503" in str((retry.attributes or {})["failure"])
    whole = attributes(tree.named("MixtureOfAgents.run")[0])
    assert whole["mixture.run_id"] == result.run_id
    assert whole["mixture.tokens.output"] == result.usage.output_tokens
    assert whole["mixture.cost_usd"] == pytest.approx(float(result.cost.at_least))
    assert whole["mixture.answered_by"] == "gpt-4.1"
    assert all(span.status.is_ok for span in tree.spans if "MixtureOfAgents" in span.name)


async def test_no_tokens_are_counted_twice(
    providers: SimulatedProviders, exported: InMemorySpanExporter
):
    result = await ask(two_layers(providers), "achat")
    summed = sum(
        attributes(s).get("llm.token_count.prompt", 0) for s in exported.get_finished_spans()
    )
    assert summed == result.usage.input_tokens


@in_every_way
async def test_two_runs_at_once_do_not_mix(
    providers: SimulatedProviders, exported: InMemorySpanExporter, way: str
):
    providers.hold("gpt-4.1-mini")
    mixture = two_layers(providers)
    running = [asyncio.ensure_future(ask(mixture, way, f"question {n}")) for n in (1, 2)]
    await providers.await_for("gpt-4.1-mini", held=2)
    providers.release("gpt-4.1-mini")
    results = await asyncio.gather(*running)
    tree = Tree(exported)
    runs = tree.named("MixtureOfAgents.run")
    assert {attributes(run)["mixture.run_id"] for run in runs} == {r.run_id for r in results}
    assert len({context(run).trace_id for run in runs}) == 2
    for run, result in ((run, r) for run in runs for r in results):
        if attributes(run)["mixture.run_id"] == result.run_id:
            assert result.question in attributes(run)["input.value"]
            same = [s for s in tree.spans if context(s).trace_id == context(run).trace_id]
            assert sum(s.name == "MixtureOfAgents.proposer" for s in same) == 4
            asked = [attributes(s).get("llm.input_messages.0.message.content", "") for s in same]
            other = {"question 1": "question 2", "question 2": "question 1"}[result.question]
            assert not any(other in text for text in asked)


async def test_failed_cancelled_and_broken_spans_are_closed_with_their_reason(
    providers: SimulatedProviders, exported: InMemorySpanExporter
):
    providers.configure("gpt-4.1-mini", script=[failure(401)] * 9)
    providers.configure("mistral-small-latest", script=[failure(403)] * 9)
    with pytest.raises(RunError):
        await ask(two_layers(providers), "achat")
    tree = Tree(exported)
    assert [span.status.is_ok for span in tree.spans if "MixtureOfAgents." in span.name] == [
        False
    ] * 5
    (run,) = tree.named("MixtureOfAgents.run")
    assert "layer 1 needed 1 of 2 proposals" in (run.status.description or "")
    exported.clear()

    providers.reset()
    providers.hold("*")
    running = asyncio.ensure_future(ask(two_layers(providers), "achat"))
    await providers.await_for(held=2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    tree = Tree(exported)
    assert len(tree.named("MixtureOfAgents.proposer")) == 2
    (run,) = tree.named("MixtureOfAgents.run")
    assert "the run was cancelled" in (run.status.description or "")
    (handler,) = (h for h in get_dispatcher().span_handlers if type(h).__name__ == "_SpanHandler")
    assert not [name for name in handler.open_spans if "MixtureOfAgents" in name]


class Spans(BaseSpanHandler[SimpleSpan]):
    """A LlamaIndex span handler that keeps what it is told."""

    entered: list[tuple[str, str | None, Any]] = Field(default_factory=list)
    left: list[tuple[str, Any]] = Field(default_factory=list)

    def new_span(self, id_: str, *_: Any, **told: Any) -> SimpleSpan:
        self.entered.append((id_, told["parent_span_id"], told["tags"]))
        return SimpleSpan(id_=id_, parent_id=told["parent_span_id"])

    def prepare_to_exit_span(self, id_: str, *_: Any, **told: Any) -> Any:
        self.left.append((id_, told["result"]))
        return self.open_spans[id_]

    def prepare_to_drop_span(self, id_: str, *_: Any, **told: Any) -> Any:
        self.left.append((id_, told["err"]))
        return self.open_spans[id_]


class Events(BaseEventHandler):
    """A LlamaIndex event handler that keeps what it is told."""

    seen: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        self.seen.append(event)


@pytest.fixture
def handlers() -> Iterator[tuple[Spans, Events]]:
    spans, events = Spans(), Events()
    root = get_dispatcher()
    root.add_span_handler(spans)
    root.add_event_handler(events)
    yield spans, events
    root.span_handlers.remove(spans)
    root.event_handlers.remove(events)


async def test_llama_indexs_own_handlers_see_spans_and_events(handlers: tuple[Spans, Events]):
    spans, events = handlers
    await ask(
        MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("b", model="boss"), layers=1)), "achat"
    )
    parents = {
        id_.partition("-")[0]: (parent or "").partition("-")[0] for id_, parent, _ in spans.entered
    }
    assert parents["MixtureOfAgents.run"] == "MixtureOfAgents.achat"
    assert parents["MixtureOfAgents.layer"] == "MixtureOfAgents.run"
    assert parents["MixtureOfAgents.proposer"] == "MixtureOfAgents.layer"
    assert parents["MixtureOfAgents.aggregator"] == "MixtureOfAgents.run"
    assert parents["ScriptedLLM.achat"] == "MixtureOfAgents.aggregator"
    assert sorted(id_ for id_, _ in spans.left) == sorted(id_ for id_, _, _ in spans.entered)
    tags = {id_.partition("-")[0]: tags for id_, _, tags in spans.entered}
    assert tags["MixtureOfAgents.aggregator"]["agent.name"] == "boss"
    ours = [event.event for event in events.seen if isinstance(event, MixtureEvent)]
    assert [e.agent for e in ours if isinstance(e, CallStarted)] == ["scripted", "boss"]
    assert [e.proposals[0].text for e in ours if isinstance(e, CallFinished)] == ["a", "b"]
    of_call = next(
        e for e in events.seen if isinstance(e, MixtureEvent) and isinstance(e.event, CallStarted)
    )
    assert (of_call.span_id or "").startswith("MixtureOfAgents.proposer-")
    assert active_span_id.get() is None


async def test_openinference_is_not_sent_events_that_it_would_warn_of(
    exported: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
):
    await ask(MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("b"))), "achat")
    assert exported.get_finished_spans()
    # asyncio tells of clients that other tests have left to the garbage collector
    assert not [record for record in caplog.records if record.name != "asyncio"]


async def test_nobody_listens_by_default(handlers: tuple[Spans, Events]):
    assert anybody_listens()
    for added, of_kind in zip(handlers, ("span_handlers", "event_handlers"), strict=True):
        getattr(get_dispatcher(), of_kind).remove(added)
    assert not anybody_listens()
    get_dispatcher().add_span_handler(handlers[0])
    get_dispatcher().add_event_handler(handlers[1])


class OldStyle(BaseCallbackHandler):
    """An old-style callback handler that counts."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[CBEventType] = []
        self.ended: list[CBEventType] = []

    def on_event_start(self, event_type: CBEventType, *_: Any, **__: Any) -> str:
        self.started.append(event_type)
        return ""

    def on_event_end(self, event_type: CBEventType, *_: Any, **__: Any) -> None:
        self.ended.append(event_type)

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: Any = None, trace_map: Any = None) -> None: ...


@in_every_way
async def test_old_style_callbacks_hear_every_llm_call(way: str):
    inner, outer = OldStyle(), OldStyle()
    proposers = [ScriptedLLM("a", callback_manager=CallbackManager([inner]))]
    aggregator = ScriptedLLM("b", callback_manager=CallbackManager([inner]))
    manager = CallbackManager([outer])
    await ask(MixtureOfAgents(moa(proposers, aggregator, layers=2), callback_manager=manager), way)
    assert inner.started == inner.ended == [CBEventType.LLM] * 3
    assert outer.started == outer.ended == [CBEventType.LLM]


class Raising(BaseEventHandler):
    """A user's event handler that raises whatever it is told."""

    @classmethod
    def class_name(cls) -> str:
        return "Raising"

    def handle(self, event: Any, **_: Any) -> None:
        raise RuntimeError(f"cannot handle {event!r}")


@in_every_way
async def test_an_event_handler_that_raises_leaves_no_span_open(
    handlers: tuple[Spans, Events], way: str
) -> None:
    spans, events = handlers
    dispatcher = get_dispatcher()
    dispatcher.event_handlers.insert(0, Raising())
    try:
        mixture = MixtureOfAgents(moa([ScriptedLLM("a")], ScriptedLLM("b"), layers=1))
        for _ in range(3):
            await ask(mixture, way)
    finally:
        dispatcher.event_handlers.pop(0)
    assert sorted(id_ for id_, _ in spans.left) == sorted(id_ for id_, _, _ in spans.entered)
    ours = [event.event for event in events.seen if isinstance(event, MixtureEvent)]
    assert sum(isinstance(event, CallFinished) for event in ours) == 6
