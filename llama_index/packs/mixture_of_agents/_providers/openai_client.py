"""The OpenAI SDK's clients with a faster ``chat.completions``, for requests that are plain data.

For every request the SDK translates typed parameters, builds the address and headers again, and assembles the answer
field by field. That is three times the work of the rest of a call. LlamaIndex sends dicts and lists, which need no
translation. If the client does not retry (the engine does), a request goes straight to the connections. Errors are the
SDK's own, and the SDK handles everything unusual.

Three things differ from the SDK. An unknown parameter is sent. A body that is no answer is an error of the SDK instead
of a string. A response does not know how long it took.
"""

import json
import logging
import zlib
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any, cast

import httpx
from pydantic import BaseModel, ValidationError

from .wire import ACCEPTED, LONGEST_ANSWER, AnswerTooLong, checked_async, provider_to_blame

_PATH = "/chat/completions"
_SECURITY = {"bearer_auth": True}  # an organisation's admin key is not used
_JSON = "application/json"
_LOG = logging.getLogger("openai")
_OPTIONS = {"extra_headers", "extra_query", "extra_body", "timeout"}
"""Parameters of ``create`` that do not go into the request's body."""


@cache
def plain_clients() -> tuple[Any, Any]:
    """The classes of the SDK's sync and async client, with plain completions.

    They keep the SDK's class names, which the SDK sends to the server. The async client passes its requests to the
    ``connections`` of its HTTP client (an httpx transport) if there are any.

    Returns:
        The sync and the async class.
    """
    sdk: Any = import_module("openai")

    class OpenAI(sdk.OpenAI):
        @cached_property
        def chat(self) -> Any:
            return _Chat(self, _Plain, partial(sdk.OpenAI.chat.func, self))

    class AsyncOpenAI(sdk.AsyncOpenAI):
        @cached_property
        def chat(self) -> Any:
            return _Chat(self, _Direct, partial(sdk.AsyncOpenAI.chat.func, self))

    return OpenAI, AsyncOpenAI


class _Chat:
    """``client.chat`` with plain completions.

    Everything else is the SDK's. It is made when it is needed: importing all of the SDK's resources takes 0.3 seconds.
    """

    def __init__(self, client: Any, completions: "type[_Plain]", sdk: Callable[[], Any]) -> None:
        self._client, self._completions, self._make = client, completions, sdk

    @cached_property
    def completions(self) -> "_Plain":
        return self._completions(self._client, self)

    @cached_property
    def sdk(self) -> Any:
        return self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sdk, name)


class _Plain:
    """``chat.completions`` whose requests are not translated."""

    def __init__(self, client: Any, chat: _Chat) -> None:
        self._client, self._chat = client, chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sdk, name)

    @property
    def _sdk(self) -> Any:
        """The SDK's own completions."""
        return self._chat.sdk.completions

    @property
    def _stream(self) -> Any:
        from openai import Stream

        return Stream

    def create(self, *, stream: bool = False, **parameters: Any) -> Any:
        """Like the SDK's method. An async client returns an awaitable."""
        from openai.types.chat import ChatCompletion

        if not _OPTIONS.isdisjoint(parameters):
            return self._sdk.create(stream=stream, **parameters)
        return self._client.post(
            _PATH,
            body=_body(parameters, stream=stream),
            cast_to=ChatCompletion,
            stream=stream,
            stream_cls=self._stream[_Chunk],
            options={"security": _SECURITY},
        )


class _Direct(_Plain):
    """The same for an async client. A request goes straight to the connections if the SDK has nothing to add."""

    @property
    def _stream(self) -> Any:
        from openai import AsyncStream

        return AsyncStream

    async def create(self, *, stream: bool = False, **parameters: Any) -> Any:
        """Like the SDK's method."""
        if not self._goes_directly() or not _OPTIONS.isdisjoint(parameters):
            return await super().create(stream=stream, **parameters)
        content = _json(_body(parameters, stream=stream))
        completion, response = await self._outcome(content, stream=stream)
        if completion is not None:
            return completion
        if response.is_redirect:  # there is no answer yet; the SDK follows redirections
            await response.aclose()
            return await super().create(stream=stream, **parameters)
        if response.is_error:
            raise self._client._make_status_error_from_response(response)  # noqa: SLF001
        return self._chunks(response) if stream else _completion(response)

    def _goes_directly(self) -> bool:
        """Whether there are connections, and neither retries nor the SDK's log (OPENAI_LOG=debug) are on."""
        if self._client.max_retries or _LOG.isEnabledFor(logging.DEBUG):
            return False
        return hasattr(self._http, "connections") and not self._http.is_closed

    @property
    def _http(self) -> Any:
        return self._client._client  # noqa: SLF001

    async def _outcome(self, content: bytes, *, stream: bool) -> tuple[Any, Any]:
        """Make a request, and raise its errors as the SDK does.

        Returns:
            The completion of an ordinary whole answer, and None; or None, and any other response.
        """
        try:
            if stream or len(content) > self._http.connections.most_at_once:
                return None, await self._send(self._request(content), stream=stream)
            return await self._exchange(content)
        except httpx.TimeoutException as error:
            from openai import APITimeoutError

            raise APITimeoutError(request=self._request(content)) from error
        except Exception as error:
            from openai import APIConnectionError

            raise APIConnectionError(request=self._request(content)) from error

    async def _send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        response: httpx.Response = await self._http.connections.handle_async_request(request)
        return await self._finished(response, request, stream=stream)

    async def _exchange(self, content: bytes) -> tuple[Any, Any]:
        """Make a request for a whole answer, without httpx's objects as long as nothing is unusual."""
        url, headers, timeout = self._envelope
        if self._http.cookies:
            headers = {**headers, **self._cookies}
        try:
            raw, stream = await self._http.connections.post(url, headers, content, timeout)
            if raw.status == 200 and raw.headers.get("Content-Type", "").startswith(_JSON):
                packed = await _whole(stream)
                completion = _ordinary(packed, raw.headers)
                if completion:
                    return completion, None
                stream = httpx.ByteStream(packed)
        except Exception:
            with provider_to_blame():
                raise
        request = self._request(content)
        reason = {"reason_phrase": (raw.reason or "").encode()}
        response = httpx.Response(
            raw.status, headers=raw.raw_headers, stream=stream, extensions=reason
        )
        response = await checked_async(response, request)
        return None, await self._finished(response, request, stream=False)

    async def _finished(
        self, response: httpx.Response, request: httpx.Request, *, stream: bool
    ) -> httpx.Response:
        """Read a response unless it is a stream, and keep its cookies."""
        response.request = request
        if not stream or response.is_error:
            await _read(response)
        if "set-cookie" in response.headers:
            self._http.cookies.extract_cookies(response)
        return response

    def _request(self, content: bytes) -> httpx.Request:
        like = self._example
        request = httpx.Request(
            like.method,
            like.url,
            headers=like.headers,
            content=content,
            extensions=like.extensions,
        )
        if self._http.cookies:
            self._http.cookies.set_cookie_header(request)
        return request

    @property
    def _cookies(self) -> dict[str, str]:
        """The header with the cookies for the next request; nothing if none are for its address."""
        request = httpx.Request("POST", self._example.url)
        self._http.cookies.set_cookie_header(request)
        cookies = request.headers.get("cookie")
        return {"cookie": cookies} if cookies else {}

    @cached_property
    def _envelope(self) -> tuple[str, dict[str, str], Any]:
        """The address, headers and aiohttp's timeout of a request."""
        from aiohttp import ClientTimeout

        like = self._example
        seconds: dict[str, float | None] = like.extensions.get("timeout", {})
        timeout = ClientTimeout(
            sock_connect=seconds.get("connect"),
            sock_read=seconds.get("read"),
            connect=seconds.get("pool"),
        )
        return str(like.url), {**like.headers, "accept-encoding": ACCEPTED}, timeout

    @cached_property
    def _example(self) -> httpx.Request:
        """A request made by the SDK. All others have the same address, headers and timeouts."""
        options = import_module("openai._models").FinalRequestOptions
        example = options(method="post", url=_PATH, json_data={}, security=_SECURITY)
        request = self._client._build_request(example)  # noqa: SLF001
        for its_own in ("Content-Length", "Cookie"):
            request.headers.pop(its_own, None)
        return request

    def _chunks(self, response: httpx.Response) -> Any:
        return self._stream(cast_to=_Chunk, response=response, client=self._client)


class _Chunk:
    """Reads a chunk. The SDK calls ``build`` of such a class in place of assembling a chunk itself."""

    @classmethod
    def build(cls, *, response: httpx.Response, data: Any) -> Any:
        """The SDK's ``ChatCompletionChunk``."""
        del response
        chunk = _types().ChatCompletionChunk
        try:
            return chunk.model_validate(data)
        except ValidationError:  # some OpenAI-compatible servers differ a little
            if not isinstance(data, dict):
                return data
            return chunk.construct(**cast("dict[str, Any]", data))


async def _whole(stream: Any) -> bytes:
    """Read a body up to the size that an answer may have."""
    pieces, size = list[bytes](), 0
    try:
        async for piece in stream:
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_ANSWER:
                break
        else:
            return b"".join(pieces)
    except BaseException:
        await stream.aclose()
        raise
    await stream.aclose()
    raise AnswerTooLong(f"the provider sent more than {LONGEST_ANSWER // 2**20} MB")


def _ordinary(packed: bytes, headers: Mapping[str, str]) -> Any:
    """The completion in a body; None if anything about it is unusual, so that it must be checked (see ``wire``)."""
    content = _unpacked(packed, headers.get("Content-Encoding", ""))
    if content is None or "Set-Cookie" in headers:
        return None
    try:
        completion = _types().ChatCompletion.model_validate_json(content)
    except ValidationError:
        return None
    if not completion.choices or any(choice.message.refusal for choice in completion.choices):
        return None
    return _with_id(completion, headers.get("x-request-id"))


def _unpacked(packed: bytes, encoding: str) -> bytes | None:
    """A body as it was before it was packed; None if it is too long or cannot be unpacked."""
    if encoding in ("", "identity"):
        return packed
    if encoding not in ("gzip", "deflate"):
        return None
    unpacking = zlib.decompressobj(32 + zlib.MAX_WBITS)  # it recognises gzip and zlib
    try:
        content = unpacking.decompress(packed, LONGEST_ANSWER)
    except zlib.error:
        return None
    return content if unpacking.eof else None


async def _read(response: httpx.Response) -> None:
    try:
        await response.aread()
    except BaseException:
        await response.aclose()
        raise


def _completion(response: httpx.Response) -> Any:
    from openai import APIResponseValidationError
    from openai.types.chat import ChatCompletion

    try:
        completion = ChatCompletion.model_validate_json(response.content)
    except ValidationError:  # some OpenAI-compatible servers differ a little; or there is no answer
        try:
            completion = ChatCompletion.construct(**response.json())
        except (TypeError, ValueError) as error:
            raise APIResponseValidationError(response, None) from error
    return _with_id(completion, response.headers.get("x-request-id"))


def _with_id(completion: Any, request_id: str | None) -> Any:
    setattr(completion, "_request_id", request_id)  # noqa: B010 - the SDK's, for users
    return completion


def _json(body: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(body).encode()


def _plain(thing: Any) -> Any:
    """Write the SDK's own objects as the SDK does. LlamaIndex keeps them in messages that call tools."""
    if isinstance(thing, BaseModel):
        return thing.model_dump(mode="json", exclude_unset=True, by_alias=True)
    raise TypeError(f"a {type(thing).__name__} cannot be sent as JSON")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
)


def _body(parameters: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    unset = _unset()
    body = {name: value for name, value in parameters.items() if not isinstance(value, unset)}
    return {**body, "stream": stream}


# An import statement takes a microsecond each time, so these two are for every call and every chunk.


@cache
def _types() -> Any:
    return import_module("openai.types.chat")


@cache
def _unset() -> tuple[type, type]:
    """The classes of values that the SDK does not send."""
    from openai import NotGiven, Omit

    return NotGiven, Omit
