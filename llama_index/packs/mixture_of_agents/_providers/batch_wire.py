"""The common part of the providers' batch APIs: files, and requests that are executed later.

LlamaIndex's classes and their SDKs make the requests as usual. A copy of the LLM has a client that does not send a
finished HTTP request. It hands the request to an ``Exchange``, and receives the answer from it.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import httpx
from llama_index.core.llms.llm import LLM

_SHOWN = 2_000
"""Characters of an error body that are kept."""
_NEVER_PASSES = re.compile(r"insufficient_quota|billing|payment", re.IGNORECASE)
_PASSES = re.compile(r"enqueued|token_limit_exceeded|rate.?limit|try again", re.IGNORECASE)
_TOO_LARGE = re.compile(r"maximum|too (many|large|big|long)|exceeds|at most", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sent:
    """A finished HTTP request.

    Attributes:
        url: Its address.
        headers: Its headers, which include the key. They are never written to a file.
        content: Its body.
    """

    url: str
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """The answer to a request: its HTTP status and its body."""

    status: int
    content: bytes


Exchange = Callable[[Sent], Awaitable[Received]]
"""Takes a request and returns its answer, possibly hours later."""


class Refused(Exception):
    """A provider refused a request.

    Attributes:
        status: The HTTP status.
        text: The beginning of the body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:_SHOWN]}")
        self.status, self.text = status, text[:_SHOWN]

    @property
    def passes(self) -> bool:
        """Whether the provider may accept the same request later."""
        if _NEVER_PASSES.search(self.text):
            return False
        busy = self.status in (408, 409, 425, 429) or (self.status >= 500 and self.status != 501)
        return busy or bool(_PASSES.search(self.text))

    @property
    def is_too_large(self) -> bool:
        """Whether the provider may accept a smaller batch."""
        return self.status == 413 or bool(_TOO_LARGE.search(self.text))


@dataclass(frozen=True, slots=True)
class Stage:
    """The progress of a batch.

    Attributes:
        state: Whether the batch is open, over, or refused as a whole.
        done: The number of requests that were executed.
        total: The number of all its requests.
        files: Ids of the files with its answers and errors.
        reason: Why it was refused.
    """

    state: Literal["open", "over", "refused"]
    done: int = 0
    total: int = 0
    files: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file of answers.

    Attributes:
        name: The request's name in its batch.
        answer: The answer; None if the request was not executed.
    """

    name: str
    answer: Received | None


class Wire:
    """An HTTP client with the address and the headers of a provider.

    Args:
        client: The client.
        base: The address of the API.
        headers: Headers of every request, the key among them.
    """

    def __init__(self, client: httpx.AsyncClient, base: str, headers: Mapping[str, str]) -> None:
        self._client, self._base, self._headers = client, base, headers

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and read its answer.

        Args:
            method: The HTTP method.
            path: The path behind the API's address.
            options: Further arguments of httpx's ``request``.

        Returns:
            The answer's JSON data.

        Raises:
            Refused: The provider refused the request.
            httpx.HTTPError: The request could not be sent, or no answer arrived.
        """
        url = f"{self._base}{path}"
        response = await self._client.request(method, url, headers=self._headers, **options)
        if response.is_error:
            raise Refused(response.status_code, response.text)
        try:
            return response.json()
        except ValueError:
            raise Refused(502, "the answer is not JSON") from None

    async def upload(self, content: bytes) -> str:
        """Upload a file of requests and return its id. Raises as ``json`` does."""
        form = {"data": {"purpose": "batch"}, "files": {"file": ("requests.jsonl", content)}}
        return str((await self.json("POST", "/files", **form))["id"])

    async def lines(self, file: str) -> AsyncIterator[Any]:
        """Yield the lines of a file as they arrive. Raises as ``json`` does."""
        url = f"{self._base}/files/{file}/content"
        async with self._client.stream("GET", url, headers=self._headers) as response:
            if response.is_error:
                raise Refused(
                    response.status_code, (await response.aread()).decode(errors="replace")
                )
            async for line in response.aiter_lines():
                with suppress(ValueError):  # an unreadable line counts as missing
                    yield json.loads(line)


class BatchAPI(Protocol):
    """A provider's batch API."""

    name: ClassVar[str]
    """The LlamaIndex integration's short name."""
    most_requests: ClassVar[int]
    """The largest number of requests in a batch."""
    most_bytes: ClassVar[int]
    """The largest size of a file of requests, in bytes."""

    async def is_offered(self, llm: LLM) -> bool:
        """Whether the server that an LLM asks has the API; True if that cannot be found out now."""
        ...

    def stand_in(self, llm: LLM, exchange: Exchange) -> LLM:
        """A copy of an LLM that hands its requests to an exchange."""
        ...

    def line(self, name: str, body: Mapping[str, Any]) -> bytes:
        """A request as a line of a file, without a line break."""
        ...

    async def submit(self, wire: Wire, lines: Sequence[bytes], model: str, mark: str) -> str:
        """Upload requests, start a batch of them, and return its id. The provider stores the mark with the batch."""
        ...

    async def find(self, wire: Wire, mark: str) -> str | None:
        """Return the id of the batch with this mark; None if there is none."""
        ...

    async def poll(self, wire: Wire, batch: str) -> Stage:
        """Return the progress of a batch."""
        ...

    async def cancel(self, wire: Wire, batch: str) -> None:
        """Cancel a batch. The answers that it already has can be fetched."""
        ...


async def fetch(wire: Wire, stage: Stage) -> AsyncIterator[Line]:
    """Yield the answers of a finished batch, from its file of answers and its file of errors."""
    for file in stage.files:
        async for line in wire.lines(file):
            response: dict[str, Any] | None = line.get("response")
            answer = None
            if response is not None:
                body = json.dumps(response.get("body"), ensure_ascii=False)
                status = int(response.get("status_code") or 200)
                answer = Received(status, body.encode(errors="replace"))
            yield Line(str(line.get("custom_id")), answer)
