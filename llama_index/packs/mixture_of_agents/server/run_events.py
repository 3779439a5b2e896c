"""The events of a run, as a trace file holds them: sent while they happen, or all together at the end."""

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from llama_index.packs.mixture_of_agents.events import AnswerDelta, CallFinished, Event, RunStarted
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.pricing import cost_of_call
from llama_index.packs.mixture_of_agents.result import MixtureResult, event_data

from .call_pieces import CallPiece
from .error_bodies import Problem, Refused, invalid
from .served_model import Answer, Model, Show


class SavedRun(BaseModel):
    """A run as a line of a trace file."""

    format: str
    answer: str
    answered_by: str
    error: str
    degraded: list[str]
    elapsed: float
    usage: dict[str, Any]
    cost: dict[str, Any]
    events: list[dict[str, Any]]


@dataclass(slots=True)
class RunWriter:
    """Writes the events of one run.

    The pieces of the answer's text are events too (``answer_delta``), so the stream has them in their place among the
    others, and ``piece`` writes nothing.

    Attributes:
        recipes: whether the first event holds the recipe, without keys, so that the saved run can be replayed.
        id: the id of the response.
    """

    recipes: bool = False
    id: str = field(default_factory=lambda: f"run-{uuid.uuid4().hex}")
    _recipe: dict[str, Any] | None = field(default=None, init=False)

    def watch(self, model: Model) -> Show:
        """What writes the events of this model's run.

        Raises:
            Refused: The model is not a mixture, so its answer has no layers.
        """
        if not isinstance(model.llm, MixtureOfAgents):
            raise Refused(invalid(f"the model {model.name} is not a mixture", "model"))
        self._recipe = model.llm.to_dict()["recipe"] if self.recipes else None
        return self._data

    def whole(self, answer: Answer) -> bytes:
        """The whole run, as a line of a trace file."""
        assert answer.result
        events = tuple(self._complete(event) for event in answer.result.events)
        return MixtureResult(events).to_json().encode("utf-8", "replace")

    def begin(self) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:  # noqa: ARG002
        return b""

    def thought(self, text: str) -> bytes:
        """One event."""
        return f"data: {text}\n\n".encode()

    def call(self, piece: CallPiece) -> bytes:  # noqa: ARG002
        return b""

    def end(self, answer: Answer) -> bytes:  # noqa: ARG002
        return b""

    def failed(self, problem: Problem) -> bytes:
        """The event that ends a stream without an answer."""
        return b"data: " + json.dumps({"kind": "error", **problem.body}).encode() + b"\n\n"

    def _data(self, run: RunStarted, event: Event) -> str:
        data: dict[str, Any]
        if isinstance(event, AnswerDelta):
            data = {"text": event.text, "at": event.at, "kind": event.kind}
        else:
            data = event_data(self._complete(event))
        if isinstance(event, CallFinished):
            usd = cost_of_call(event, run).usd
            data["cost_usd"] = None if usd is None else float(usd)
        return json.dumps(data)

    def _complete(self, event: Event) -> Event:
        return replace(event, recipe=self._recipe) if isinstance(event, RunStarted) else event
