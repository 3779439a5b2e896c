"""A cache of answers in one of LlamaIndex's key-value stores, by a hash of what was asked. Off unless asked for."""

import asyncio
import json
import logging
import os
import threading
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore
from pydantic import TypeAdapter

from llama_index.packs.mixture_of_agents._concurrency.shared_file import open_shared
from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._engine.calls import Caller, Outcome, parameters_of
from llama_index.packs.mixture_of_agents._engine.playback import answer_again
from llama_index.packs.mixture_of_agents._engine.request import Request, RunState
from llama_index.packs.mixture_of_agents._messages.digests import digest
from llama_index.packs.mixture_of_agents._providers.descriptions import NO_SETTINGS
from llama_index.packs.mixture_of_agents._providers.redaction import SECRET
from llama_index.packs.mixture_of_agents._providers.responses import answer_message

from .events import CallFinished, CallStarted, Proposal, Usage
from .llm import MixtureOfAgents, as_mixture
from .pricing import Cost, Prices, cost_of
from .recipe import Agent, Recipe

_VERSION = 1
_COLLECTION = "mixture_of_agents"
_log = logging.getLogger(__name__)


def cached(mixture: Any, store: BaseKVStore | str | Path) -> MixtureOfAgents:
    """The same mixture with a cache: a call that was made before is answered from a store.

    A call is the same if its model and that model's settings, its address, messages, tools and sampling are the same.
    Equal calls within one run (two samples, say) keep answers of their own. Failures are not kept. A call answered from
    the store is marked ``cached`` in the result and costs nothing.

    Args:
        mixture: a ``MixtureOfAgents``, a pack or a recipe.
        store: any key-value store of LlamaIndex's, or the path of an SQLite file.

    Returns:
        A copy of the mixture that asks the store first.

    Raises:
        sqlite3.Error: the path is no SQLite file, or cannot be opened.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents import moa
        from llama_index.packs.mixture_of_agents.cache import cached

        llm = cached(moa([OpenAI("gpt-4.1-mini")], OpenAI("gpt-4.1")), "answers.sqlite3")
        ```
    """
    llm = as_mixture(mixture)
    behind = store if isinstance(store, BaseKVStore) else SqliteKVStore(store)
    return llm.with_caller(CachingCaller(llm.recipe, behind))


@dataclass(frozen=True)
class _Entry:
    """An answer in the store, with its message if it may call tools."""

    proposals: tuple[Proposal, ...]
    message: ChatMessage | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    provider: str = ""


_ENTRY = TypeAdapter(_Entry)


class CachingCaller(Caller):
    """Answers calls from a store. It makes the calls that the store lacks, and keeps their answers.

    Args:
        recipe: the recipe.
        store: the store.
    """

    def __init__(self, recipe: Recipe, store: BaseKVStore) -> None:
        super().__init__(recipe)
        self._store: Any = store  # LlamaIndex declares its dictionaries bare

    def left_alone(self, agent: Agent) -> None:
        """Return None: whether a call can be made is known only after the store was asked.

        Args:
            agent: the agent of the call.
        """

    async def make(self, request: Request, run: RunState, number: int) -> Outcome:
        """Answer from the store; make the call if the store lacks it.

        Args:
            request: the call to make.
            run: the state of its run.
            number: the call's number in the run.

        Returns:
            The event of the call's end, and the LLM's response if there is one.
        """
        key = self._key(request, run)
        entry = await self._get(key, run)
        if entry is not None:
            return await self._hit(request, run, number, entry)
        finished, response = await super().make(request, run, number)
        if finished.failure is None and finished.proposals and response is not None:
            message = _message(request, finished, response)
            entry = _Entry(
                finished.proposals, message, finished.usage, finished.elapsed, finished.provider
            )
            await self._put(key, run, entry)
        return finished, response

    def _key(self, request: Request, run: RunState) -> str:
        transport = self.transport(request.agent)
        policy = request.agent.call or self._recipe.call
        content = digest(
            _VERSION,
            transport.key,
            _settings(request.agent.llm),
            list(request.messages),
            parameters_of(request, self._recipe),
            [request.role, policy.truncated],
        )
        asked: Counter[str] = run.notes.setdefault("cache", Counter())
        asked[content] += 1
        return f"{content}-{asked[content]}"

    async def _hit(
        self, request: Request, run: RunState, number: int, entry: _Entry
    ) -> tuple[CallFinished, ChatResponse]:
        begun, agent = run.now(), request.agent
        provider, model, _ = self.transport(agent).key
        run.emit(
            CallStarted(number, request.layer, agent.name, request.role, model, provider, begun)
        )
        proposals = tuple(_renamed(entry.proposals, agent.name))
        response = await answer_again(request, proposals, entry.message)
        finished = CallFinished(
            number, request.layer, agent.name, request.role, model, provider, begun, run.now(), proposals,
            attempts=0, first_token=begun if request.on_chunk else None, cached=True,
            spared=entry.usage, spared_seconds=entry.seconds,
        )  # fmt: skip
        run.emit(finished)
        return finished, response

    async def _get(self, key: str, run: RunState) -> _Entry | None:
        try:
            get = partial(self._store.get, key, _COLLECTION)
            found = await (
                in_thread(get) if run.job.threaded else self._store.aget(key, _COLLECTION)
            )
            return None if found is None else _ENTRY.validate_python(found)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call can still be made
            _log.warning("the cache could not be read: %r", error)
            return None

    async def _put(self, key: str, run: RunState, entry: _Entry) -> None:
        value: dict[str, Any] = {"proposals": [asdict(p) for p in entry.proposals]}
        value |= {"usage": asdict(entry.usage), "seconds": entry.seconds}
        value |= {"provider": entry.provider}
        if entry.message:
            value["message"] = entry.message.model_dump(mode="json", exclude={"additional_kwargs"})
        try:
            put = partial(self._store.put, key, value, _COLLECTION)
            await (
                in_thread(put) if run.job.threaded else self._store.aput(key, value, _COLLECTION)
            )
        except Exception as error:  # noqa: BLE001 - the answer is there all the same
            _log.warning("the cache could not be written to: %r", error)


def cost_of_entries(store: "SqliteKVStore", prices: Prices) -> Cost:
    """Return what the calls in a store cost when they were made.

    Args:
        store: the store of ``cached``.
        prices: US dollars per million tokens in and out, by model.
    """
    entries = map(_ENTRY.validate_python, store.get_all(_COLLECTION).values())
    costs = (cost_of(one.provider, one.proposals[0].model, one.usage, prices) for one in entries)
    return sum(costs, Cost())


def _message(
    request: Request, finished: CallFinished, response: ChatResponse
) -> ChatMessage | None:
    """The aggregator's answer, which may call tools. Other agents pass on text alone."""
    if request.role != "aggregator":
        return None
    return answer_message(response, finished.proposals, streamed=request.on_chunk is not None)


def _renamed(proposals: tuple[Proposal, ...], name: str) -> list[Proposal]:
    """The proposals under this agent's name; an agent of another name may have made them."""
    several = len(proposals) > 1
    names = [f"{name}#{number}" if several else name for number in range(1, len(proposals) + 1)]
    return [
        Proposal(name, p.model, p.text, p.thinking, p.finish_reason)
        for name, p in zip(names, proposals, strict=True)
    ]


def _settings(value: Any) -> Any:
    """The settings of an LLM, or of a whole recipe, that shape its answers."""
    if isinstance(value, LLM):
        recipe = getattr(value, "recipe", None)
        named = (
            name
            for name in type(value).model_fields
            if name not in NO_SETTINGS and not SECRET.search(name)
        )
        known = {name: _settings(getattr(value, name)) for name in named}
        return [type(value).__qualname__, known, _settings(recipe) if recipe else None]
    if is_dataclass(value) and not isinstance(value, type):
        return [
            type(value).__qualname__,
            *(_settings(getattr(value, one.name)) for one in fields(value)),
        ]
    if isinstance(value, Mapping):
        return {str(name): _settings(one) for name, one in value.items()}  # type: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_settings(one) for one in value]  # type: ignore[reportUnknownVariableType]
    return value


_TABLE = "CREATE TABLE IF NOT EXISTS entries (collection TEXT, key TEXT, value TEXT, PRIMARY KEY (collection, key))"
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"


class SqliteKVStore(BaseKVStore):
    """A key-value store in an SQLite file, as JSON. A write-ahead log lets readers work beside a writer.

    Args:
        path: the file; it is created if there is none.
        timeout: seconds to wait for another process that is writing.

    Raises:
        sqlite3.Error: the file is no SQLite file, or cannot be opened.
    """

    def __init__(self, path: str | Path, timeout: float = 10.0) -> None:
        self.path, self._timeout = Path(path), timeout
        self._process = 0
        self._connect()

    def _connect(self) -> None:
        """Open the file, once in each process: a connection must not be carried over a fork."""
        if self._process == os.getpid():
            return
        connection = open_shared(self.path, self._timeout)
        self._close = weakref.finalize(self, connection.close)
        self._lock, self._connection, self._process = threading.Lock(), connection, os.getpid()
        connection.execute(_TABLE)

    def close(self) -> None:
        """Close the file. The store cannot be used any more: a thread that still does gets a ``ProgrammingError``."""
        with self._lock:  # SQLite ends the process if a connection is closed while a thread uses it
            self._close()

    def _do(self, statement: str, *values: str) -> tuple[list[Any], int]:
        """Run a statement, and return its rows and the number of rows changed. Threads take turns."""
        self._connect()
        with self._lock:
            done = self._connection.execute(statement, values)
            return done.fetchall(), done.rowcount

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep a value.

        Args:
            key: its name.
            val: the value, as plain JSON data.
            collection: the part of the store that holds it.
        """
        self._do(_PUT, collection, key, json.dumps(val, ensure_ascii=False))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return a value, or None if there is none.

        Args:
            key: its name.
            collection: the part of the store that holds it.
        """
        where = "SELECT value FROM entries WHERE collection = ? AND key = ?"
        found, _ = self._do(where, collection, key)
        return json.loads(found[0][0]) if found else None

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values of a collection, by key.

        Args:
            collection: the part of the store.
        """
        found, _ = self._do("SELECT key, value FROM entries WHERE collection = ?", collection)
        return {key: json.loads(value) for key, value in found}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Remove a value.

        Args:
            key: its name.
            collection: the part of the store that holds it.

        Returns:
            Whether there was one.
        """
        where = "DELETE FROM entries WHERE collection = ? AND key = ?"
        return self._do(where, collection, key)[1] > 0

    # In a thread: another process may be writing.

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        await asyncio.to_thread(self.put, key, val, collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return await asyncio.to_thread(self.get, key, collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return await asyncio.to_thread(self.get_all, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return await asyncio.to_thread(self.delete, key, collection)
