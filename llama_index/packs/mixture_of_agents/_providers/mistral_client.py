"""Mistral's SDK with a faster ``chat``, for requests whose parameters are numbers.

For every call the SDK defines seven classes of pydantic, and one for each piece of a stream. That is four fifths of the
work of a call. Here the SDK's own classes read and write the messages. The SDK still sends the request, with its hooks
and its log, and makes every request that is unusual. Requests, answers and errors are the same.
"""

import json
from functools import cache, partial
from importlib import import_module
from inspect import signature
from typing import Any

_CHAT = "mistralai.client.chat"
_NUMBERS = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "random_seed",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "safe_prompt",
    }
)
"""Parameters that the SDK does not convert."""
_SENDING = {"self", "hook_ctx", "request", "is_error_status_code", "stream", "retry_config"}
"""The parameters of ``do_request`` in the SDK's versions that this works with."""


def plain_chat(client: Any, settings: Any) -> Any:
    """Make a faster ``chat`` for a client of Mistral's SDK.

    Args:
        client: the client.
        settings: its ``sdk_configuration``.

    Returns:
        The ``chat``; None if the client is of another kind or version.
    """
    if type(client).__module__ != "mistralai.client.sdk":
        return None
    kind = _kind()
    return kind and kind(settings, parent_ref=client)


@cache
def _kind() -> Any:
    """The class; None if the SDK has another version."""
    try:
        chat = import_module(_CHAT).Chat
        if {*signature(chat.do_request).parameters} != _SENDING:
            return None
    except (ImportError, AttributeError):
        return None
    return type("Chat", (_Plain, chat), {})


class _Plain:
    """``chat`` whose requests are not converted."""

    sdk_configuration: Any
    do_request: Any
    do_request_async: Any
    _get_url: Any

    def complete(self, **parameters: Any) -> Any:
        """Like the SDK's method."""
        sent = self._sent(parameters, stream=False, awaited=False)
        if sent is None:
            return super().complete(**parameters)  # type: ignore[misc]
        return _completion(self.do_request(**sent))

    async def complete_async(self, **parameters: Any) -> Any:
        """Like the SDK's method."""
        sent = self._sent(parameters, stream=False, awaited=True)
        if sent is None:
            return await super().complete_async(**parameters)  # type: ignore[misc]
        return _completion(await self.do_request_async(**sent))

    def stream(self, **parameters: Any) -> Any:
        """Like the SDK's method."""
        sent = self._sent(parameters, stream=True, awaited=False)
        if sent is None:
            return super().stream(**parameters)  # type: ignore[misc]
        response = self.do_request(**sent)
        if not _is(response, "text/event-stream"):
            response.read()
            raise _error(response)
        return self._pieces("EventStream", response)

    async def stream_async(self, **parameters: Any) -> Any:
        """Like the SDK's method."""
        sent = self._sent(parameters, stream=True, awaited=True)
        if sent is None:
            return await super().stream_async(**parameters)  # type: ignore[misc]
        response = await self.do_request_async(**sent)
        if not _is(response, "text/event-stream"):
            await response.aread()
            raise _error(response)
        return self._pieces("EventStreamAsync", response)

    def _pieces(self, kind: str, response: Any) -> Any:
        streaming = import_module("mistralai.client.utils.eventstreaming")
        event = import_module("mistralai.client.models").CompletionEvent
        return getattr(streaming, kind)(
            response,
            partial(_read, event, response),
            sentinel="[DONE]",
            client_ref=self,
        )

    def _sent(
        self, parameters: dict[str, Any], *, stream: bool, awaited: bool
    ) -> dict[str, Any] | None:
        """The arguments of ``do_request``; None if the SDK has to make this request."""
        settings = self.sdk_configuration
        body = dict(parameters)
        retries, timeout = body.pop("retries", None), body.pop("timeout_ms", settings.timeout_ms)
        unusual = body.keys() - _NUMBERS - {"model", "messages"}
        # The SDK must convert these, ask for a key, or retry by itself.
        if unusual or callable(settings.security) or hasattr(retries, "strategy"):
            return None
        models = import_module("mistralai.client.models")
        kind = models.ChatCompletionStreamRequest if stream else models.ChatCompletionRequest
        request = kind(**{**body, "messages": [*body["messages"]]})
        data = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        content = json.dumps(data, separators=(",", ":"))
        made = self._built(content, stream=stream, awaited=awaited, timeout=timeout or 300_000)
        return {
            "hook_ctx": self._context("stream_chat" if stream else _OPERATION),
            "request": made,
            "is_error_status_code": _is_error,
            "stream": stream,
        }

    def _built(self, content: str, *, stream: bool, awaited: bool, timeout: int) -> Any:
        make = getattr(self, "_build_request_async" if awaited else "_build_request")
        body = import_module("mistralai.client.utils").SerializedRequestBody
        return make(
            method="POST",
            # The SDK marks its streams so in the address.
            path=f"/v1/chat/completions{'#stream' if stream else ''}",
            base_url=self._get_url(None, None),
            url_variables=None,
            request=None,
            request_body_required=True,
            request_has_path_params=False,
            request_has_query_params=False,
            user_agent_header="user-agent",
            accept_header_value="text/event-stream" if stream else "application/json",
            security=self.sdk_configuration.security,
            get_serialized_body=lambda: body("application/json", content),
            timeout_ms=timeout,
        )

    def _context(self, operation: str) -> Any:
        security = import_module("mistralai.client.utils").get_security_from_env
        kind = import_module("mistralai.client.models").Security
        return import_module("mistralai.client._hooks").HookContext(
            config=self.sdk_configuration,
            base_url=self._get_url(None, None) or "",
            operation_id=operation,
            oauth2_scopes=None,
            security_source=security(self.sdk_configuration.security, kind),
            tags=["chat"],
            extensions=None,
        )


_OPERATION = "chat_completion_v1_chat_completions_post"


def _is_error(status: int) -> bool:
    return 400 <= status < 600


def _is(response: Any, kind: str, status: int = 200) -> bool:
    found = response.headers.get("content-type", "").partition(";")[0].strip()
    return response.status_code == status and found == kind


def _completion(response: Any) -> Any:
    if not _is(response, "application/json"):
        raise _error(response)
    return _read(
        import_module("mistralai.client.models").ChatCompletionResponse, response, response.text
    )


def _read(kind: Any, response: Any, text: str) -> Any:
    """Read a piece of JSON as an object of the SDK. The SDK itself reports what cannot be read."""
    try:
        return kind.model_validate(json.loads(text))
    except Exception:  # noqa: BLE001 - as the SDK does
        reading = import_module("mistralai.client.utils.unmarshal_json_response")
        return reading.unmarshal_json_response(kind, response, text)


def _error(response: Any) -> Exception:
    errors = import_module("mistralai.client.errors")
    if _is(response, "application/json", 422):
        data = _read(errors.HTTPValidationErrorData, response, response.text)
        return errors.HTTPValidationError(data, response, response.text)
    message = (
        "API error occurred" if _is_error(response.status_code) else "Unexpected response received"
    )
    return errors.SDKError(message, response, response.text)
