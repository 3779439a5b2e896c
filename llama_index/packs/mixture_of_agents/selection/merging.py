"""Selections that write: a synthesis, an analysis, the changes since the layer before."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._checks import whole
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe import Agent, Arriving, Outlook, Selected, Step

from . import judge_prompts
from .verdicts import Judged, as_agent, as_judge, briefing, lacking, object_in

_FINDINGS = {
    "consensus": "What the responses agree on",
    "contradictions": "Where they disagree",
    "partial_coverage": "What only some of them cover",
    "unique_insights": "What only one of them has seen",
    "blind_spots": "What none of them addresses",
}


@dataclass(frozen=True, slots=True)
class Fold:
    """Folds many proposals into one window: the first ones become one synthesis, which begins the next window.

    Self-MoA-Seq (arXiv 2502.00674): a sliding window over the samples, so that the context window does not limit their
    number. The last window is passed on to the aggregator, whose answer is the last synthesis.

    Attributes:
        agent: the LLM that writes the syntheses, with the recipe's aggregate-and-synthesize prompt.
        window: the number of proposals that it reads at once.
    """

    agent: Agent | LLM
    window: int = 6

    def __post_init__(self) -> None:
        whole("Fold", 2, window=self.window)
        object.__setattr__(self, "agent", as_agent(self.agent))

    async def __call__(self, step: Step) -> Selected:
        left = step.proposals
        while len(left) > self.window:
            agent = as_agent(self.agent)
            synthesis = await step.ask(agent, step.with_references(left[: self.window]))
            if not synthesis:
                return Selected(left, degraded=lacking(step, agent, "synthesis"))
            left = (synthesis[0], *left[self.window :])
        return Selected(left)

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        folds = max(0, -((self.window - arriving.count) // (self.window - 1)))
        left = arriving.count - folds * (self.window - 1)
        return Outlook(left, ((as_agent(self.agent),),) * folds, reads=self.window, writes=True)


@dataclass(frozen=True, slots=True)
class Analysis(Judged):
    """All, with a judge's analysis behind them: consensus, contradictions, coverage, insights, blind spots.

    After OpenRouter's Fusion (openrouter.ai/docs/guides/routing/routers/fusion-router). The analysis is a note of
    the result, with the topic "analysis": a list of sentences under each of those five names.

    Attributes:
        judge: the LLM that compares the responses; it does not merge them.
        prompt: its instructions.
    """

    prompt: str = judge_prompts.ANALYSIS

    async def __call__(self, step: Step) -> Selected:
        if not step.proposals:
            return Selected(step.proposals)
        verdict = await self.verdict(step, briefing(self.prompt, step, step.proposals))
        found = object_in(verdict, *_FINDINGS)
        if found is None:
            return Selected(step.proposals, degraded=self.unread(step, "analysis"))
        note = {name: _sentences(found.get(name)) for name in _FINDINGS}
        return Selected(step.proposals, topic="analysis", note=note, addition=_report(note))

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        rounds = ((self.agent,),) if arriving.count else ()
        return Outlook(arriving.count, rounds, adds=True)


def _sentences(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found] if found else []  # type: ignore[reportUnknownVariableType]


def _report(note: Mapping[str, list[Any]]) -> str:
    parts = [
        "\n".join([f"{heading}:", *(f"- {sentence}" for sentence in note[name])])
        for name, heading in _FINDINGS.items()
        if note[name]
    ]
    return "\n\n".join(["An analysis of these responses:", *parts])


@dataclass(frozen=True, slots=True)
class Residuals:
    """The proposals of the layer before, followed by what has changed since; no change ends the layers.

    RMoA (arXiv 2505.24442), residual extraction and adaptive termination. The first layer passes on its proposals as
    they are. Each later layer passes on the proposals of the layer before and the residual.

    Attributes:
        extractor: the LLM that finds the changes.
        patience: the number of layers in a row without a change that end the layers.
        prompt: its instructions; it replies "NO UPDATE" where nothing has changed.
    """

    extractor: Agent | LLM
    patience: int = 1
    prompt: str = judge_prompts.RESIDUALS

    def __post_init__(self) -> None:
        whole("Residuals", 1, patience=self.patience)
        object.__setattr__(self, "extractor", as_judge(self.extractor))

    async def __call__(self, step: Step) -> Selected:
        before: tuple[Proposal, ...] = step.memory.get(f"residuals.{step.layer - 1}", ())
        step.memory[f"residuals.{step.layer}"] = step.proposals
        if not before or not step.proposals:
            return Selected(step.proposals)
        extractor = Judged(self.extractor)
        read = briefing(self.prompt, step, before, latest=step.proposals)
        residual = await extractor.verdict(step, read)
        if not residual:
            return Selected(step.proposals, degraded=lacking(step, extractor.agent, "residual"))
        return self._decide(step, before, residual)

    def _decide(self, step: Step, before: tuple[Proposal, ...], residual: str) -> Selected:
        words = re.findall(r"\w+", residual.lower())
        changed = words != ["no", "update"]
        quiet = 0 if changed else step.memory.get("residuals.quiet", 0) + 1
        step.memory["residuals.quiet"] = quiet
        note = {"changed": changed, "residual": residual if changed else ""}
        addition = f"What a further round of responses changed:\n{residual}" if changed else ""
        return Selected(
            before, quiet >= self.patience, topic="residuals", note=note, addition=addition
        )

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        rounds = ((as_judge(self.extractor),),) if arriving.layer > 1 else ()
        most = max(arriving.count, arriving.before)
        return Outlook(most, rounds, adaptive=True, reads=2 * most, adds=True)
