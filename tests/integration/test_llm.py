"""The mixture as a LlamaIndex LLM: its methods, what they emit, its metadata, copies and pickles."""

import asyncio
import copy
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from asking import QUESTION
from llama_index.core import MockEmbedding, Settings
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    TextBlock,
    ThinkingBlock,
)
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.extractors import TitleExtractor
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.instrumentation import (
    get_dispatcher,  # pyright: ignore[reportPrivateImportUsage]
)
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.schema import TextNode
from llama_index.llms.openai import OpenAI
from pydantic import Field, PrivateAttr
from workflows.context.serializers import JsonSerializer

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    MixtureResult,
    Proposer,
    QuorumNotMet,
    Recipe,
    RecipeError,
)
from llama_index.packs.mixture_of_agents.errors import ConfigError
from llama_index.packs.mixture_of_agents.llm import RESULT_KEY
from llama_index.packs.mixture_of_agents.selection import Cluster, Diverse
from llama_index.packs.mixture_of_agents.simulation import Reply, SimulatedProviders
from llama_index.packs.mixture_of_agents.simulation.conversation import text_of
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM


def mixture(
    providers: SimulatedProviders, aggregator: str = "gpt-4.1", **policies: Any
) -> MixtureOfAgents:
    """One layer of an OpenAI and a Mistral proposer under an aggregator of either."""
    llm = (providers.openai if aggregator.startswith("gpt") else providers.mistral)(aggregator)
    proposers = [providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")]
    return MixtureOfAgents(llm=llm, proposers=proposers, num_layers=1, **policies)


def scripted(*replies: Any, **policies: Any) -> MixtureOfAgents:
    return MixtureOfAgents(
        llm=ScriptedLLM(*replies), proposers=[ScriptedLLM("a proposal")], **policies
    )


class OwnLLM(ScriptedLLM):
    """An LLM class of the user's own, with a key, and with a model that has no metadata."""

    api_key: str | None = None
    is_known: bool = True

    def __init__(self, *replies: Any, **kwargs: Any) -> None:
        super().__init__(*replies, **kwargs)

    @property
    def metadata(self) -> LLMMetadata:
        if not self.is_known:
            raise ValueError("unknown model")
        return super().metadata


Answer = ChatResponse | CompletionResponse


async def in_every_way(llm: LLM, text: str) -> dict[str, list[Answer]]:
    """What each of the eight methods gives: one response, or the chunks of a stream."""
    messages = [ChatMessage(text)]
    thread = asyncio.to_thread
    return {
        "chat": [await thread(llm.chat, messages)],
        "achat": [await llm.achat(messages)],
        "complete": [await thread(llm.complete, text)],
        "acomplete": [await llm.acomplete(text)],
        "stream_chat": list(await thread(lambda: list(llm.stream_chat(messages)))),
        "astream_chat": [chunk async for chunk in await llm.astream_chat(messages)],
        "stream_complete": list(await thread(lambda: list(llm.stream_complete(text)))),
        "astream_complete": [chunk async for chunk in await llm.astream_complete(text)],
    }


def said(answer: Answer) -> str:
    return (answer.message.content if isinstance(answer, ChatResponse) else answer.text) or ""


@pytest.mark.parametrize("aggregator", ["gpt-4.1", "mistral-large-latest"])
async def test_all_eight_methods_answer_and_streams_accumulate_right(
    providers: SimulatedProviders, aggregator: str
) -> None:
    text = "The answer, in a few words."
    providers.configure(aggregator, reply=text)
    for method, answers in (await in_every_way(mixture(providers, aggregator), "?")).items():
        assert said(answers[-1]) == text, method
        result = answers[-1].additional_kwargs[RESULT_KEY]
        assert isinstance(result, MixtureResult)
        assert (result.answer, len(result.calls)) == (text, 3)
        if "stream" in method:
            deltas = [answer.delta or "" for answer in answers]
            assert "".join(deltas) == text
            assert sum(1 for delta in deltas if delta) == len(text.split())
            assert [said(a) for a in answers] == [
                "".join(deltas[: i + 1]) for i in range(len(answers))
            ]


async def test_a_result_is_where_no_tracer_counts_tokens(providers: SimulatedProviders) -> None:
    for answers in (await in_every_way(mixture(providers), "?")).values():
        for answer in answers:
            assert answer.raw is None
            assert set(answer.additional_kwargs) <= {RESULT_KEY}
            assert ChatMessage("x").additional_kwargs == {}
    assert "".join(c.delta or "" for c in mixture(providers).stream_chat(QUESTION))


async def test_tokens_are_passed_on_one_by_one_as_they_come(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", reply="one two three four")
    providers.hold("gpt-4.1", after=3)  # the first chunk has no text
    stream = await mixture(providers).astream_chat(QUESTION)
    seen = [(await anext(stream)).delta for _ in range(3)]
    await providers.await_for("gpt-4.1", held=1)
    assert "".join(delta or "" for delta in seen) == "one two"
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert not following.done()
    providers.release("gpt-4.1")
    rest = [await following, *[chunk async for chunk in stream]]
    assert "".join(chunk.delta or "" for chunk in rest) == " three four"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_first_token_leaves_within_20_ms_of_the_aggregators_first(
    providers: SimulatedProviders, way: str
) -> None:
    llm = mixture(providers)

    async def first_token() -> float:
        async for chunk in await llm.astream_chat(QUESTION):
            if chunk.delta:
                return time.monotonic()
        raise AssertionError

    def first_token_sync() -> float:
        return next(time.monotonic() for chunk in llm.stream_chat(QUESTION) if chunk.delta)

    def late() -> float:
        left = asyncio.run(first_token()) if way == "async" else first_token_sync()
        return left - (providers.log("gpt-4.1")[-1].first_byte or 0)

    # a busy machine is slow at times: one of many shows what it takes
    assert any(late() < 0.020 for _ in range(50))


# --- ways to be called -------------------------------------------------------------------------------------------


class Spans(SimpleSpanHandler):
    """Every span that was opened: its id, and its parent's."""

    parents: dict[str, str | None] = Field(default_factory=dict)

    def new_span(
        self,
        id_: str,
        bound_args: Any,
        instance: Any = None,
        parent_span_id: str | None = None,
        tags: Any = None,
        **kwargs: Any,
    ) -> Any:
        self.parents[id_] = parent_span_id
        return super().new_span(id_, bound_args, instance, parent_span_id, tags, **kwargs)

    def runs(self) -> list[str]:
        """The spans of the mixture that were opened outside of any other."""
        return [span for span, parent in self.parents.items() if parent is None]

    def calls_in(self, run: str) -> list[str]:
        """The calls of LLMs somewhere below a span: "OpenAI.chat"."""
        names = [span.split("-")[0] for span in self.parents if self.root_of(span) == run]
        return sorted(name for name in names if not name.startswith("MixtureOfAgents."))

    def root_of(self, span: str) -> str:
        parent = self.parents.get(span)
        return self.root_of(parent) if parent else span


class Events(BaseEventHandler):
    """The names of the events, with the spans that they belong to."""

    seen: list[tuple[str, str | None]] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: Any, **_: Any) -> None:
        self.seen.append((type(event).__name__, event.span_id))


@pytest.fixture
def tracer() -> Iterator[tuple[Spans, Events]]:
    spans, events = Spans(), Events()
    root = get_dispatcher()
    before = list(root.span_handlers), list(root.event_handlers)
    root.add_span_handler(spans)
    root.add_event_handler(events)
    yield spans, events
    root.span_handlers, root.event_handlers = before


class Asking:
    """Asks a mixture of echoes in every way there is, and keeps what it answers."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.answers: dict[str, str] = {}

    def ask(self, name: str) -> None:
        self.answers[name] = said(self.llm.chat([ChatMessage(name)]))
        stream = self.llm.stream_chat([ChatMessage(f"{name} streamed")])
        self.answers[f"{name} streamed"] = "".join(chunk.delta or "" for chunk in stream)

    async def aask(self, name: str) -> None:
        self.answers[name] = said(await self.llm.achat([ChatMessage(name)]))
        stream = await self.llm.astream_chat([ChatMessage(f"{name} streamed")])
        self.answers[f"{name} streamed"] = "".join([chunk.delta or "" async for chunk in stream])

    async def sync_in_a_loop(self, name: str) -> None:
        self.ask(name)

    async def as_tasks(self, name: str) -> None:
        await asyncio.gather(*(self.aask(f"{name} {number}") for number in range(4)))

    def in_threads(self, work: Callable[[str], None], name: str) -> None:
        threads = [threading.Thread(target=work, args=(f"{name} {n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_one_mixture_answers_in_scripts_threads_and_loops_twice_each_and_mixes_nothing_up(
    providers: SimulatedProviders, tracer: tuple[Spans, Events]
) -> None:
    providers.configure("*", echo=True)
    asking = Asking(mixture(providers))
    for turn in ("once", "twice"):
        asking.ask(f"{turn} in a script")
        asyncio.run(asking.aask(f"{turn} in a loop"))
        asyncio.run(asking.sync_in_a_loop(f"{turn} sync in a loop"))
        asyncio.run(asking.as_tasks(f"{turn} in task"))
        asking.in_threads(asking.ask, f"{turn} in thread")
        asking.in_threads(lambda name: asyncio.run(asking.aask(name)), f"{turn} in a thread's loop")
    assert len(asking.answers) == 2 * 2 * (3 + 4 + 4 + 4)
    assert all(name == answer for name, answer in asking.answers.items())
    spans, _ = tracer
    runs = spans.runs()
    assert len(runs) == len(asking.answers)
    for run in runs:
        last = run.split(".")[1].split("-")[0]
        awaited = {"OpenAI.achat", f"OpenAI.a{last.removeprefix('a')}"}  # on every loop
        # on a loop that is not its first Mistral's class is asked in a thread, by its sync method
        of_mistral = {"MistralAI.chat", *(["MistralAI.achat"] if last.startswith("a") else [])}
        calls = spans.calls_in(run)
        assert len(calls) == 3
        assert set(calls) <= awaited | of_mistral


async def test_every_call_opens_one_span_and_is_told_once(tracer: tuple[Spans, Events]) -> None:
    llm = scripted("one two")
    await in_every_way(llm, "?")
    spans, events = tracer
    for run in spans.runs():
        kind = "Completion" if "complete" in run else "Chat"
        told = [name for name, span in events.seen if span == run]
        assert told.count(f"LLM{kind}StartEvent") == told.count(f"LLM{kind}EndEvent") == 1
        assert told.count(f"LLM{kind}InProgressEvent") == (3 if "stream" in run else 0)
        assert len(spans.calls_in(run)) == 3  # two layers of one proposer, and the aggregator
    assert len(spans.runs()) == 8


class Told(BaseCallbackHandler):
    """What a callback handler is told of LLM calls."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.started: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []

    def on_event_start(self, event_type: CBEventType, payload: Any = None, **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.started += [payload] if event_type == CBEventType.LLM else []
        return ""

    def on_event_end(self, event_type: CBEventType, payload: Any = None, **_: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.ended += [payload] if event_type == CBEventType.LLM else []

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        pass


async def test_callback_handlers_hear_of_each_call_once_and_of_no_key(
    providers: SimulatedProviders,
) -> None:
    told = Told()
    llm = mixture(providers, callback_manager=CallbackManager([told]))
    await in_every_way(llm, "?")
    assert len(told.started) == len(told.ended) == 8
    assert "simulated-key" not in str([*told.started, *told.ended])


async def test_a_failed_run_is_told_to_callback_handlers_as_such() -> None:
    told = Told()
    llm = MixtureOfAgents(
        llm=ScriptedLLM(),
        proposers=[ScriptedLLM(ValueError("down"))],
        callback_manager=CallbackManager([told]),
    )
    with pytest.raises(QuorumNotMet):
        await llm.achat(QUESTION)
    with pytest.raises(QuorumNotMet):
        list(llm.stream_chat(QUESTION))
    assert [type(payload["exception"]) for payload in told.ended] == [QuorumNotMet, QuorumNotMet]


class Counting(TokenBucketRateLimiter):
    """A rate limiter that counts how often it was asked."""

    _asked: int = PrivateAttr(default=0)

    def acquire(self, num_tokens: int = 0) -> None:
        self._asked += 1
        super().acquire(num_tokens)

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self._asked += 1
        await super().async_acquire(num_tokens)


async def test_a_rate_limiter_of_the_mixture_counts_questions_and_one_of_a_member_its_calls() -> (
    None
):
    of_mixture, of_member = (Counting(requests_per_minute=600) for _ in range(2))
    member = ScriptedLLM("x", rate_limiter=of_member)
    llm = MixtureOfAgents(llm=ScriptedLLM(), proposers=[member], rate_limiter=of_mixture)
    await llm.achat(QUESTION)
    await asyncio.to_thread(llm.chat, QUESTION)
    assert (of_mixture._asked, of_member._asked) == (2, 4)


# --- chat done right ---------------------------------------------------------------------------------------------


def test_the_users_system_prompt_comes_first_and_every_turn_is_kept(
    providers: SimulatedProviders,
) -> None:
    conversation = [
        ChatMessage("Be brief.", role="system"),
        ChatMessage("Hi"),
        ChatMessage("Hello!", role="assistant"),
        ChatMessage("What is a generator?"),
    ]
    llm = mixture(providers, "mistral-large-latest")
    llm.chat(conversation)
    for record in providers.log():
        sent = record.body["messages"]
        assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
        assert text_of(sent[0]).startswith("Be brief.")
        assert [text_of(message) for message in sent[1:]] == [m.content for m in conversation[1:]]
        assert ("Responses from models:" in text_of(sent[0])) == (
            record.model == "mistral-large-latest"
        )


def test_each_proposer_has_its_own_system_prompt_behind_the_users() -> None:
    pirate, plain, aggregator = ScriptedLLM("arr"), ScriptedLLM("yes"), ScriptedLLM("done")
    proposers = [Proposer(pirate, system_prompt="Be a pirate.", name="pirate"), plain]
    llm = MixtureOfAgents(llm=aggregator, proposers=proposers, num_layers=1)
    llm.chat([ChatMessage("Be brief.", role="system"), *QUESTION])
    assert pirate.asked[0].messages[0].content == "Be brief.\n\nBe a pirate."
    assert plain.asked[0].messages[0].content == "Be brief."
    assert "pirate" not in (aggregator.asked[0].messages[0].content or "")


@pytest.mark.parametrize("aggregator", ["gpt-4.1", "magistral-medium-latest"])
def test_a_conversation_goes_on_from_the_mixtures_own_answers(
    providers: SimulatedProviders, aggregator: str
) -> None:
    reply = Reply("It is a function.", thinking="hm")
    providers.configure(aggregator, reply=reply)
    llm = mixture(providers, aggregator)
    first = list(llm.stream_chat(QUESTION))[-1]
    llm.chat([*QUESTION, first.message, ChatMessage("Why?")])
    llm.chat([*QUESTION, llm.chat(QUESTION).message, ChatMessage("Why?")])
    long = [
        record.body["messages"] for record in providers.log() if len(record.body["messages"]) > 2
    ]
    assert len(long) == 2 * 3
    for sent in long:
        assert [message["role"] for message in sent][-3:] == ["user", "assistant", "user"]
        assert "hm" not in str(sent[-2])


def test_images_reach_the_aggregator_and_the_proposers_that_can_see(
    providers: SimulatedProviders,
) -> None:
    sees = [providers.openai("gpt-4o"), providers.mistral("mistral-small-latest")]
    blind = [providers.openai("gpt-3.5-turbo"), providers.mistral("open-mistral-nemo")]
    told_blind = Proposer(providers.openai("gpt-4o-mini"), takes=())
    told_sees = Proposer(providers.openai("gpt-4-0613"), takes=["image"])
    proposers = [*sees, *blind, told_blind, told_sees]
    llm = MixtureOfAgents(llm=providers.openai("gpt-4.1"), proposers=proposers, num_layers=1)
    picture = ImageBlock(url="https://example.org/cat.png")
    llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), picture])])
    received = {
        record.model: str(record.body["messages"][-1]["content"]) for record in providers.log()
    }
    for model in ("gpt-4o", "mistral-small-latest", "gpt-4-0613", "gpt-4.1"):
        assert "example.org/cat.png" in received[model]
    for model in ("gpt-3.5-turbo", "open-mistral-nemo", "gpt-4o-mini"):
        assert "[an image that is not shown to you]" in received[model]
        assert "example.org" not in received[model]


def test_the_callers_messages_are_not_changed(providers: SimulatedProviders) -> None:
    thought = ChatMessage(
        role="assistant", blocks=[ThinkingBlock(content="hm"), TextBlock(text="Hello!")]
    )
    conversation = [ChatMessage("Be brief.", role="system"), ChatMessage("Hi"), thought, *QUESTION]
    before = copy.deepcopy(conversation)
    mixture(providers).chat(conversation)
    assert conversation == before


# --- metadata, copies, pickles -----------------------------------------------------------------------------------


def test_the_context_window_is_the_smallest_less_the_room_for_references() -> None:
    small = ScriptedLLM(context_window=8_000, num_output=300)
    large = ScriptedLLM(context_window=100_000, num_output=-1)
    llm = MixtureOfAgents(llm=large, proposers=[small, Proposer(large, samples=2)], max_tokens=None)
    prompt = len(llm.recipe.prompt) // 3
    assert llm.metadata.context_window == 8_000 - (300 + 2 * 256) - prompt
    assert llm.metadata.num_output == 256
    tight = MixtureOfAgents(llm=large, proposers=[small] * 6, max_tokens=2_048)
    assert tight.metadata.context_window == 4_000
    assert tight.metadata.num_output == 2_048
    assert llm.metadata.is_chat_model


def test_a_model_without_metadata_has_an_unknown_window_and_does_not_count() -> None:
    unknown = OwnLLM("x", is_known=False)
    known = ScriptedLLM(context_window=20_000)
    llm = MixtureOfAgents(llm=known, proposers=[unknown], max_tokens=1_000, num_layers=1)
    assert llm.metadata.context_window == 20_000 - 1_000 - len(llm.recipe.prompt) // 3
    alone = MixtureOfAgents(llm=unknown, proposers=[unknown], max_tokens=100)
    assert alone.metadata.context_window > 0
    assert not alone.metadata.is_function_calling_model


def test_its_abilities_are_the_aggregators_and_its_name_the_recipes() -> None:
    with_tools, without = ScriptedLLM(), ScriptedLLM(tools=False)
    assert MixtureOfAgents(llm=with_tools, proposers=[without]).metadata.is_function_calling_model
    llm = MixtureOfAgents(llm=without, proposers=[with_tools], name="physicists")
    assert not llm.metadata.is_function_calling_model
    assert llm.metadata.model_name == llm.model == "physicists"
    alone = MixtureOfAgents(Recipe((Layer((Proposer(with_tools),)),), None))
    assert not alone.metadata.is_function_calling_model
    assert alone.chat(QUESTION).message.content == "scripted answer"
    assert "".join(c.delta or "" for c in alone.stream_chat(QUESTION)) == "scripted answer"


def test_nonsense_is_refused_when_the_mixture_is_made() -> None:
    recipe = scripted().recipe
    with pytest.raises(RecipeError, match="not both"):
        MixtureOfAgents(recipe, llm=ScriptedLLM())
    with pytest.raises(RecipeError, match="not both"):
        MixtureOfAgents(recipe, quorum=1)
    with pytest.raises(RecipeError, match="give a recipe"):
        MixtureOfAgents(llm=ScriptedLLM())


SECRETS = ("openai-secret", "mistral-secret", "header-secret")


@pytest.fixture
def keyed(providers: SimulatedProviders) -> MixtureOfAgents:
    """A mixture whose members hold keys that no text and no pickle may hold."""
    openai = providers.openai("gpt-4.1", api_key=SECRETS[0], temperature=0.3)
    mistral = providers.mistral("mistral-small-latest", api_key=SECRETS[1])
    headed = providers.openai("gpt-4o", default_headers={"Authorization": f"Bearer {SECRETS[2]}"})
    headers = {"extra_headers": {"Authorization": SECRETS[2]}, "seed": 7}
    proposers = [Proposer(mistral, system_prompt="Be terse."), Proposer(headed, kwargs=headers)]
    return MixtureOfAgents(llm=openai, proposers=proposers, num_layers=1, system_prompt="Be kind.")


def test_no_key_is_in_a_repr_a_dump_or_a_pickle(keyed: MixtureOfAgents) -> None:
    recipe = keyed.recipe
    texts = [repr(keyed), str(keyed), repr(recipe), repr(recipe.layers), repr(recipe.aggregator)]
    texts += [
        str(keyed.model_dump()),
        keyed.to_json(),
        keyed.model_dump_json(),
    ]
    texts += [str(pickle.dumps(keyed)), str(pickle.dumps(recipe))]
    assert not [text for text in texts if any(secret in text for secret in SECRETS)]


def test_a_pickle_makes_the_mixture_again_with_the_environments_keys(
    keyed: MixtureOfAgents, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed.recipe.layers[0].proposers[0].llm.metadata  # noqa: B018  # used before it is pickled
    data = pickle.dumps(keyed)
    for name, value in providers.environment.items():
        monkeypatch.setenv(name, value)
    again = pickle.loads(data)
    assert isinstance(again, MixtureOfAgents)
    assert again.system_prompt == "Be kind."
    mistral, headed = again.recipe.layers[0].proposers
    assert mistral.system_prompt == "Be terse."
    assert headed.kwargs == {"seed": 7}
    aggregator = again.recipe.aggregator
    assert isinstance(aggregator, Aggregator)
    assert getattr(aggregator.llm, "temperature", None) == 0.3
    assert again.chat(QUESTION).message.content
    assert {record.body.get("seed") for record in providers.log("gpt-4o")} == {7}
    assert {record.provider for record in providers.log()} == {"openai", "mistral"}


def test_a_mixture_written_to_json_comes_back_with_the_environments_keys(
    keyed: MixtureOfAgents, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, data = keyed.to_json(), JsonSerializer().serialize({"mixture": keyed})
    assert not [secret for secret in SECRETS if secret in text + data]
    for name, value in providers.environment.items():
        monkeypatch.setenv(name, value)
    for again in (
        MixtureOfAgents.from_json(text),
        MixtureOfAgents.from_dict(json.loads(text)),
        JsonSerializer().deserialize(data)["mixture"],
    ):
        assert isinstance(again, MixtureOfAgents)
        assert again.system_prompt == "Be kind."
        mistral, headed = again.recipe.layers[0].proposers
        assert mistral.system_prompt == "Be terse."
        assert headed.kwargs["seed"] == 7
        assert again.to_dict()["recipe"]["aggregator"]["settings"]["temperature"] == 0.3


def test_a_dump_says_what_is_asked() -> None:
    def dump(own: bool = False, **changes: Any) -> dict[str, Any]:
        make: Any = ScriptedLLM if own else OpenAI
        key = {} if own else {"api_key": "x"}
        llms = [make(model=name, **key) for name in ("gpt-4.1", "gpt-4o")]
        return MixtureOfAgents(llm=llms[0], proposers=llms[1:], **changes).to_dict()

    for own in (False, True):
        dumps = [dump(own), dump(own, num_layers=1), dump(own, deadline=9.0), dump(own, fence=True)]
        assert dump(own) == dumps[0] == json.loads(json.dumps(dumps[0]))
        assert len({json.dumps(one) for one in dumps}) == 4
    with pytest.raises(ConfigError, match="ScriptedLLM"):
        MixtureOfAgents.from_dict(dump(own=True))


def test_an_ingestion_cache_keeps_mixtures_apart() -> None:
    def key(layers: int) -> str:
        llm = MixtureOfAgents(llm=MockLLM(), proposers=[MockLLM()], num_layers=layers)
        return get_transformation_hash([TextNode(text="a")], TitleExtractor(llm=llm))

    assert key(1) == key(1) != key(2)


def test_an_llm_of_ones_own_class_is_pickled_by_its_class_without_its_key() -> None:
    llm = MixtureOfAgents(llm=MockLLM(), proposers=[OwnLLM("x", api_key=SECRETS[0])])
    data = pickle.dumps(llm)
    assert SECRETS[0].encode() not in data
    again = pickle.loads(data).recipe.layers[0].proposers[0].llm
    assert isinstance(again, OwnLLM)
    assert again.api_key is None
    assert getattr(llm.recipe.layers[0].proposers[0].llm, "api_key", None) == SECRETS[0]


class OwnEmbedding(MockEmbedding):
    """An embedding model of the user's own, with a key."""

    api_key: str | None = None

    def __init__(self, embed_dim: int = 8, **kwargs: Any) -> None:
        super().__init__(embed_dim=embed_dim, **kwargs)


@pytest.mark.parametrize(
    "selection", [Diverse(1, OwnEmbedding()), Cluster(embedding=OwnEmbedding())]
)
def test_a_selection_is_pickled_without_the_key_of_its_embedding_model(selection: Any) -> None:
    selection.embedding.api_key = SECRETS[0]
    recipe = replace(
        scripted().recipe, layers=(Layer((Proposer(MockLLM()),), select=(selection,)),)
    )
    recipe = replace(recipe, aggregator=Aggregator(MockLLM()))
    data = pickle.dumps(recipe)
    assert SECRETS[0].encode() not in data
    again = pickle.loads(data).layers[0].select[0]
    assert (type(again), again.embedding.embed_dim) == (type(selection), 8)
    assert again.embedding.api_key is None
    assert copy.deepcopy(recipe).layers[0].select[0] is selection


INTEGRATION = """
import threading
from typing import Any
from llama_index.core import MockEmbedding
from pydantic import PrivateAttr

class OwnIntegration(MockEmbedding):
    api_key: str | None = None
    _client: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, embed_dim: int = 8, **kwargs: Any) -> None:
        super().__init__(embed_dim=embed_dim, **kwargs)
"""


def test_an_embedding_model_of_an_integration_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "llama_index" / "embeddings" / "own"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(INTEGRATION)
    monkeypatch.syspath_prepend(tmp_path)
    embeddings = import_module("llama_index.embeddings.own")
    embedding = embeddings.OwnIntegration(embed_dim=9, api_key=SECRETS[0])
    data = pickle.dumps(Diverse(2, embedding))
    assert SECRETS[0].encode() not in data
    again = pickle.loads(data)
    assert (again.k, again.embedding.embed_dim, again.embedding.api_key) == (2, 9, None)


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": lambda llm: llm.model_copy(),
    "model_copy(deep)": lambda llm: llm.model_copy(deep=True),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_answers_like_the_original_and_has_settings_of_its_own(
    keyed: MixtureOfAgents, how: str
) -> None:
    keyed.chat(QUESTION)
    other = COPIES[how](keyed)
    other.system_prompt = "Be rude."
    assert keyed.system_prompt == "Be kind."
    assert other.recipe is keyed.recipe
    assert other.chat(QUESTION).message.content == keyed.chat(QUESTION).message.content


def test_a_recipe_is_copied_with_the_same_llms(keyed: MixtureOfAgents) -> None:
    other = copy.deepcopy(keyed.recipe)
    assert other == keyed.recipe
    assert other.aggregator is copy.copy(keyed.recipe.aggregator) is keyed.recipe.aggregator


def test_errors_and_results_can_be_pickled() -> None:
    wrong = RecipeError("Layer.quorum", 3, "too many")
    again = pickle.loads(pickle.dumps(wrong))
    assert (str(again), again.field, again.value) == (str(wrong), "Layer.quorum", 3)
    llm = MixtureOfAgents(llm=ScriptedLLM(), proposers=[ScriptedLLM(ValueError("down"))])
    with pytest.raises(QuorumNotMet) as caught:
        llm.chat(QUESTION)
    other = pickle.loads(pickle.dumps(caught.value))
    assert str(other) == str(caught.value)
    assert other.failures == caught.value.failures
    assert other.result == caught.value.result
    response = scripted("fine").chat(QUESTION)
    assert pickle.loads(pickle.dumps(response)) == response


# --- mixtures in mixtures, and in Settings -----------------------------------------------------------------------


def shapes(result: MixtureResult) -> Sequence[str]:
    return [call.agent for call in result.calls]


async def test_a_mixture_is_a_proposer_and_an_aggregator_of_another(
    providers: SimulatedProviders,
) -> None:
    inner = mixture(providers, name="inner")
    outer = MixtureOfAgents(llm=inner, proposers=[inner, providers.openai("gpt-4o")], num_layers=1)
    for answers in (await in_every_way(outer, "What is a generator?")).values():
        result = answers[-1].additional_kwargs[RESULT_KEY]
        assert said(answers[-1]) == result.answer != ""
        assert sorted(shapes(result)) == ["gpt-4o", "inner", "inner"]
    assert providers.counts("gpt-4o").arrived == 8
    assert providers.counts("mistral-small-latest").arrived == 2 * 8
    assert "".join(c.delta or "" for c in outer.stream_chat(QUESTION))


def test_a_mixture_in_settings_gets_their_callback_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    llm = scripted("hello")
    monkeypatch.setattr(Settings, "_llm", None)
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([told]))
    Settings.llm = llm
    assert Settings.llm.complete("?").text == "hello"
    assert len(told.ended) == 1
