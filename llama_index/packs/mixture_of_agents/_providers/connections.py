"""HTTP connections that many LLMs share, for LlamaIndex's OpenAI and Anthropic classes and those derived from them.

By default every LLM object makes its own HTTP clients. Each client makes an SSL context (20 ms of CPU) and closes its
connections after 5 idle seconds, before the next layer begins. docs/performance.md has the numbers.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from ssl import SSLContext
from typing import Any, TypeVar
from urllib.request import getproxies
from weakref import finalize

import httpx
from llama_index.core.llms.llm import LLM

from .facts import derives_from, is_openai
from .openai_client import plain_clients
from .wire import CheckedTransport, check

AnyLLM = TypeVar("AnyLLM", bound=LLM)

SWITCH = "MOA_SHARED_CLIENTS"
"""An environment variable. If it is 0, every LLM keeps its own HTTP clients."""

KEEP_ALIVE = 60.0
"""Seconds until an idle connection is closed: about as long as a layer's slowest answer takes."""

PIECE = 2**18
"""The number of bytes of a request that are written at once."""


def with_shared_clients(llm: AnyLLM) -> AnyLLM:
    """Give a copy of an LLM the HTTP clients that all mixtures of the process share.

    Returns:
        The copy. The LLM itself if ``SharedClients.share_with`` returns it, or if the environment variable
        ``MOA_SHARED_CLIENTS`` is 0.
    """
    if os.environ.get(SWITCH, "").strip() == "0":
        return llm
    certificates = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return _of_process(*certificates, _proxied()).share_with(llm)


@cache
def _of_process(*_environment: str | bool | None) -> "SharedClients":
    """The process's clients: one set for each environment."""
    return SharedClients()


def _proxied() -> bool:
    return bool(getproxies().keys() & {"http", "https", "all"})


class SharedClients:
    """HTTP clients that several LLMs share.

    The clients are made for the first LLM that can use them.

    Args:
        connections: as for ``share_clients``.
    """

    def __init__(self, connections: int | None = None) -> None:
        self._connections = connections

    def share_with(self, llm: AnyLLM) -> AnyLLM:
        """Give a copy of an LLM the shared clients.

        Returns:
            The copy. The LLM itself if it cannot use the clients (``share_clients`` lists the cases), or if no client can
            be made. No client can be made without a key, or with unusable certificates or an unusable proxy in the
            environment; the LLM's own clients then report the problem.
        """
        try:
            if derives_from(llm, "anthropic"):
                return self._awaited_by_anthropic(llm)
            return self._copied(llm) if _needs_clients(llm) else llm
        except Exception:  # noqa: BLE001 - no key, no certificates, a SOCKS proxy without socksio
            return llm

    def _copied(self, llm: AnyLLM) -> AnyLLM:
        from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

        blocking = check(DefaultHttpxClient(verify=self._ssl))
        awaited = self._awaited or check(DefaultAsyncHttpxClient(verify=self._ssl))
        copy = llm.model_copy()
        clients = (*_plain(llm, blocking, awaited), blocking, awaited)
        for name, client in zip(_CLIENTS, clients, strict=True):
            setattr(copy, name, client)
        return copy

    def _awaited_by_anthropic(self, llm: AnyLLM) -> AnyLLM:
        """Copy an LLM of Anthropic's class, which has made its clients, and give the async one the shared connections.

        Vertex AI's and Bedrock's clients stay, and those that a caller has set.
        """
        client: Any = getattr(llm, "_aclient", None)
        if type(client) is not import_module("anthropic").AsyncAnthropic or self._awaited is None:
            return llm
        makes_its_own = type(client._client).__name__ == "AsyncHttpxClientWrapper"  # noqa: SLF001
        if not makes_its_own or "@" in str(client.base_url):
            return llm
        copy: Any = llm.model_copy()
        copy._aclient = client.with_options(http_client=self._awaited)  # noqa: SLF001
        return copy

    @cached_property
    def _ssl(self) -> SSLContext:
        return httpx.create_ssl_context()

    @cached_property
    def _awaited(self) -> httpx.AsyncClient | None:
        """One client for all LLMs. None if there can be none: without aiohttp, a client works on one event loop only."""
        from openai import DefaultAsyncHttpxClient

        pools = self._pools()
        if pools is None:
            return None
        checked: Any = CheckedTransport(pools)
        client: Any = DefaultAsyncHttpxClient(transport=checked)
        client.connections = checked  # openai_client.py takes them from here
        return client

    def _pools(self) -> "_Pools | None":
        # httpx handles the environment's proxies once; aiohttp would look them up in a thread for every request.
        if _proxied() or not find_spec("httpx_aiohttp"):
            return None
        return _Pools(self._ssl, self._connections or 0)


def _needs_clients(llm: LLM) -> bool:
    """Whether an LLM is of OpenAI's class, has no clients yet, keeps those that it makes, and can be asked with aiohttp."""
    if not is_openai(llm) or any(getattr(llm, name, None) for name in _CLIENTS):
        return False
    # aiohttp takes no password in the URL together with a key.
    return getattr(llm, "reuse_client", True) and "@" not in str(getattr(llm, "api_base", None))


_CLIENTS = ("_client", "_aclient", "_http_client", "_async_http_client")
"""The fields in which LlamaIndex's OpenAI class keeps its clients."""


def _plain(llm: Any, blocking: httpx.Client, awaited: httpx.AsyncClient) -> tuple[Any, Any]:
    """The SDK's clients with plain completions, sync and async. None if the LLM's class makes clients of another kind."""
    if not _makes_plain_clients(llm):
        return None, None
    names = ("api_key", "max_retries", "timeout", "default_headers")
    settings = {"base_url": llm.api_base, **{name: getattr(llm, name) for name in names}}
    plain, async_plain = plain_clients()
    return (
        plain(http_client=blocking, **settings),
        async_plain(http_client=awaited, **settings),
    )


def _makes_plain_clients(llm: Any) -> bool:
    """Whether the LLM's class makes its clients as OpenAI's class does. Azure's, for example, does not."""
    from llama_index.llms.openai import OpenAI

    makers = ("_get_client", "_get_aclient", "_get_credential_kwargs")
    return all(getattr(llm.__class__, name, None) is getattr(OpenAI, name) for name in makers)


class _Pools(httpx.AsyncBaseTransport):
    """aiohttp's connections as a transport of httpx, with one pool for each event loop."""

    most_at_once = PIECE

    def __init__(self, ssl: SSLContext, connections: int) -> None:
        self._ssl, self._connections = ssl, connections
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = await self._of_this_loop()
        with _connect_errors():
            return await pool.transport.handle_async_request(await _in_pieces(request))

    async def post(
        self, url: str, headers: Mapping[str, str], content: bytes, timeout: Any
    ) -> tuple[Any, httpx.AsyncByteStream]:
        """Send a request without making an httpx request and response of it, which take a fifth of a call.

        Args:
            url: the address.
            headers: the headers.
            content: the body, not longer than ``most_at_once``.
            timeout: aiohttp's ``ClientTimeout``.

        Returns:
            aiohttp's response, and its body, unread.

        Raises:
            httpx.TransportError: there is no response.
        """
        from httpx_aiohttp import transport

        pool = await self._of_this_loop()
        try:
            response = await pool.session.post(
                url,
                headers=headers,
                data=content,
                timeout=timeout,
                allow_redirects=False,
                auto_decompress=False,
            )
        except Exception:
            # Only now: while a call is in flight, each of these would keep five objects.
            with _connect_errors(), transport.map_aiohttp_exceptions():
                raise
        return response, transport.AiohttpResponseStream(response)

    async def _of_this_loop(self) -> "_Pool":
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            self._forget_ended_loops()
            pool = self._pools[loop] = await self._opened(loop)
        return pool

    async def _opened(self, loop: asyncio.AbstractEventLoop) -> "_Pool":
        # A loop closes its async generators when it ends, and this generator closes the connections.
        life = _life(self._ssl, self._connections)
        closing = finalize(self, _end, loop, life)
        closing.atexit = False
        return _Pool(*await anext(life), life, closing)

    def _forget_ended_loops(self) -> None:
        for loop in [known for known in tuple(self._pools) if known.is_closed()]:
            pool = self._pools.pop(loop, None)  # None: another thread was faster
            if pool:
                pool.closing()

    async def aclose(self) -> None:
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool:
            pool.closing.detach()
            await pool.life.aclose()


@dataclass(frozen=True, slots=True)
class _Pool:
    """The connections of one loop. They close when ``life`` ends; ``closing`` ends it once nothing uses the pools."""

    session: Any
    transport: httpx.AsyncBaseTransport
    life: AsyncGenerator[Any, None]
    closing: "finalize[Any, Any]"


@contextmanager
def _connect_errors() -> Generator[None, None, None]:
    """Correct httpx-aiohttp, which raises ConnectTimeout for every connection that cannot be made."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        if isinstance(error.__cause__, asyncio.TimeoutError):
            raise
        raise httpx.ConnectError(str(error)) from error.__cause__


async def _life(
    ssl: SSLContext, connections: int
) -> AsyncGenerator[tuple[Any, httpx.AsyncBaseTransport], None]:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    connector = aiohttp.TCPConnector(limit=connections, ssl=ssl, keepalive_timeout=KEEP_ALIVE)
    cookies = aiohttp.DummyCookieJar()  # httpx has a jar of its own
    session = aiohttp.ClientSession(connector=connector, cookie_jar=cookies)
    try:
        yield session, AiohttpTransport(verify=ssl, client=session)
    finally:
        await session.close()


def _end(loop: asyncio.AbstractEventLoop, life: AsyncGenerator[Any, None]) -> None:
    try:
        loop.call_soon_threadsafe(lambda: loop.create_task(life.aclose()))
    except RuntimeError:  # the loop has ended, perhaps without closing its generators
        with suppress(StopIteration):
            life.aclose().send(None)


async def _in_pieces(request: httpx.Request) -> httpx.Request:
    """Split a large body into pieces. aiohttp writes each piece at once, and other tasks run in between."""
    if len(await request.aread()) <= PIECE:  # a request after a redirection must be read first
        return request
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=_Pieces(request.content),
        extensions=request.extensions,
    )


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._content), PIECE):
            yield self._content[at : at + PIECE]
