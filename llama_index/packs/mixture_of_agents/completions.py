"""The OpenAI SDK's clients, with ``chat.completions`` for requests that are plain data already.

For every request the SDK walks through the parameters to translate those that are typed, makes address and headers
anew, and puts the answer together field by field: three times the work of all the rest of a call. LlamaIndex sends
dicts and lists that need no translation, and where a client is not to retry (the engine does) a request goes straight
to the connections. Errors are the SDK's own, and so is whatever is unusual.
"""

import json
import logging
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

import httpx
from pydantic import ValidationError

_PATH = "/chat/completions"
_LOG = logging.getLogger("openai")
_OPTIONS = {"extra_headers", "extra_query", "extra_body", "timeout"}
"""Parameters of ``create`` that do not go into the request's body."""


def plain_clients(connections: httpx.AsyncBaseTransport | None) -> tuple[Any, Any]:
    """The SDK's sync and async client with plain completions, under their own names: they say them to the server.

    Args:
        connections: what async requests may be given to directly; None where they go the SDK's way.

    Returns:
        The two classes.
    """
    sdk: Any = import_module("openai")
    resources: Any = import_module("openai.resources.chat")
    chunk: Any = import_module("openai.types.chat").ChatCompletionChunk

    class Completions(_Plain, resources.Completions):
        stream_cls = sdk.Stream[chunk]

    class AsyncCompletions(_Direct, resources.AsyncCompletions):
        stream_cls = sdk.AsyncStream[chunk]
        transport = connections

    class Chat(resources.Chat):
        @cached_property
        def completions(self) -> Any:
            return Completions(self._client)  # pyright: ignore[reportCallIssue]

    class AsyncChat(resources.AsyncChat):
        @cached_property
        def completions(self) -> Any:
            return AsyncCompletions(self._client)  # pyright: ignore[reportCallIssue]

    class OpenAI(sdk.OpenAI):
        @cached_property
        def chat(self) -> Any:
            return Chat(self)

    class AsyncOpenAI(sdk.AsyncOpenAI):
        @cached_property
        def chat(self) -> Any:
            return AsyncChat(self)

    return OpenAI, AsyncOpenAI


class _Plain:
    """``chat.completions`` whose requests are not translated."""

    stream_cls: Any
    _client: Any

    def create(self, *, stream: bool = False, **parameters: Any) -> Any:
        """As the SDK's; of an async client it is awaited."""
        from openai.types.chat import ChatCompletion

        if not _OPTIONS.isdisjoint(parameters):
            return super().create(stream=stream, **parameters)  # type: ignore[misc]
        return self._client.post(
            _PATH,
            body=_body(parameters, stream=stream),
            cast_to=ChatCompletion,
            stream=stream,
            stream_cls=self.stream_cls,
        )


class _Direct(_Plain):
    """The same of an async client, given to its transport directly wherever the SDK has nothing to add."""

    transport: Any

    async def create(self, *, stream: bool = False, **parameters: Any) -> Any:
        """As the SDK's."""
        if self._client.max_retries or not _OPTIONS.isdisjoint(parameters) or not self._may():
            return await super().create(stream=stream, **parameters)
        response = await self._send(_body(parameters, stream=stream), stream=stream)
        if response.is_redirect:  # nobody has answered yet; the SDK knows how to follow
            await response.aclose()
            return await super().create(stream=stream, **parameters)
        if response.is_error:
            raise self._client._make_status_error_from_response(response)  # noqa: SLF001
        return self._chunks(response) if stream else _completion(response)

    def _may(self) -> bool:
        """Whether there is such a transport, and nobody reads what the SDK logs of a request (OPENAI_LOG=debug)."""
        return bool(self.transport) and not _LOG.isEnabledFor(logging.DEBUG)

    async def _send(self, body: Mapping[str, Any], *, stream: bool) -> httpx.Response:
        from openai import APIConnectionError, APITimeoutError

        request = self._request(body)
        try:
            response: httpx.Response = await self.transport.handle_async_request(request)
            response.request = request
            if not stream or response.is_error:
                await _read(response)
        except httpx.TimeoutException as error:
            raise APITimeoutError(request=request) from error
        except Exception as error:
            raise APIConnectionError(request=request) from error
        return response

    def _request(self, body: Mapping[str, Any]) -> httpx.Request:
        like = self._example
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return httpx.Request(
            like.method,
            like.url,
            headers=like.headers,
            content=content.encode(),
            extensions=like.extensions,
        )

    @cached_property
    def _example(self) -> httpx.Request:
        """A request as the SDK makes them: its address, headers and timeouts are those of all."""
        options = import_module("openai._models").FinalRequestOptions
        request = self._client._build_request(options(method="post", url=_PATH, json_data={}))  # noqa: SLF001
        del request.headers["Content-Length"]
        return request

    def _chunks(self, response: httpx.Response) -> Any:
        from openai import AsyncStream
        from openai.types.chat import ChatCompletionChunk

        return AsyncStream(cast_to=ChatCompletionChunk, response=response, client=self._client)


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
    except ValidationError:  # of a server that is like OpenAI's, but not quite; or no answer at all
        try:
            completion = ChatCompletion.construct(**response.json())
        except (TypeError, ValueError) as error:
            raise APIResponseValidationError(response, None) from error
    setattr(completion, "_request_id", response.headers.get("x-request-id"))  # noqa: B010 - the SDK's, for users
    return completion


def _body(parameters: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
    from openai import NotGiven, Omit

    unsaid = (NotGiven, Omit)
    said = {name: value for name, value in parameters.items() if not isinstance(value, unsaid)}
    return {**said, "stream": stream}
