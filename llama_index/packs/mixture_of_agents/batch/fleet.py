"""Workers of a Ray cluster that ask the questions of a batch; needs the extra ``ray``.

The questions go through Ray Data in small blocks. Each worker is an actor that holds the LLM. The answers return to the
process that writes the files: one that began without a cluster can go on with one, and the other way round. What a node
had not handed over when it was lost is asked again, alone.

Ray Data's own checkpoints are not used: there a question that failed counts as done.
"""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from importlib import import_module
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread, iterate_in_thread
from llama_index.packs.mixture_of_agents._providers.facts import model_name, secrets
from llama_index.packs.mixture_of_agents._providers.pickling import packed, unpacked
from llama_index.packs.mixture_of_agents.errors import BatchError

from .asker import Asker
from .flow import IN_FLIGHT
from .outcomes import Answer
from .question import Question
from .route import members_of

_BLOCK = 8
"""Questions that a worker receives together."""
_TOGETHER = 50_000
"""Questions that Ray receives together. The workers start again for the next ones."""
_PAUSE = 1.0
"""Seconds: if no further question comes for so long, those that are there are asked."""
_TRIES = 3
"""How often in a row the cluster may fail without one answer."""
_START = 120.0
"""Seconds that the nodes are given to say whether they can ask the LLM."""


class Fleet:
    """Workers of a Ray cluster: the connected one, the one that RAY_ADDRESS names, or a new one on this machine.

    Args:
        llm: The LLM. Each worker takes its keys from the environment of its node.
        settings: Keyword arguments of each worker's ``Asker``.
        in_flight: The largest number of questions that a worker asks at once.
        workers: The number of workers; None for one for each CPU of the cluster.

    Raises:
        BatchError: The LLM is of a class that cannot be sent to other processes.
        ImportError: Ray is not installed.
    """

    def __init__(
        self, llm: LLM, settings: Mapping[str, Any], in_flight: int | None, workers: int | None
    ) -> None:
        self._ray = _ray()
        self._llm, self._workers, self._in_flight = llm, workers, in_flight or IN_FLIGHT
        try:
            self._packed = self._ray.cloudpickle.dumps((packed(llm), dict(settings)))
        except Exception as error:  # noqa: BLE001 - a class of the user's own may raise anything
            problem = f"{model_name(llm)} cannot be sent to the workers of a cluster ({error!r})"
            raise BatchError(problem) from None
        self._switch: Any = None

    async def answers(
        self, questions: AsyncGenerator[Question, None]
    ) -> AsyncGenerator[Answer, None]:
        """Yield an answer for each question, in the order in which they come.

        If this is closed, the questions in flight are still answered, but no others are asked.

        Args:
            questions: The questions. The iterator is closed at the end.

        Raises:
            BatchError: A node cannot ask the LLM, or the cluster fails time after time.
        """
        await in_thread(self._begin)
        try:
            async with aclosing(_together(questions)) as parts:
                async for part in parts:
                    async with aclosing(self._answers_to(part)) as coming:
                        async for answer in coming:
                            yield answer
        finally:
            self.stop()

    def stop(self) -> None:
        """Ask nothing more. The questions in flight are answered."""
        if self._switch is not None:
            self._switch.turn_off.remote()

    def _begin(self) -> None:
        """Connect to the cluster, and see whether its nodes can ask the LLM."""
        ray = self._ray
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="WARNING")
        self._switch = (
            ray.remote(num_cpus=0)(Switch).options(scheduling_strategy=_on_this_node(ray)).remote()
        )
        keys = [bool(secrets(one)) for one in members_of(self._llm)]
        look = ray.remote(num_cpus=0, max_retries=0)(keys_found)
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        found = [
            look.options(scheduling_strategy=_on(node["NodeID"])).remote(self._packed)
            for node in nodes
        ]
        for node, ref in zip(nodes, found, strict=True):
            name = f"the node {node['NodeManagerHostname']} of the cluster"
            try:
                there = ray.get(ref, timeout=_START)
            except ray.exceptions.TaskUnschedulableError:
                continue  # it has left the cluster, so nothing is asked there
            except Exception as error:  # noqa: BLE001 - loading an LLM may raise anything
                raise BatchError(f"{name} cannot ask the LLM: {_cause(error)}") from None
            self._compare(name, keys, there)

    def _compare(self, name: str, here: Sequence[bool], there: Sequence[bool]) -> None:
        members = members_of(self._llm)
        lacking = {
            model_name(one)
            for one, own, other in zip(members, here, there, strict=True)
            if own > other
        }
        if lacking:
            models = ", ".join(sorted(lacking))
            problem = f"{name} has no key for {models}; set it in the environment of every node"
            raise BatchError(f"{problem}: keys are never sent to a cluster")

    async def _answers_to(self, questions: Sequence[Question]) -> AsyncGenerator[Answer, None]:
        """Each question's answer, once. If the cluster fails, what is left is asked again."""
        left, failures = {question.id: question for question in questions}, 0
        while left:
            before = len(left)
            try:
                async with aclosing(
                    iterate_in_thread(partial(self._ask, list(left.values())))
                ) as found:
                    async for answer in found:
                        if left.pop(answer.question.id, None):
                            yield answer
            except self._ray.exceptions.RayError as error:
                failures = failures + 1 if len(left) == before else 0
                if failures >= _TRIES:
                    raise BatchError(f"the Ray cluster fails: {_cause(error)}") from None
            else:
                break  # what is left was not asked, since the switch is off

    def _ask(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Ask by way of Ray Data; run in a thread."""
        data, pa = self._ray.data, import_module("pyarrow")
        data.DataContext.get_current().enable_progress_bars = False
        blocks = [
            pa.table({"question": [pickle.dumps(one) for one in questions[at : at + _BLOCK]]})
            for at in range(0, len(questions), _BLOCK)
        ]
        size = self._workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        pool = data.ActorPoolStrategy(
            size=min(size, len(blocks)),
            # twice as many, so that a slow question of a block leaves no place empty
            max_concurrent_calls_per_actor=max(2, 2 * self._in_flight // _BLOCK),
        )
        asked = data.from_arrow(blocks).map_batches(
            Worker,
            batch_size=_BLOCK,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=1,
            fn_constructor_args=(self._packed, self._in_flight, self._switch),
        )
        for batch in asked.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        ):
            for answer in batch.column("answer").to_pylist():
                yield pickle.loads(answer)  # noqa: S301 - a worker of ours made it


class Worker:
    """An actor that asks the questions of blocks.

    Args:
        content: The LLM and the settings of the asker, pickled.
        in_flight: The largest number of questions asked at once.
        switch: Tells whether to ask.
    """

    def __init__(self, content: bytes, in_flight: int, switch: Any) -> None:
        llm, settings = _unpacked(content)
        self._asker, self._switch = Asker(llm, **settings), switch
        self._room = asyncio.Semaphore(in_flight)

    async def __call__(self, batch: Any) -> Any:
        """Answer the questions of a block; none once the switch is off."""
        pa = import_module("pyarrow")
        questions: Iterable[bytes] = batch.column("question").to_pylist()
        found = await asyncio.gather(*(self._answer(one) for one in questions))
        return pa.table({"answer": pa.array([one for one in found if one], pa.binary())})

    async def _answer(self, question: bytes) -> bytes | None:
        async with self._room:
            if not await self._switch.is_on.remote():
                return None
            return pickle.dumps(await self._asker.ask(pickle.loads(question)))  # noqa: S301 - as above


class Switch:
    """An actor that all workers ask whether to go on."""

    def __init__(self) -> None:
        self._is_on = True

    def is_on(self) -> bool:
        """Whether to go on."""
        return self._is_on

    def turn_off(self) -> None:
        """Make all workers stop."""
        self._is_on = False


def keys_found(content: bytes) -> list[bool]:
    """Whether this process has a key for each member of a packed LLM."""
    return [bool(secrets(one)) for one in members_of(_unpacked(content)[0])]


def _unpacked(content: bytes) -> tuple[LLM, dict[str, Any]]:
    llm, settings = pickle.loads(content)  # noqa: S301 - the process that runs the batch made it
    return unpacked(llm), settings


async def _together(
    questions: AsyncGenerator[Question, None],
) -> AsyncGenerator[list[Question], None]:
    """Lists of the questions that come without a pause between them."""
    upcoming = asyncio.ensure_future(anext(questions, None))
    try:
        while (question := await upcoming) is not None:
            some = [question]
            while True:
                upcoming = asyncio.ensure_future(anext(questions, None))
                await asyncio.wait({upcoming}, timeout=_PAUSE)
                if len(some) == _TOGETHER or not upcoming.done():
                    break
                if upcoming.exception() or (question := upcoming.result()) is None:
                    break
                some.append(question)
            yield some
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        await questions.aclose()


def _on(node: str) -> Any:
    strategies = import_module("ray.util.scheduling_strategies")
    return strategies.NodeAffinitySchedulingStrategy(node, soft=False)


def _on_this_node(ray: Any) -> Any:
    return _on(ray.get_runtime_context().get_node_id())


def _cause(error: Exception) -> str:
    """The last line of an error of Ray's, which says what was raised on the node."""
    return str(getattr(error, "cause", None) or error).strip().splitlines()[-1]


def _ray() -> Any:
    try:
        import_module("ray.data")
    except ImportError as error:
        pip = 'pip install "llama-index-packs-mixture-of-agents[ray]"'
        raise ImportError(f"the workers of a cluster are Ray's: {pip}") from error
    return import_module("ray")
