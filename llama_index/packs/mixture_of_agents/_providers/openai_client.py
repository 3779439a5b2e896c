"""The OpenAI SDK's clients with a faster ``chat.completions``, for requests that are plain data.

For every request the SDK translates typed parameters, builds the address and headers anew, and assembles the answer
field by field. That is three times the work of the rest of a call. LlamaIndex sends dicts and lists, which need no
translation. If the client does not retry (the engine does), a request goes straight to the connections. Errors are the
SDK's own, and the SDK handles everything unusual.

Three things differ from the SDK. An unknown parameter is sent. A body that is no answer is an error of the SDK instead
of a string. A response does not know how long it took.
"""

import json
import logging
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any, cast

import httpx
from pydantic import BaseModel, ValidationError

_PATH = "/chat/completions"
_SECURITY = {"bearer_auth": True}  # an organisation's admin key is not used
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
        response = await self._send(self._request(_body(parameters, stream=stream)), stream=stream)
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

    async def _send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        from openai import APIConnectionError, APITimeoutError

        try:
            response: httpx.Response = await self._http.connections.handle_async_request(request)
            response.request = request
            if not stream or response.is_error:
                await _read(response)
        except httpx.TimeoutException as error:
            raise APITimeoutError(request=request) from error
        except Exception as error:
            raise APIConnectionError(request=request) from error
        if "set-cookie" in response.headers:
            self._http.cookies.extract_cookies(response)
        return response

    def _request(self, body: Mapping[str, Any]) -> httpx.Request:
        like = self._example
        content = json.dumps(
            body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
        )
        request = httpx.Request(
            like.method,
            like.url,
            headers=like.headers,
            content=content.encode(),
            extensions=like.extensions,
        )
        if self._http.cookies:
            self._http.cookies.set_cookie_header(request)
        return request

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
        from openai.types.chat import ChatCompletionChunk

        try:
            return ChatCompletionChunk.model_validate(data)
        except ValidationError:  # some OpenAI-compatible servers differ a little
            if not isinstance(data, dict):
                return data
            return ChatCompletionChunk.construct(**cast("dict[str, Any]", data))


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
    setattr(completion, "_request_id", response.headers.get("x-request-id"))  # noqa: B010 - the SDK's, for users
    return completion


def _plain(thing: Any) -> Any:
    """Write the SDK's own objects as the SDK does. LlamaIndex keeps them in messages that call tools."""
    if isinstance(thing, BaseModel):
        return thing.model_dump(mode="json", exclude_unset=True, by_alias=True)
    raise TypeError(f"a {type(thing).__name__} cannot be sent as JSON")


def _body(parameters: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    from openai import NotGiven, Omit

    unset = (NotGiven, Omit)
    body = {name: value for name, value in parameters.items() if not isinstance(value, unset)}
    return {**body, "stream": stream}
