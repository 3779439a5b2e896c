"""Checks HTTP responses: limits their size, and corrects the status of an error that was sent with status 200.

A server may send bytes without end, or a few kilobytes that unpack to gigabytes. Some providers report an error with
status 200, which LLM classes take for an answer. The checks are in the transports of the LLM classes' HTTP clients:
httpx's, or those of httpx2, which Mistral's SDK uses.
"""

import json
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from functools import cache
from importlib import import_module
from typing import Any

from .answer_bodies import LONGEST_ERROR, as_events, corrected_events, error_in, holds_message
from .content_parts import PlainText
from .faults import causes, status_of

LONGEST_ANSWER = 16 * 2**20
"""The largest size of a whole answer, and of one line of a stream, in bytes."""
MOST_LINES = 1000
"""The largest number of lines in one event of a stream. SDKs need time that grows with the square of this."""
LONGEST_STREAM = 64 * 2**20
"""The largest size of a stream, in bytes. 100,000 tokens, one in each chunk, take about 35 MB."""
_PIECE = 2**16
"""The number of bytes that are unpacked at a time."""
ACCEPTED = "gzip, deflate"


class AnswerTooLong(Exception):
    """A provider sent more than any real answer has."""


class UnreadableAnswer(Exception):
    """A provider sent bytes that cannot be unpacked, a web page, or something else that is no answer."""


def checked_client(client: Any) -> Any:
    """A copy of an httpx client that uses the same connections and checks the responses.

    The client itself must outlive the copy, since an SDK's client closes its connections when it is garbage-collected.
    """
    twin = copy(client)
    # The clients of OpenAI's SDK close their connections when they are garbage-collected. The copy must not.
    twin.__class__ = next(
        cls for cls in type(client).__mro__ if cls.__module__.partition(".")[0] in _HTTPX
    )
    return check(twin)


def check(client: Any) -> Any:
    """Make an httpx client check its responses.

    Args:
        client: the client; it is changed.
    """
    client._transport = CheckedTransport(client._transport)  # noqa: SLF001
    mounts = client._mounts.items()  # noqa: SLF001
    client._mounts = {  # noqa: SLF001
        pattern: transport and CheckedTransport(transport) for pattern, transport in mounts
    }
    return client


_HTTPX = ("httpx", "httpx2")


def is_checked(client: Any) -> bool:
    """Whether an httpx client already checks its responses."""
    return isinstance(client._transport, CheckedTransport)  # noqa: SLF001


class CheckedTransport:
    """A transport of httpx that checks the responses."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def handle_request(self, request: Any) -> Any:
        request.headers["accept-encoding"] = ACCEPTED
        with provider_to_blame():
            response = self._transport.handle_request(request)
        return checked(response, request)

    async def handle_async_request(self, request: Any) -> Any:
        request.headers["accept-encoding"] = ACCEPTED
        with provider_to_blame():
            response = await self._transport.handle_async_request(request)
        return await checked_async(response, request)


@contextmanager
def provider_to_blame() -> Generator[None, None, None]:
    """Explain errors of the HTTP libraries that show what the provider sent. They look like broken connections."""
    try:
        yield
    except Exception as error:
        words = " ".join(f"{type(one).__name__} {one}"[:200] for one in causes(error))
        if _LONG_HEAD.search(words):
            raise AnswerTooLong("the provider sent more headers than any answer has") from error
        if _NO_HTTP.search(words):
            raise UnreadableAnswer(
                "the provider's answer is not HTTP; is its address right, with http or https as the server wants it?"
            ) from error
        raise


_LONG_HEAD = re.compile("Receive buffer too long|LineTooLong|Too many headers")
_NO_HTTP = re.compile(
    "illegal status line|illegal header|no response line|BadStatusLine|InvalidHeader"
)


def checked(response: Any, request: Any) -> Any:
    """Check a response of a blocking client.

    Args:
        response: the response, unread. It is changed.
        request: the request that it answers.

    Returns:
        The response. An error or a whole answer has been read; a stream raises these errors while it is read.

    Raises:
        AnswerTooLong: the answer has more than ``LONGEST_ANSWER`` bytes.
        UnreadableAnswer: the answer cannot be unpacked, or is a web page or another kind of answer.
    """
    body, stream = _Body(response, request), response.stream
    pieces = body.pieces(stream)
    try:
        start = b"".join(pieces) if body.is_whole else next(pieces, b"")
        if body.is_whole_after_all(start):
            start += b"".join(pieces)
    except BaseException:
        stream.close()
        raise
    if body.is_whole or error_in(start):
        stream.close()
        return body.replaced(start)
    response.stream = _streams(response)[0](start, pieces, stream)
    return response


async def checked_async(response: Any, request: Any) -> Any:
    """Check a response of an async client; see ``checked``."""
    body, stream = _Body(response, request), response.stream
    pieces = body.async_pieces(stream)
    try:
        start = b"" if body.is_whole else await anext(pieces, b"")
        if body.is_whole or body.is_whole_after_all(start):
            start += b"".join([piece async for piece in pieces])
    except BaseException:
        await stream.aclose()
        raise
    if body.is_whole or error_in(start):
        await pieces.aclose()
        await stream.aclose()
        return body.replaced(start)
    response.stream = _streams(response)[1](start, pieces, stream)
    return response


class _Body:
    """Reads the body of a response.

    Attributes:
        is_whole: whether the body is an error or a whole answer, which is read at once. Otherwise it is a stream.
    """

    def __init__(self, response: Any, request: Any) -> None:
        self._response, self._request = response, request
        self._is_error = response.status_code >= 400
        kind = response.headers.get("content-type", "")
        self.is_whole = self._is_error or kind.partition(";")[0].strip() == "application/json"
        self._most = LONGEST_ANSWER if self.is_whole else LONGEST_STREAM
        self._read = self._line = self._lines = 0
        self._text = PlainText()
        self._is_events = kind.startswith("text/event-stream")
        self._retry_after = response.headers.get("retry-after")
        self._unpack = _unpacker(response.headers.get("content-encoding", ""))
        response.headers.pop("content-encoding", None)

    def pieces(self, stream: Any) -> Iterator[bytes]:
        """Yield the body of a blocking response, unpacked and counted."""
        with provider_to_blame():
            for packed in stream:
                yield from self._plain(packed)
                if self._is_read:
                    return
        yield self._rest()

    async def async_pieces(self, stream: Any) -> AsyncGenerator[bytes, None]:
        """Yield the body of an async response, unpacked and counted."""
        with provider_to_blame():
            async for packed in stream:
                for piece in self._plain(packed):
                    yield piece
                if self._is_read:
                    return
        yield self._rest()

    def is_whole_after_all(self, start: bytes) -> bool:
        """Whether a body that is called a stream begins like JSON. It counts as whole from now on.

        Raises:
            UnreadableAnswer: it is a stream, and a whole chat completion was requested.
        """
        if not self._is_events or self.is_whole:
            return False
        self.is_whole = start.lstrip().startswith(b"{")
        if not self.is_whole and self._is_chat and not self._wants_stream and not error_in(start):
            raise UnreadableAnswer("the provider sent a stream in place of a whole answer")
        return self.is_whole

    @property
    def _is_chat(self) -> bool:
        return self._request.url.path.endswith("/chat/completions")

    @property
    def _wants_stream(self) -> bool:
        return _STREAM.search(self._request.content) is not None

    @property
    def _is_read(self) -> bool:
        return self._is_error and self._read >= LONGEST_ERROR

    def _plain(self, packed: bytes) -> Iterator[bytes]:
        for piece in self._counted(packed):
            if not self._is_events or self._is_error:
                yield piece
            elif lines := self._text.feed(piece):
                yield corrected_events(lines, self._retry_after)

    def _rest(self) -> bytes:
        return corrected_events(self._text.rest(), self._retry_after)

    def _counted(self, packed: bytes) -> Iterator[bytes]:
        for unpacked in self._unpack(packed):
            piece = unpacked if self._read else unpacked.removeprefix(BOM_UTF8)
            if not (self._read or self._is_error) and _PAGE.match(piece):
                raise UnreadableAnswer(
                    "the provider sent a web page in place of an answer; is its address right? It often ends in /v1"
                )
            self._count(piece)
            if self._is_read:
                yield piece[: len(piece) - (self._read - LONGEST_ERROR)]
                return
            if self._read > self._most or self._line > LONGEST_ANSWER:
                most = self._most if self._read > self._most else LONGEST_ANSWER
                raise AnswerTooLong(f"the provider sent more than {most // 2**20} MB")
            if self._lines > MOST_LINES:
                raise AnswerTooLong(f"the provider sent more than {MOST_LINES} lines in one event")
            yield piece

    def _count(self, piece: bytes) -> None:
        self._read += len(piece)
        end = piece.rfind(b"\n")
        self._line = self._line + len(piece) if end < 0 else len(piece) - end - 1
        if self._is_events:
            blank = max(piece.rfind(b"\n\n"), piece.rfind(b"\n\r\n"))
            lines = piece.count(b"\n", max(blank, 0))
            self._lines = (
                lines if blank >= 0 or piece.startswith((b"\n", b"\r\n")) else self._lines + lines
            )

    def replaced(self, content: bytes) -> Any:
        """The response with this content. If the content holds an error, the response gets its status."""
        response = self._response
        error = None if self._is_error else error_in(content)
        if error is not None:
            response.status_code = status_of(error) or 500
            response.headers["content-type"] = "application/json"
            content = json.dumps(error).encode()
        elif not self._is_error:
            content = self._answer(self._text.body(content))
        for name in ("content-length", "transfer-encoding"):
            response.headers.pop(name, None)
        response.stream = import_module(_module(response)).ByteStream(content)
        return response

    def _answer(self, content: bytes) -> bytes:
        """A whole answer, in the form that was requested.

        Raises:
            UnreadableAnswer: a chat completion was requested, and this is none.
        """
        if not self._is_chat:
            return content
        if not holds_message(content):
            start = content[:200].decode(errors="replace") or "nothing"
            raise UnreadableAnswer(f"the provider's answer holds no message: {start}")
        if not self._wants_stream:
            self._response.headers["content-type"] = "application/json"
            return content
        self._response.headers["content-type"] = "text/event-stream"
        return as_events(content)


_STREAM = re.compile(rb'"stream"\s*:\s*true')


def _unpacker(encoding: str) -> Any:
    """The function that unpacks the pieces of a body with this content encoding.

    Raises:
        UnreadableAnswer: the request did not accept this encoding, so its size cannot be limited here.
    """
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    if not names or names == ["identity"]:
        return _as_it_is
    if names not in (["gzip"], ["x-gzip"], ["deflate"]):
        raise UnreadableAnswer(f"the provider sent {encoding[:40]!r}, which was not asked for")
    return _Unpacker().unpack


def _as_it_is(packed: bytes) -> Iterable[bytes]:
    return (packed,)


class _Unpacker:
    def __init__(self) -> None:
        self._zip = zlib.decompressobj(32 + zlib.MAX_WBITS)  # it recognises gzip and zlib

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        try:
            while packed:
                yield self._zip.decompress(packed, _PIECE)
                packed = self._zip.unconsumed_tail
        except zlib.error as error:
            raise UnreadableAnswer(f"the provider's answer cannot be unpacked: {error}") from None


_PAGE = re.compile(rb"\s{0,100}<(?:!doctype|html)", re.IGNORECASE)


def _module(response: Any) -> str:
    return type(response).__module__.partition(".")[0]


@cache
def _stream_kinds(module: str) -> tuple[Any, Any]:
    httpx = import_module(module)

    class Stream(httpx.SyncByteStream):
        def __init__(self, start: bytes, rest: Iterator[bytes], stream: Any) -> None:
            self._start, self._rest, self._stream = start, rest, stream

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield self._start
                yield from self._rest
            except (AnswerTooLong, UnreadableAnswer):
                self.close()
                raise

        def close(self) -> None:
            self._stream.close()

    class AsyncStream(httpx.AsyncByteStream):
        def __init__(self, start: bytes, rest: Any, stream: Any) -> None:
            self._start, self._rest, self._stream = start, rest, stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                yield self._start
                async for piece in self._rest:
                    yield piece
            except (AnswerTooLong, UnreadableAnswer):
                await self._stream.aclose()
                raise

        async def aclose(self) -> None:
            with suppress(RuntimeError):  # another task reads it, and closes it afterwards
                await self._rest.aclose()
            await self._stream.aclose()

    return Stream, AsyncStream


def _streams(response: Any) -> tuple[Any, Any]:
    return _stream_kinds(_module(response))
