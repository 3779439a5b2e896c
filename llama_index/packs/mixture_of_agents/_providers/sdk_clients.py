"""Adapts the SDK clients inside an LLM object: no retries, and every response is checked.

The caller's LLM and its clients stay unchanged. Copies of them are adapted, which use the same connections.
"""

from collections.abc import Callable
from copy import copy
from typing import Any

from llama_index.core.llms.llm import LLM

from .facts import derives_from, method_owner
from .mistral_client import plain_chat
from .wire import checked_client, is_checked


def without_retries(llm: LLM) -> LLM:
    """A copy of an LLM without its own retries and rate limits; the LLM itself if it has neither."""
    changes: dict[str, Any] = {}
    if getattr(llm, "max_retries", 0):
        changes["max_retries"] = 0
    if getattr(llm, "rate_limiter", None) is not None:
        changes["rate_limiter"] = None
    if not changes:
        return llm
    stripped = llm.model_copy(update=changes)
    for name in _SDK:  # existing clients, or those that the user passed, retry too
        with_options: Any = getattr(getattr(stripped, name, None), "with_options", None)
        if with_options and "max_retries" in changes:
            setattr(stripped, name, with_options(max_retries=0))
    return stripped


def works_on_every_loop(llm: LLM) -> bool:
    """Whether an LLM can be awaited on every event loop, with the same outcome as its sync methods.

    This holds for LLMs over shared connections, unless a class has replaced one of the sync or async methods alone.
    """
    http = getattr(llm, "_async_http_client", None) or getattr(
        getattr(llm, "_aclient", None), "_client", None
    )
    if not hasattr(http, "connections"):
        return False
    return all(
        method_owner(llm, blocking) is method_owner(llm, awaited) for blocking, awaited in _PAIRS
    )


_PAIRS = (
    ("chat", "achat"),
    ("_chat", "_achat"),
    ("stream_chat", "astream_chat"),
    ("_stream_chat", "_astream_chat"),
)


def with_checks(llm: LLM, *, awaited: bool) -> LLM:
    """A copy of an LLM whose client checks the responses (see ``wire``).

    Args:
        llm: the LLM. Its client is made if there is none yet.
        awaited: whether its async methods will be called.

    Returns:
        The copy; the LLM itself if its class has no known client, or makes one for every call.
    """
    name, changed = next(
        ((names[awaited], change) for kind, names, change in _KNOWN if derives_from(llm, kind)),
        ("", None),
    )
    if changed is None or not getattr(llm, "reuse_client", True):
        return llm
    twin = llm.model_copy()
    client = _made(twin, name)
    checking = client and changed(client)
    if checking is None or checking is client:
        return twin
    checking.__dict__["made_from"] = client  # its connections close when it is garbage-collected
    setattr(twin, name, checking)
    return twin


def _made(llm: Any, name: str) -> Any:
    if getattr(llm, name, None) is None:
        make = getattr(
            llm, {"_client": "_get_client", "_aclient": "_get_aclient"}.get(name, ""), None
        )
        make() if make else getattr(llm, name.lstrip("_"), None)
    return getattr(llm, name, None)


def _of_openai(client: Any) -> Any:
    """For OpenAI's and Anthropic's SDKs, which come from the same generator."""
    http = getattr(client, "_client", None)
    if http is None or is_checked(http):
        return client
    return client.with_options(http_client=checked_client(http))


def _of_mistral(client: Any) -> Any:
    settings = copy(client.sdk_configuration)
    settings.client = checked_client(settings.client)
    settings.async_client = checked_client(settings.async_client)
    twin: Any = copy(client)
    parts = twin.__dict__
    for name in twin._sub_sdk_map:  # noqa: SLF001  # these are made again, with the new settings
        parts.pop(name, None)
    twin.sdk_configuration = settings
    if chat := plain_chat(twin, settings):
        twin.chat = chat
    return twin


def _of_ollama(client: Any) -> Any:
    twin = copy(client)
    twin._client = checked_client(client._client)  # noqa: SLF001
    return twin


def _of_google(client: Any) -> Any:
    """For Google's SDK. Its async methods use aiohttp, if that is installed, unless they get an httpx client."""
    twin, api = copy(client), copy(client._api_client)  # noqa: SLF001
    for name in ("_httpx_client", "_async_httpx_client"):
        if getattr(api, name, None) is not None:
            setattr(api, name, checked_client(getattr(api, name)))
    options: Any = getattr(api, "_http_options", None)
    if hasattr(options, "httpx_async_client") and not getattr(options, "aiohttp_client", None):
        given = {"httpx_async_client": getattr(api, "_async_httpx_client", None)}
        api._http_options = options.model_copy(update=given)  # noqa: SLF001
    twin._aio = copy(client._aio)  # noqa: SLF001
    for one in (twin, twin._aio):  # noqa: SLF001
        one._api_client, one._models = api, copy(one._models)  # noqa: SLF001
        one._models._api_client = api  # noqa: SLF001
    return twin


_SDK = ("_client", "_aclient")
_KNOWN: tuple[tuple[str, tuple[str, str], Callable[[Any], Any]], ...] = (
    ("openai", _SDK, _of_openai),
    ("anthropic", _SDK, _of_openai),
    ("mistralai", ("_client", "_client"), _of_mistral),
    ("ollama", ("_client", "_async_client"), _of_ollama),
    ("google_genai", ("_client", "_client"), _of_google),
)
"""Integration, the fields of its class with the sync and the async client, and how to make a checking client."""
