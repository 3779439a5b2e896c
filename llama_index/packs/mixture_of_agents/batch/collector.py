"""Requests to one model, collected into batches of its provider's, until each has its answer."""

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import httpx

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._providers.batch_wire import (
    BatchAPI,
    Received,
    Refused,
    Stage,
    Wire,
    fetch,
)
from llama_index.packs.mixture_of_agents.errors import BatchError

from .journal import Journal, Noted
from .outcomes import OpenBatch

T = TypeVar("T")
_FIRST_POLL, _LAST_POLL = 0.5, 60.0
"""Seconds between two looks at a batch, at first and at most."""
_PATIENCE = 86_400.0
"""Seconds that a provider is given to accept a batch, or to tell of one."""
_TRIES = 4
"""How often a request is put into a batch again that was not carried out."""
_UNREACHED = 120.0
"""Seconds that a provider is given that has never answered."""
_LOST = 3
"""How often in a row a batch must not be found to count as lost."""


@dataclass(slots=True, eq=False)
class Request:
    """A request that waits for its answer.

    Attributes:
        name: Its name in its batch.
        digest: A hash of its body.
        answer: Its answer, some time.
        is_noted: Whether an earlier process made it.
        line: The request as a line of a file; empty if an earlier process made it, and this one has not yet.
        tries: How often it was not carried out.
    """

    name: str
    digest: bytes
    answer: asyncio.Future[Received]
    is_noted: bool = False
    line: bytes = b""
    tries: int = 0

    def settle(self, received: Received) -> None:
        """Give the answer to its waiter."""
        if not self.answer.done():
            self.answer.set_result(received)


class Collector:
    """Collects the requests to one model.

    Args:
        api: The provider's batch API.
        wire: The way to it.
        model: The model's name.
        endpoint: Names provider, address and model in the journal.
        journal: What was handed over, on disk.
        size: Requests in a batch.
        touch: Called when a request arrives or is answered.
        tell: Called when a batch was begun, is further, or is over.

    Attributes:
        batches: The open batches, by id.
        waits_since: When the oldest request arrived that is not sent yet, by the monotonic clock.
        received: The number of requests that batches have answered.
    """

    def __init__(
        self, api: BatchAPI, wire: Wire, model: str, endpoint: str, journal: Journal, size: int, *,
        touch: Callable[[], None], tell: Callable[[], None],
    ) -> None:  # fmt: skip
        self._api, self._wire, self._model, self._endpoint = api, wire, model, endpoint
        self._journal, self._size = journal, min(size, api.most_requests)
        self._touch, self._tell = touch, tell
        self.batches: dict[str, OpenBatch] = {}
        self.waits_since, self.received = 0.0, 0
        self._waiting: dict[Request, None] = {}
        self._known: dict[bytes, list[Request]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes, self._put_off = 0, 0
        self._stopped = self._reached = False

    @property
    def is_waiting(self) -> bool:
        """Whether requests have arrived that are not sent yet."""
        return bool(self._waiting)

    def go_on(self) -> None:
        """Wait for the batches that an earlier process left open."""
        for noted in self._journal.open(self._endpoint):
            requests = [_request(digest, name) for name, digest in noted.requests]
            for request in requests:
                self._known.setdefault(request.digest, []).append(request)
            self._start(self._take_over(noted, requests), requests)

    def put(self, body: Mapping[str, Any]) -> asyncio.Future[Received]:
        """Put a request into a batch.

        A request that an earlier process made is not made again: its answer is taken, or waited for.

        Args:
            body: The request's body.

        Returns:
            Its answer, some time. Cancelling it leaves the request out of batches that are not sent yet.
        """
        # Sorted: an earlier process may have written the same fields in another order.
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.blake2b(canonical, digest_size=16).digest()
        request = self._of_earlier_process(digest) or _request(digest)
        request.line = self._api.line(request.name, body)
        kept = self._journal.take(self._endpoint, digest)
        if kept is not None:
            request.settle(Received(200, kept))
        elif not request.is_noted:
            self._add(request)
        return request.answer

    def send(self) -> None:
        """Send off what has arrived."""
        requests = [request for request in self._waiting if not request.answer.done()]
        self._waiting.clear()
        self._bytes = 0
        for at in range(0, len(requests), self._size):
            part = requests[at : at + self._size]
            self._start(self._submit(part), part)

    def stop(self) -> None:
        """Cancel the open batches. What they have not done by then fails, and so does what arrives from now on."""
        self._stopped = True
        for request in list(self._waiting):
            self._give_up(request)
        self._waiting.clear()
        for batch in list(self.batches):
            self._start(self._api.cancel(self._wire, batch), ())

    async def aclose(self) -> None:
        """Wait for nothing any more. Open batches continue at the provider."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _of_earlier_process(self, digest: bytes) -> Request | None:
        known = self._known.get(digest)
        return known.pop() if known else None

    def _add(self, request: Request) -> None:
        if self._stopped:
            self._give_up(request)
            return
        size = len(request.line) + 1
        if self._bytes + size > self._api.most_bytes:
            self.send()
        if not self._waiting:
            self.waits_since = time.monotonic()
        self._waiting[request] = None
        self._bytes += size
        if len(self._waiting) >= self._size:
            self.send()
        self._touch()

    def _start(self, work: Coroutine[Any, Any, None], requests: Sequence[Request]) -> None:
        task = asyncio.create_task(self._guarded(work, requests))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], requests: Sequence[Request]) -> None:
        """Work for requests: if it fails, each of them has the error for an answer."""
        try:
            await work
        except Refused as refused:
            self._settle(requests, Received(refused.status, refused.text.encode()))
        except BatchError as error:
            # The journal's. Asked again, the requests might be paid for twice.
            self._settle(requests, _failure(400, str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a client raises must not leave runs waiting for ever
            self._settle(requests, _failure(503, f"the batch API failed: {error!r}"))

    def _settle(self, requests: Sequence[Request], received: Received) -> None:
        for request in requests:
            request.settle(received)
        self._touch()

    async def _submit(self, requests: Sequence[Request]) -> None:
        """Begin a batch and see it to its end. It is on disk before the provider hears of it."""
        mark = uuid.uuid4().hex
        noted = [(request.name, request.digest) for request in requests]
        await in_thread(partial(self._journal.intend, mark, self._endpoint, noted))
        try:
            batch = await self._begin(mark, [request.line for request in requests])
        except Refused as refused:
            self._journal.forget(mark)
            self._refuse(refused, requests)
            return
        self._journal.begun(mark, batch)
        opened = OpenBatch(batch, self._model, time.time(), 0, len(requests))
        await self._follow(mark, opened, requests)

    async def _begin(self, mark: str, lines: Sequence[bytes]) -> str:
        unsure = False

        async def once() -> str:
            nonlocal unsure
            if unsure and (found := await self._api.find(self._wire, mark)):
                return found
            unsure = True  # until the provider answers: it may have begun the batch
            try:
                return await self._api.submit(self._wire, lines, self._model, mark)
            except Refused as refused:
                unsure = refused.status >= 500
                raise

        return await self._patiently(once)

    async def _take_over(self, noted: Noted, requests: Sequence[Request]) -> None:
        """See a batch of an earlier process to its end."""
        find = partial(self._api.find, self._wire, noted.mark)
        batch = noted.id or await self._patiently(find)
        if batch is None:
            self._journal.forget(noted.mark)
            self._again(requests)
            return
        self._journal.begun(noted.mark, batch)
        opened = OpenBatch(batch, self._model, noted.begun, 0, len(requests))
        await self._follow(noted.mark, opened, requests)

    async def _follow(self, mark: str, batch: OpenBatch, requests: Sequence[Request]) -> None:
        self.batches[batch.id] = batch
        self._tell()
        try:
            stage = await self._ended(batch)
        finally:
            del self.batches[batch.id]
        if stage is None:
            self._journal.forget(mark)
            self._again(requests)
        elif stage.state == "refused":
            self._journal.forget(mark)
            self._refuse(Refused(400, stage.reason), requests)
        else:
            await self._deliver(mark, stage, requests)
        self._tell()

    async def _ended(self, batch: OpenBatch) -> Stage | None:
        """How a batch ended; None if the provider has lost it."""
        wait, missing = _FIRST_POLL, 0
        while missing < _LOST:
            await asyncio.sleep(wait)
            wait = min(1.5 * wait, _LAST_POLL)
            try:
                stage = await self._patiently(partial(self._api.poll, self._wire, batch.id))
            except Refused as refused:
                if refused.status != 404:
                    raise
                # A server of the provider may not know a new batch yet.
                missing += 1
                continue
            missing, batch.done, batch.total = 0, stage.done, stage.total or batch.total
            if stage.state != "open":
                return stage
            self._tell()
        return None

    async def _deliver(self, mark: str, stage: Stage, requests: Sequence[Request]) -> None:
        """Keep the answers of a batch, then hand them out; what was not carried out is asked again."""

        async def fetched() -> dict[str, Received | None]:
            return {line.name: line.answer async for line in fetch(self._wire, stage)}

        answers = await self._patiently(fetched)
        good = [(name, one.content) for name, one in answers.items() if one and one.status == 200]
        await in_thread(partial(self._journal.keep, mark, good))
        self._put_off = 0
        self.received += sum(answer is not None for answer in answers.values())
        undone: list[Request] = []
        for request in requests:
            answer = answers.get(request.name)
            if answer is None:
                undone.append(request)
            else:
                request.settle(answer)
        self._touch()
        self._again(undone)

    def _again(self, requests: Sequence[Request]) -> None:
        """Put requests that were not carried out into the next batch."""
        for request in requests:
            if not request.line:  # nobody has asked for it in this process
                self._known[request.digest].remove(request)
            elif request.tries >= _TRIES or self._stopped:
                self._give_up(request)
            elif not request.answer.done():
                request.tries += 1
                self._add(request)

    def _give_up(self, request: Request) -> None:
        request.settle(_failure(503, "no batch has carried this request out"))

    def _refuse(self, refused: Refused, requests: Sequence[Request]) -> None:
        """Do what can be done about a batch that was refused whole."""
        if refused.passes:
            self._start(self._later(requests), requests)
        elif refused.is_too_large and len(requests) > 1:
            half = len(requests) // 2
            for part in (requests[:half], requests[half:]):
                self._start(self._submit(part), part)
        else:
            self._settle(requests, _failure(refused.status, refused.text))

    async def _later(self, requests: Sequence[Request]) -> None:
        self._put_off += 1
        await asyncio.sleep(min(2.0**self._put_off / 2, _LAST_POLL))
        await self._submit(requests)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something until it succeeds, with pauses; what will never succeed is raised."""
        wait, begun = 1.0, time.monotonic()
        while True:
            try:
                done = await work()
            except (httpx.HTTPError, Refused) as error:
                waited = time.monotonic() - begun
                if waited > (_PATIENCE if self._reached else _UNREACHED):
                    raise
                if isinstance(error, Refused) and not error.passes:
                    raise
            else:
                self._reached = True
                return done
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LAST_POLL)


def _request(digest: bytes, name: str = "") -> Request:
    """A request; one with a name is of an earlier process."""
    answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
    return Request(name or uuid.uuid4().hex, digest, answer, is_noted=bool(name))


def _failure(status: int, message: str) -> Received:
    body = {"error": {"message": message, "type": "batch_error", "param": None, "code": None}}
    return Received(status, json.dumps(body).encode())
