"""The way to LLMs by their providers' batch APIs: what the transport would await goes to collectors."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._providers.batch_api import batch_api_of
from llama_index.packs.mixture_of_agents._providers.batch_wire import BatchAPI, Received, Sent, Wire
from llama_index.packs.mixture_of_agents._providers.detour import DETOUR, answer_to, known_answer
from llama_index.packs.mixture_of_agents._providers.facts import endpoint_key, model_name
from llama_index.packs.mixture_of_agents.errors import BatchError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Prices, batch_prices

from .collector import Collector
from .journal import Journal
from .outcomes import OpenBatch

QUIET = 1.0
"""Seconds of idleness without a new request after which nothing more is expected before an answer comes."""
_STEP = 0.2
"""Seconds; a step that takes twice as long shows that the event loop is busy: more requests are being made."""
_MOST_QUIET = 30.0
"""Seconds without a new request after which nothing more is expected, however busy the event loop is."""
_LONGEST = 600.0
"""Seconds that a request waits for others while LLMs are asked directly."""
_PATH = "/chat/completions"
_OF_ONE_REQUEST = (
    "accept",
    "connection",
    "content-",
    "host",
    "transfer-",
    "x-stainless-",
    "idempotency-",
)
"""Beginnings of the names of headers that belong to a request, and not to all."""


def prices_by_batch_api(
    llm: LLM,
    prices: Prices | None = None,
    factors: Mapping[str, float] | None = None,
    directly: Collection[str] = (),
) -> Prices:
    """What an LLM's models cost by their providers' batch APIs, and directly where there is none.

    Args:
        llm: The LLM.
        prices: The user's own prices, for an LLM that is not a mixture: that has its own.
        factors: See ``pricing.batch_prices``.
        directly: Addresses of servers without a batch API.

    Raises:
        BatchError: No provider of its models has a batch API.
    """
    members = members_of(llm)
    keys = [endpoint_key(one) for one in members if batch_api_of(one)]
    sold = [(provider, model) for provider, model, address in keys if address not in directly]
    if not sold:
        names = ", ".join(sorted({model_name(one) for one in members}))
        problem = f"no provider of {names} has a batch API that is known here; leave it out"
        raise BatchError(f'via = "batch-api": {problem}')
    own = llm.recipe.prices if isinstance(llm, MixtureOfAgents) else prices
    return batch_prices(sold, own, factors)


async def servers_without(llm: LLM) -> frozenset[str]:
    """Addresses of an LLM's servers that have no batch API, although their LLM classes say that they may."""
    asked: dict[str, LLM] = {}
    for one in members_of(llm):
        asked.setdefault(endpoint_key(one)[2], one)
    apis = {address: batch_api_of(one) for address, one in asked.items()}
    return frozenset(
        {
            address
            for address, api in apis.items()
            if api and not await api.is_offered(asked[address])
        }
    )


def members_of(llm: LLM) -> list[LLM]:
    """The LLMs that an LLM asks: those of a mixture, and of the mixtures in it; itself otherwise."""
    if not isinstance(llm, MixtureOfAgents):
        return [llm]
    members = {id(agent.llm): agent.llm for agent in llm.recipe.agents}
    return [one for member in members.values() for one in members_of(member)]


class BatchRoute:
    """Asks LLMs by their providers' batch APIs, and directly where there is none. An async context manager.

    Args:
        journal: What was handed over, on disk.
        size: Requests in a batch.
        at_once: Requests under way at once to LLMs without a batch API.
        tell: Called when a batch was begun, is further, or is over.
        directly: Addresses of servers without a batch API.
    """

    def __init__(
        self, journal: Journal, size: int, at_once: int, tell: Callable[[], None], directly: Collection[str],
    ) -> None:  # fmt: skip
        self._journal, self._size, self._tell, self._servers_without = journal, size, tell, directly
        self._room, self._direct = asyncio.Semaphore(at_once), 0
        self._collectors: dict[str, Collector] = {}
        self._stand_ins: dict[int, tuple[LLM, LLM | None]] = {}
        self._arrived, self._touches, self._touched = asyncio.Event(), 0, 0.0

    async def __aenter__(self) -> "BatchRoute":  # noqa: PYI034 - typing has Self from Python 3.11 on
        self._client = httpx.AsyncClient(timeout=60.0, follow_redirects=True)
        self._sending = asyncio.create_task(self._send_when_quiet())
        self._before = DETOUR.set(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        DETOUR.reset(self._before)
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        for collector in self._collectors.values():
            await collector.aclose()
        await self._client.aclose()

    @property
    def batches(self) -> tuple[OpenBatch, ...]:
        """The open batches, oldest first."""
        found = [batch for one in self._collectors.values() for batch in one.batches.values()]
        return tuple(sorted(found, key=lambda batch: batch.begun))

    @property
    def received(self) -> int:
        """The number of requests that batches have answered."""
        return sum(one.received for one in self._collectors.values())

    def stop(self) -> None:
        """Cancel the open batches: what they have not done by then fails."""
        for collector in self._collectors.values():
            collector.stop()

    @asynccontextmanager
    async def directly(self) -> AsyncGenerator[None, None]:
        """See ``Detour``."""
        async with self._room:
            self._direct += 1
            try:
                yield
            finally:
                self._direct -= 1
                self._touch()

    def stand_in(self, llm: LLM) -> LLM | None:
        """See ``Detour``."""
        if id(llm) not in self._stand_ins:
            api = None if endpoint_key(llm)[2] in self._servers_without else batch_api_of(llm)
            made = api.stand_in(llm, partial(self._exchange, api)) if api else None
            self._stand_ins[id(llm)] = llm, made
        return self._stand_ins[id(llm)][1]

    async def _exchange(self, api: BatchAPI, sent: Sent) -> Received:
        """The answer to a request that is made again; a new one goes to its collector."""
        known: Received | None = known_answer()
        return known or answer_to(self._put(api, sent))

    def _put(self, api: BatchAPI, sent: Sent) -> Awaitable[Received]:
        """Hand a request to its collector. No local variable outlives this: thousands wait at once."""
        body: dict[str, Any] = json.loads(sent.content)
        base, found, _ = sent.url.partition(_PATH)
        if not found or body.get("stream"):
            return self._directly(sent)
        model = str(body.get("model"))
        endpoint = f"{api.name} {base.rpartition('@')[2]} {model}"
        if endpoint not in self._collectors:
            headers = {
                name: value
                for name, value in sent.headers.items()
                if not name.lower().startswith(_OF_ONE_REQUEST)
            }
            self._collectors[endpoint] = Collector(
                api, Wire(self._client, base, headers), model, endpoint, self._journal, self._size,
                touch=self._touch, tell=self._tell,
            )  # fmt: skip
            # The address is known only now, and with it the batches that an earlier process left there.
            self._collectors[endpoint].go_on()
        return self._collectors[endpoint].put(body)

    async def _directly(self, sent: Sent) -> Received:
        async with self._room:
            response = await self._client.post(sent.url, headers=sent.headers, content=sent.content)
        return Received(response.status_code, response.content)

    def _touch(self) -> None:
        self._touches, self._touched = self._touches + 1, time.monotonic()
        self._arrived.set()

    async def _send_when_quiet(self) -> None:
        """Send off what has arrived whenever nothing more can be expected before an answer comes."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._quiet()
            for collector in self._collectors.values():
                old = time.monotonic() - collector.waits_since > _LONGEST
                # An answer of a direct request may lead to more requests for the same batch.
                if collector.is_waiting and (old or not self._direct):
                    collector.send()

    async def _quiet(self) -> None:
        """Wait until nothing has arrived for a while in which the event loop had nothing else to do."""
        idle, self._touched = 0.0, time.monotonic()
        while idle < QUIET and time.monotonic() - self._touched < _MOST_QUIET:
            before, touches = time.monotonic(), self._touches
            await asyncio.sleep(_STEP)
            was_busy = time.monotonic() - before > 2 * _STEP
            idle = 0.0 if was_busy or touches != self._touches else idle + _STEP
