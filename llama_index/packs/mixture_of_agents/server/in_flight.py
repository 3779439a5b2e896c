"""Runs under way: their number is bounded, and each ends when its client leaves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from starlette.types import Receive

from llama_index.packs.mixture_of_agents._concurrency.buffer import Buffer
from llama_index.packs.mixture_of_agents._concurrency.tasks import stop
from llama_index.packs.mixture_of_agents.pricing import Cost

from .api_keys import Charge
from .call_pieces import CallPiece
from .error_bodies import ENDING, Problem, Refused, problem_of
from .metrics import Metrics
from .served_model import Answer, Model, Question

CLIENT_LEFT = Problem(499, "The client has left.", "client_closed_request")
"""Nobody receives it; the metrics count nginx's status for that."""
NO_ANSWER = Problem(502, "The model's call was given up, and not by this server.", "upstream_error")


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of what the layers of a mixture do, as the question's ``show`` writes it."""

    text: str


Piece: TypeAlias = str | CallPiece | Thought
"""A piece of a stream: of the answer's text, of a tool call, or of what happens before the answer."""


class Run:
    """One question that is being answered, in a task of its own.

    Args:
        model: the model.
        question: the question.
        stream: whether the answer is streamed.
        metrics: counts the run.
        charge: takes what each call has cost.
    """

    def __init__(
        self, model: Model, question: Question, metrics: Metrics, *, stream: bool, charge: Charge | None = None
    ) -> None:  # fmt: skip
        self._model, self._metrics = model, metrics
        self._pieces: Buffer[Piece | None] = Buffer()
        self._cut: Problem | None = None
        self._began = metrics.began(model.name)
        on_piece, show = (self._put, self._show) if stream else (None, None)
        asked = model.answer(question, on_piece, show, charge)
        self.task = asyncio.ensure_future(asked)
        self.task.add_done_callback(self._end)

    async def settled(self, receive: Receive, patience: float | None = None) -> None:
        """Wait until the run is over, or until its stream can begin.

        Args:
            receive: receives the client's messages. If the client leaves, the run is stopped.
            patience: seconds after which a stream begins even without a first piece; None for a whole answer.

        Raises:
            Refused: The client has left.
        """
        left = asyncio.ensure_future(_disconnected(receive))
        first = asyncio.ensure_future(
            self._pieces.filled() if patience else asyncio.wait({self.task})
        )
        try:
            await asyncio.wait({left, first}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            gone = left.done() and not self.task.done()
        except asyncio.CancelledError:
            await self.stop()
            raise
        finally:
            await stop([left, first])
        if gone:
            await self.stop()
            raise Refused(CLIENT_LEFT)

    async def pieces(self) -> AsyncIterator[Sequence[Piece]]:
        """Yields the pieces of the answer, all that are there at once, until the run ends."""
        going = True
        while going:
            there = await self._pieces.get_all()
            yield [piece for piece in there if piece is not None]
            going = None not in there

    def result(self) -> Answer:
        """The answer of a run that is over.

        Raises:
            Refused: The run was cut short, or ended without an answer or an error.
            RunError: A mixture has no answer.
            LLMFailed: Another LLM has none.
        """
        if self.task.cancelled():
            raise Refused(self._cut or NO_ANSWER)
        error = self.task.exception()
        if error is not None and not isinstance(error, Exception):
            raise Refused(NO_ANSWER) from error  # it would end more than this run
        return self.task.result()

    def cut(self) -> None:
        """Cancel the run because the server ends. Its client receives ``ENDING``."""
        self._cut = ENDING
        self.task.cancel()

    async def stop(self) -> None:
        """Cancel the run because its client has left, and wait until all its requests have ended."""
        self._cut = self._cut or CLIENT_LEFT
        await stop([self.task])

    def _show(self, text: str) -> None:
        self._pieces.put(Thought(text))

    async def _put(self, piece: str | CallPiece) -> None:
        self._pieces.put(piece)
        await self._pieces.room()

    def _end(self, _: object) -> None:
        self._pieces.put(None)
        status, answer = 200, None
        try:
            answer = self.result()
        except Exception as error:  # noqa: BLE001 - the request that waits for the run raises it
            status = problem_of(error).status
        used = (answer.usage, answer.cost) if answer else (None, Cost())
        self._metrics.ended(self._model.name, self._began, status, *used)


class UnderWay(Protocol):
    """A run that can be cancelled because the server ends."""

    def cut(self) -> None: ...


class Runs:
    """All runs of a server.

    Args:
        metrics: counts the runs.
        most: the number of runs that may be under way at once; None for no bound.

    Attributes:
        ending: whether the server ends, so that no run may begin.
    """

    def __init__(self, metrics: Metrics, most: int | None) -> None:
        self._metrics, self._most = metrics, most
        self._under_way: set[UnderWay] = set()
        self.ending = self._draining = False

    def share(self, place: int, workers: int) -> None:
        """Take the share of one of several workers in the number of runs that may be under way."""
        if self._most is not None:
            self._most = self._most // workers + (place < self._most % workers)

    def drain(self) -> None:
        """Say that the server ends soon: it still answers, but a load balancer should send it nothing new."""
        self._draining = True

    def check_ready(self) -> None:
        """Check that another run could begin.

        Raises:
            Refused: The server ends, or is full.
        """
        if self.ending or self._draining:
            raise Refused(ENDING)
        if self._is_full:
            raise Refused(Problem(503, "As many runs are under way as there may be.", "busy"))

    @property
    def _is_full(self) -> bool:
        return self._most is not None and len(self._under_way) >= self._most

    def check_room(self) -> None:
        """Check that a run may begin, which ``check_ready`` refuses as soon as the server is about to end.

        Raises:
            Refused: As many runs are under way as there may be, or the server ends.
        """
        if self.ending:
            raise Refused(ENDING)
        if self._is_full:
            problem = f"{self._most} runs are under way, as many as there may be at once; ask again in a moment"
            raise Refused(
                Problem(429, problem, "rate_limit_exceeded", headers={"Retry-After": "1"})
            )

    def begin(
        self, model: Model, question: Question, *, stream: bool, charge: Charge | None = None
    ) -> Run:
        """Ask a model. ``charge`` takes what each call has cost.

        Raises:
            Refused: As many runs are under way as there may be, or the server ends.
        """
        self.check_room()
        run = Run(model, question, self._metrics, stream=stream, charge=charge)
        self.add(run)
        run.task.add_done_callback(lambda _: self.discard(run))
        return run

    def add(self, run: UnderWay) -> None:
        """Count a run that has begun."""
        self._under_way.add(run)

    def discard(self, run: UnderWay) -> None:
        """Count it no more: it has ended."""
        self._under_way.discard(run)

    def reopen(self) -> None:
        """Let runs begin again: the application may be served once more."""
        self.ending = self._draining = False

    def cut(self) -> None:
        """Cancel all runs because the server ends, and let none begin."""
        self.ending = True
        for run in tuple(self._under_way):
            run.cut()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
