"""LlamaIndex's OpenAI class: a mixture by hand, and ours, over the same LLM objects."""

import asyncio
import atexit
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from contestants.by_hand import prompt
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI
from openai import DefaultAioHttpClient, DefaultAsyncHttpxClient

TURN = "An earlier message of the conversation, of about a hundred bytes, as people and models write them."


def make(setup: Any) -> dict[str, Any]:
    """A gather and the mixture, and the mixture's other doors."""
    llms = llms_of(setup)
    *proposers, aggregator = llms
    mixture = mixture_of(setup, llms)
    turns = range(setup.options.get("turns", 0))
    earlier = [ChatMessage(role=("user", "assistant")[n % 2], content=TURN) for n in turns]
    sampling: dict[str, Any] = {"temperature": 0.7, "max_tokens": 2048}

    async def gather(question: str) -> str:
        messages = asked = [*earlier, ChatMessage(role="user", content=question)]
        for _ in range(setup.layers):
            answers = await asyncio.gather(*(llm.achat(messages, **sampling) for llm in proposers))
            text = prompt([answer.message.content or "" for answer in answers])
            messages = [ChatMessage(role="system", content=text), *asked]
        return (await aggregator.achat(messages, **sampling)).message.content or ""

    async def arun(question: str) -> str:
        asked = [*earlier, ChatMessage(role="user", content=question)]
        return (await mixture.achat(asked)).message.content or ""

    def run(question: str) -> str:
        return mixture.chat([ChatMessage(role="user", content=question)]).message.content or ""

    async def first_token(question: str) -> float | None:
        begun = time.perf_counter()
        first = None
        async for chunk in await mixture.astream_chat([ChatMessage(role="user", content=question)]):
            if chunk.delta and first is None:
                first = time.perf_counter() - begun
        return first

    async def read(llm: Any, question: str) -> str:
        chunks = await llm.astream_chat([ChatMessage(role="user", content=question)])
        return "".join([chunk.delta or "" async for chunk in chunks])

    return {
        "stream of the aggregator": partial(read, aggregator),
        "stream": partial(read, mixture),
        "gather": gather,
        "mixture": arun,
        "unseen": _unseen(arun),
        "sync": run,
        "first_token": first_token,
    }


def _unseen(ask: Callable[[str], Awaitable[str]]) -> Callable[[str], Awaitable[str]]:
    """The library without what it sees of its runs: their tokens, who listens, what a replay finds them by."""
    from llama_index.packs.mixture_of_agents import llm
    from llama_index.packs.mixture_of_agents._engine import attempts
    from llama_index.packs.mixture_of_agents._engine import job as jobs
    from llama_index.packs.mixture_of_agents.events import Usage

    usage = Usage(1, 1)
    cut = (
        (attempts, "read_usage", lambda *_: usage),
        (llm, "anybody_listens", lambda: False),
        (jobs, "conversation_digest", lambda *_: ""),
    )
    before = [getattr(module, name) for module, name, _ in cut]

    async def blind(question: str) -> str:
        for module, name, nothing in cut:
            setattr(module, name, nothing)
        try:
            return await ask(question)
        finally:
            for (module, name, _), one in zip(cut, before, strict=True):
                setattr(module, name, one)

    return blind


def mixture_of(setup: Any, llms: list[OpenAI]) -> Any:
    """The mixture with the features that are to be on; the last LLM is its aggregator."""
    from llama_index.packs.mixture_of_agents import MixtureOfAgents
    from llama_index.packs.mixture_of_agents.cache import cached
    from llama_index.packs.mixture_of_agents.replay import trace_to

    *proposers, aggregator = llms
    mixture = MixtureOfAgents(
        llm=aggregator, proposers=proposers, num_layers=setup.layers, **_policies(setup.options)
    )
    if setup.options.get("listener"):
        mixture.listen(lambda _run, _event: None)
    if setup.options.get("trace file"):
        mixture.listen(trace_to(_new_file("runs.jsonl")))
    if setup.options.get("cache"):
        mixture = cached(mixture, _new_file("answers.sqlite3"))
    if setup.options.get("handlers"):
        _listen()
    return mixture


def _policies(options: dict[str, Any]) -> dict[str, Any]:
    """What is written as JSON, as the objects that a recipe takes."""
    from llama_index.packs.mixture_of_agents.recipe import Budget, CallPolicy, Limits

    kinds = {"call": CallPolicy, "limits": Limits, "budget": Budget}
    made = {name: kinds[name](**value) for name, value in options.items() if name in kinds}
    plain = {name: value for name, value in options.items() if name in ("quorum", "grace")}
    return {**plain, **made}


def _new_file(name: str) -> Path:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Path(folder, name)


def _listen() -> None:
    """Handlers that keep nothing, as the lightest of tracers."""
    from llama_index.core.instrumentation.event_handlers import BaseEventHandler
    from llama_index.core.instrumentation.span import BaseSpan
    from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
    from llama_index_instrumentation import get_dispatcher

    class Events(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            pass

    class Spans(BaseSpanHandler[BaseSpan]):
        def new_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan:
            return BaseSpan(id_=id_)

        def prepare_to_exit_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan | None:
            return self.open_spans[id_]

        def prepare_to_drop_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan | None:
            return self.open_spans[id_]

    get_dispatcher().add_event_handler(Events())
    get_dispatcher().add_span_handler(Spans())


def llms_of(setup: Any) -> list[OpenAI]:
    """The LLM objects: with clients of their own, with one shared client of a kind, or as our helper makes them."""
    names, where = (
        (*setup.proposers, setup.aggregator),
        {"api_key": setup.key, "api_base": f"{setup.base}/v1"},
    )
    if setup.client == "ours":
        from llama_index.packs.mixture_of_agents.clients import share_clients

        # Without retries, as the mixture asks them: LLMs that retry by themselves go the SDK's longer way.
        return share_clients(*(OpenAI(name, **where, max_retries=0) for name in names))
    client = None
    if setup.client == "httpx":
        client = DefaultAsyncHttpxClient()
    elif setup.client == "aiohttp":
        client = DefaultAioHttpClient()
    return [OpenAI(name, **where, async_http_client=client) for name in names]
