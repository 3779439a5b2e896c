"""Trace files: runs written as JSON lines, and mixtures that answer from such a file without a network, key or cost."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents._engine.calls import Caller, Outcome
from llama_index.packs.mixture_of_agents._engine.playback import answer_again
from llama_index.packs.mixture_of_agents._engine.request import Request, RunState

from .errors import ReplayMiss
from .events import AnswerDelta, CallFinished, CallStarted, Event, RunFinished, RunStarted
from .llm import MixtureOfAgents, as_mixture
from .recipe import Recipe
from .result import MixtureResult, saved_runs

_Key = tuple[int, str, str]
"""Layer, role, agent."""


def replay(mixture: Any, path: str | Path, run: int | str | None = None) -> MixtureOfAgents:
    """The same mixture, with every call answered from a trace file.

    A run is found by its conversation (every message, and the tools offered), a call by its layer, role and agent;
    a question that was asked several times is answered as it was then, one time after the other, the last one again
    and again. Failures are replayed as well. Calls are marked ``replayed``: their tokens are those of the file, they
    make no request and cost nothing, and times are those of the replay.

    Args:
        mixture: A ``MixtureOfAgents``, a pack or a recipe.
        path: A file that ``trace_to`` wrote.
        run: One run of the file, by its place or its ``run_id`` as in ``MixtureResult.load``: it then answers every
            question. None to find a run by its conversation.

    Returns:
        A mixture whose runs raise ``ReplayMiss`` where the file lacks a call that they make.

    Raises:
        ValueError: The file is not a trace file, or has no such run.
        OSError: The file cannot be read.
    """
    llm = as_mixture(mixture)
    runs = saved_runs(path) if run is None else [MixtureResult.load(path, run)]
    return llm.with_caller(ReplayCaller(llm.recipe, runs, str(path), any_question=run is not None))


class ReplayCaller(Caller):
    """Answers calls from the runs of a trace file.

    Args:
        recipe: The recipe.
        runs: The runs.
        name: The file's name, for errors.
        any_question: Whether the runs answer every conversation, not only their own.
    """

    def __init__(
        self,
        recipe: Recipe,
        runs: Sequence[MixtureResult],
        name: str,
        *,
        any_question: bool = False,
    ) -> None:
        super().__init__(recipe)
        self._name, self._any_question = name, any_question
        self._runs: defaultdict[str, list[MixtureResult]] = defaultdict(list)
        for run in runs:
            self._runs["" if any_question else run.run.conversation].append(run)
        self._asked: Counter[str] = Counter()

    async def make(self, request: Request, run: RunState, number: int) -> Outcome:
        """Repeat the recorded outcome of a call, with the times of this run.

        Args:
            request: The call to make.
            run: The state of its run.
            number: The call's number in the run.

        Returns:
            The event of the call's end, and the LLM's response if there is one.

        Raises:
            ReplayMiss: the file lacks the call.
        """
        recorded, before = self._recorded(run)
        begun = run.now()
        found = self._found(request, recorded, before)
        who = found.agent, found.role, found.model, found.provider
        run.emit(CallStarted(number, request.layer, *who, begun))
        response = None
        if found.failure is None:
            ours = recorded.answered_by == found.agent and found.role == "aggregator"
            response = await answer_again(
                request, found.proposals, recorded.message if ours else None
            )
        first = begun if found.first_token is not None and request.on_chunk else None
        finished = replace(
            found, call=number, started=begun, ended=run.now(), first_token=first,
            usage=replace(found.usage, requests=0), replayed=True,
        )  # fmt: skip
        run.emit(finished)
        return finished, response

    def _recorded(self, run: RunState) -> tuple[MixtureResult, Counter[_Key]]:
        """The recorded run that this run repeats, and the number of calls that it has made to each agent."""
        if "replay" not in run.notes:
            assert run.start
            conversation = "" if self._any_question else run.start.conversation
            runs = self._runs.get(conversation)
            if not runs:
                asked = ", ".join(
                    sorted({repr(one.question) for many in self._runs.values() for one in many})
                )
                raise ReplayMiss(
                    f"{self._name} holds no run of this conversation: {run.start.question!r} "
                    f"(it holds: {asked or 'nothing'})"
                )
            place = min(self._asked[conversation], len(runs) - 1)
            self._asked[conversation] += 1
            run.notes["replay"] = runs[place], Counter[_Key]()
        return run.notes["replay"]

    def _found(
        self, request: Request, recorded: MixtureResult, before: Counter[_Key]
    ) -> CallFinished:
        key = request.layer, request.role, request.agent.name
        calls = [call for call in recorded.calls if (call.layer, call.role, call.agent) == key]
        if before[key] >= len(calls):
            again = f" for the {before[key] + 1}. time" if before[key] else ""
            raise ReplayMiss(
                f"{self._name} lacks a call: {request.role} {request.agent.name!r} in layer {request.layer}{again}, "
                f"in run {recorded.run_id} about {recorded.question!r}"
            )
        before[key] += 1
        return calls[before[key] - 1]


class TraceFile:
    """A listener that appends every run to a file when it ends, however it ends.

    Several threads and processes may write to one file: a line is one write to a file opened for appending.

    Args:
        path: The file.
        recipe: The recipe as data, kept with each run; None to keep none.
    """

    def __init__(self, path: str | Path, recipe: Mapping[str, Any] | None = None) -> None:
        self.path, self.recipe = Path(path), recipe
        self._runs: dict[str, list[Event]] = {}
        self._append(
            b""
        )  # a path that cannot be written to raises now, not after the first paid run

    def __call__(self, run: RunStarted, event: Event) -> None:
        if isinstance(event, AnswerDelta):
            return
        events = self._runs.setdefault(run.run_id, [])
        events.append(event)
        if isinstance(event, RunFinished):
            result = MixtureResult(tuple(self._runs.pop(run.run_id)))
            result = result if self.recipe is None else with_recipe(result, self.recipe)
            self._append(f"{result.to_json()}\n".encode())

    def _append(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(line)

    def __repr__(self) -> str:
        return f"trace_to({os.fspath(self.path)!r})"


def with_recipe(result: MixtureResult, recipe: Mapping[str, Any]) -> MixtureResult:
    """A result that brings its recipe.

    Args:
        result: The result.
        recipe: The recipe as data, as ``config.to_data`` gives it.

    Returns:
        The same result, whose ``run.recipe`` is this recipe.
    """
    started = (
        replace(event, recipe=dict(recipe)) if isinstance(event, RunStarted) else event
        for event in result.events
    )
    return MixtureResult(tuple(started))


def trace_to(path: str | Path, recipe: Mapping[str, Any] | None = None) -> TraceFile:
    """A listener for ``MixtureOfAgents.listen`` that appends every run to a file.

    ``MixtureResult.load`` reads a run again, and ``replay`` answers from it without a network.

    Args:
        path: The file.
        recipe: The recipe as data (``config.to_data(mixture.recipe)``), kept with each run: ``moa replay`` then needs
            no other. None to keep none.

    Returns:
        The listener.

    Raises:
        OSError: The file cannot be written to.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents import MixtureOfAgents, moa
        from llama_index.packs.mixture_of_agents.replay import replay, trace_to

        llm = MixtureOfAgents(moa([OpenAI("gpt-4.1-mini")], OpenAI("gpt-4.1")))
        with llm.listen(trace_to("runs.jsonl")):
            answer = llm.complete("What is a generator?").text
        assert replay(llm, "runs.jsonl").complete("What is a generator?").text == answer
        ```
    """
    return TraceFile(path, recipe)
