"""``/mcp``: tools of the Model Context Protocol over streamable HTTP, by the official SDK. Its runs count as all others.

https://modelcontextprotocol.io/specification/2025-06-18/basic/transports
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import Any, TypeAlias

import anyio
from sse_starlette.sse import AppStatus
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from llama_index.packs.mixture_of_agents.events import CallFinished, Event, RunStarted, Usage
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import Cost, cost_of_call

from .api_keys import Allowance, Charge
from .error_bodies import Problem, Refused, body_at
from .in_flight import Runs
from .metrics import Metrics

PATH = "/mcp"
Admit: TypeAlias = Callable[
    [Any, str, MixtureOfAgents], AbstractAsyncContextManager[MixtureOfAgents]
]
MakeMcp: TypeAlias = Callable[[Admit], Any]
"""Makes a server of the official SDK. Each run of a mixture takes place within what it is given."""


class McpDoor:
    """The ASGI application at ``/mcp``.

    It answers POST and DELETE only: a stream of messages that belong to no request would have nothing to say.

    Args:
        make: Makes the MCP server, at the first request: importing the SDK takes half a second.
        runs: Counts the runs and bounds their number.
        metrics: Counts the runs.
        origins: Origins of web pages whose scripts may ask; "*" for all.
        allowance: Says whether a key may ask now.

    Attributes:
        stateless: Whether no session is kept between requests, which other processes may answer.
    """

    def __init__(
        self, make: MakeMcp, runs: Runs, metrics: Metrics, origins: Collection[str], allowance: Allowance
    ) -> None:  # fmt: skip
        self._allowance = allowance
        self._make, self._runs, self._metrics, self._origins = make, runs, metrics, origins
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[Any] | None = None
        self._host_task: asyncio.Task[None] | None = None
        self.stateless = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin")
        if origin is not None and not {origin, "*"} & set(self._origins):
            # A page of another site that has given its own name this machine's address.
            problem = Problem(403, f"Pages of {origin[:100]} may not ask here.", "forbidden_origin")
            await JSONResponse(body_at(PATH, problem), 403)(scope, receive, send)
            return
        visits = scope.setdefault("state", {})["visits"] = set[Visit]()

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                for visit in tuple(visits):
                    visit.cut()
            return message

        manager = await self._manager()
        await manager.handle_request(scope, watched, send)

    async def _manager(self) -> Any:
        """The SDK's session manager of this event loop."""
        loop = asyncio.get_running_loop()
        if self._opened is None or self._loop is not loop:
            self._loop, self._opened = loop, loop.create_future()
            self._host_task = loop.create_task(self._host(self._opened))
        return await asyncio.shield(self._opened)

    async def _host(self, opened: "asyncio.Future[Any]") -> None:
        """Run a session manager until the event loop ends."""
        try:
            manager = await asyncio.to_thread(self._new_manager)
            # Streams of runs end with their runs, and the server decides when these end.
            AppStatus.disable_automatic_graceful_drain()
            async with manager.run():
                opened.set_result(manager)
                await asyncio.Event().wait()
        except Exception as error:
            if opened.done():
                raise
            self._opened = None
            opened.set_exception(error)

    def _new_manager(self) -> Any:
        sdk = import_module("mcp.server.streamable_http_manager")
        server = self._make(self._admit)
        return sdk.StreamableHTTPSessionManager(server, stateless=self.stateless)

    @asynccontextmanager
    async def _admit(
        self, request: Any, name: str, mixture: MixtureOfAgents
    ) -> AsyncGenerator[MixtureOfAgents, None]:
        """Surround a run: it is counted, and ends when its client leaves or the server ends."""
        from mcp.shared.exceptions import MCPError
        from mcp.types import INTERNAL_ERROR

        state = request.request.scope["state"]
        try:
            self._runs.check_room()
            charge = await self._allowance.admit(state)
        except Refused as refused:
            raise MCPError(INTERNAL_ERROR, refused.problem.message) from None
        visit = Visit(self._metrics, name, charge)
        state["visits"].add(visit)
        self._runs.add(visit)
        try:
            with visit.scope:
                yield visit.watch(mixture)
                visit.status = 200
        finally:
            self._runs.discard(visit)
            state["visits"].discard(visit)
            visit.end()
        if visit.scope.cancelled_caught:
            raise MCPError(INTERNAL_ERROR, "The server is ending, or the client has left.")


class Visit:
    """A run that a tool makes.

    Args:
        metrics: Counts it.
        name: The mixture's name.
        charge: Takes what each call has cost.

    Attributes:
        scope: What takes place within it is cancelled with it.
        status: The HTTP status that such a run of another API would have.
    """

    def __init__(self, metrics: Metrics, name: str, charge: Charge | None) -> None:
        self._metrics, self._name, self._charge = metrics, name, charge
        self._began = metrics.began(name)
        self._usage, self._cost = Usage(), Cost()
        self.scope, self.status = anyio.CancelScope(), 500

    def cut(self) -> None:
        """Cancel the run."""
        self.status = 499
        self.scope.cancel()

    def watch(self, mixture: MixtureOfAgents) -> MixtureOfAgents:
        """A copy of the mixture whose calls are counted."""
        copy = mixture.model_copy()
        copy.listen(self._count)
        return copy

    def end(self) -> None:
        """Count the end of the run."""
        self._metrics.ended(self._name, self._began, self.status, self._usage, self._cost)

    def _count(self, run: RunStarted, event: Event) -> None:
        if not isinstance(event, CallFinished):
            return
        cost = cost_of_call(event, run)
        self._usage, self._cost = self._usage + event.usage, self._cost + cost
        if self._charge:
            self._charge(cost)
