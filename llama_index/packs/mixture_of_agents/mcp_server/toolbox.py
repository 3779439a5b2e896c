"""The tools at work: each takes its arguments from an MCP client and returns what the client shows."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
from llama_index.core.base.llms.types import ChatMessage
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from pydantic import BaseModel, ValidationError

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._engine.job import Finished
from llama_index.packs.mixture_of_agents._providers.redaction import redact
from llama_index.packs.mixture_of_agents.errors import RunError
from llama_index.packs.mixture_of_agents.events import CallFinished
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.result import MixtureResult

from .cost_bound import bound_of
from .tool_schema import (
    AskArguments,
    AskOutput,
    EstimateArguments,
    EstimateOutput,
    ListOutput,
    MixtureShown,
    NoArguments,
    ProposalShown,
    tools_for,
)

Request: TypeAlias = ServerRequestContext[Any, Any]
Use: TypeAlias = Callable[[Request, Any], Awaitable[CallToolResult]]
Admit: TypeAlias = Callable[
    [Request, str, MixtureOfAgents], AbstractAsyncContextManager[MixtureOfAgents]
]
"""Surrounds a run of a mixture, which has this name, and gives the mixture to ask. It raises an MCPError to refuse."""


@asynccontextmanager
async def _freely(
    _: Request, __: str, mixture: MixtureOfAgents
) -> AsyncGenerator[MixtureOfAgents, None]:
    yield mixture


def create_server(
    mixtures: Mapping[str, MixtureOfAgents], *, version: str = "", admit: Admit = _freely
) -> Server[Any]:
    """An MCP server with the tools ``ask``, ``estimate`` and ``list_mixtures``.

    Args:
        mixtures: the mixtures by the names that clients use; the first one is the default. Each keeps the budget of its
            own recipe (see ``bounded``), and the tool's description tells it.
        version: the version that the server tells its clients.
        admit: surrounds each run, such as a server's count of them.

    Returns:
        A server of the official SDK, for any of its transports.

    Raises:
        ValueError: there is not a mixture.
    """
    if not mixtures:
        raise ValueError("mixtures = {}: give at least one mixture")
    toolbox = Toolbox(mixtures, admit)
    return Server(
        "mixture-of-agents",
        version=version,
        on_list_tools=toolbox.describe,
        on_call_tool=toolbox.use,
    )


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client over standard input and output, until standard input ends.

    Args:
        server: the server.
    """
    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())


class Toolbox:
    """The tools for some mixtures.

    Args:
        mixtures: the mixtures by the names that clients use; the first one is the default.
        admit: surrounds each run.
    """

    def __init__(self, mixtures: Mapping[str, MixtureOfAgents], admit: Admit = _freely) -> None:
        self._mixtures, self._admit = dict(mixtures), admit
        self._tools: dict[str, tuple[type[NoArguments], Use]] = {
            "ask": (AskArguments, self.ask),
            "estimate": (EstimateArguments, self.estimate),
            "list_mixtures": (NoArguments, self.list_mixtures),
        }

    async def describe(self, _: Request, __: PaginatedRequestParams | None) -> ListToolsResult:
        """Answer ``tools/list``."""
        return ListToolsResult(tools=tools_for(self._mixtures))

    async def use(self, request: Request, params: CallToolRequestParams) -> CallToolResult:
        """Answer ``tools/call``. What the client's model can mend comes back as the tool's result.

        Raises:
            MCPError: there is no such tool.
        """
        if params.name not in self._tools:
            problem = f"there is no tool {params.name!r}, only {', '.join(self._tools)}"
            raise MCPError(INVALID_PARAMS, problem)
        kind, tool = self._tools[params.name]
        try:
            return await tool(request, kind.model_validate(params.arguments or {}))
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            return _failed("\n".join(wrong))
        except (UnknownMixtureError, RunError, MCPError) as error:
            return _failed(str(error))
        except Exception as error:  # noqa: BLE001 - the SDK would send its text, which may hold a key
            return _failed(redact(f"{type(error).__name__}: {error}"))

    async def ask(self, request: Request, given: AskArguments) -> CallToolResult:
        """Ask a mixture. Cancelling the request ends every call in flight."""
        name, mixture = self._find(given.mixture)
        async with self._admit(request, name, mixture) as admitted:
            result = await _asked(request, admitted, given.question)
        return _answered(name, result, given.proposals)

    async def estimate(self, _: Request, given: EstimateArguments) -> CallToolResult:
        """Say what a question would take."""
        name, mixture = self._find(given.mixture)
        estimate = await in_thread(partial(mixture.estimate, given.question))
        bound = bound_of(mixture.recipe)
        output = EstimateOutput(
            mixture=name,
            calls=estimate.number_of_calls,
            input_tokens=str(estimate.input_tokens),
            output_tokens=str(estimate.output_tokens),
            least_cost=str(estimate.least_cost),
            most_cost=str(estimate.most_cost or "any amount"),
            bound=bound,
        )
        return _done(output, f"{estimate}\n{bound}")

    async def list_mixtures(self, _: Request, __: NoArguments) -> CallToolResult:
        """List the mixtures."""
        shown = [
            MixtureShown(name=name, recipe=str(one.recipe), bound=bound_of(one.recipe))
            for name, one in self._mixtures.items()
        ]
        texts = (f"{one.name}: {one.bound}\n{one.recipe}" for one in shown)
        return _done(ListOutput(mixtures=shown), *texts)

    def _find(self, name: str) -> tuple[str, MixtureOfAgents]:
        """A mixture by its name, and the name.

        Raises:
            UnknownMixtureError: there is no such mixture.
        """
        found = name or next(iter(self._mixtures))
        if found not in self._mixtures:
            names = ", ".join(self._mixtures)
            raise UnknownMixtureError(f"mixture: there is no {name!r}, only {names}")
        return found, self._mixtures[found]


class UnknownMixtureError(Exception):
    """A client named a mixture that does not exist."""


async def _asked(request: Request, mixture: MixtureOfAgents, question: str) -> MixtureResult:
    """Ask a mixture, and report progress to the client."""
    estimate = await in_thread(partial(mixture.estimate, question))
    planned, ended = sum(not call.spare for call in estimate.calls), 0
    result = MixtureResult(())
    happening = mixture.happening([ChatMessage(content=question)])
    try:
        async for event in happening:
            if isinstance(event, CallFinished):
                ended += 1
                total = max(planned, ended)
                await request.session.report_progress(ended, total, _told(event))
            elif isinstance(event, Finished):
                result = event.result
    finally:
        # The SDK cancels again and again until its handler has ended; the calls are cancelled once.
        with anyio.CancelScope(shield=True):
            await happening.aclose()
    return result


def _told(call: CallFinished) -> str:
    """The end of a call in a line."""
    end = f"failed: {call.failure.kind.value}" if call.failure else "answered"
    return f"layer {call.layer}, {call.role} {call.agent}: {end} after {call.elapsed:.1f} s"


def _answered(name: str, result: MixtureResult, with_proposals: bool) -> CallToolResult:
    cost, proposals = result.cost, list[ProposalShown]()
    if with_proposals:
        proposals = [
            ProposalShown(layer=call.layer, agent=one.agent, model=one.model, text=one.text)
            for call in result.calls
            if call.role == "proposer"
            for one in call.proposals
        ]
    output = AskOutput(
        answer=result.answer,
        mixture=name,
        answered_by=result.answered_by,
        degraded=list(result.degraded),
        seconds=round(result.elapsed, 3),
        tokens=result.usage.total_tokens,
        cost=str(cost),
        usd=None if cost.usd is None else float(cost.usd),
        proposals=proposals,
    )
    degraded = [f"This answer is degraded: {'; '.join(result.degraded)}"] * bool(result.degraded)
    texts = (f"Proposal of {p.agent} in layer {p.layer}:\n\n{p.text}" for p in proposals)
    return _done(output, result.answer, *degraded, *texts)


def _done(output: BaseModel, *texts: str) -> CallToolResult:
    """A tool's result, as data and as texts for clients that show no data."""
    return CallToolResult(
        content=[TextContent(text=text) for text in texts], structured_content=output.model_dump()
    )


def _failed(problem: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=problem)], is_error=True)
