"""Selections with a judge: rank, rate, vote, pick, gate, and the ranking of peers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe import Agent, Arriving, Outlook, Selected, Step

from . import judge_prompts
from ._likeness import same_answers
from .verdicts import Judged, as_judge, briefing, number_in, order_in, truth_in


@dataclass(frozen=True, slots=True)
class Rank(Judged):
    """The k best, best first, by one comparison of all (arXiv 2406.04692, section 3.3, "LLM-Ranker").

    Attributes:
        judge: the LLM that ranks.
        k: how many are passed on.
        prompt: its instructions.
    """

    k: int = 1
    prompt: str = judge_prompts.RANK

    async def __call__(self, step: Step) -> Selected:
        if len(step.proposals) < 2:
            return Selected(step.proposals)
        verdict = await self.verdict(step, briefing(self.prompt, step, step.proposals))
        order = order_in(verdict, "ranking", len(step.proposals))
        ranked = tuple(step.proposals[one] for one in order)
        left = tuple(p for p in step.proposals if p not in ranked)
        note = {"judge": self.agent.name, "ranking": _names(ranked)}
        problem = "" if ranked else self.unread(step, "ranking")
        return Selected((*ranked, *left)[: self.k], topic="ranking", note=note, degraded=problem)

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        rounds = ((self.agent,),) if arriving.count > 1 else ()
        return Outlook(min(self.k, arriving.count), rounds)


@dataclass(frozen=True, slots=True)
class Rate(Judged):
    """The k best, best first, each rated by itself: a verifier's scores (arXiv 2110.14168, section 4).

    Attributes:
        judge: the LLM that rates, one call for each proposal.
        k: how many are passed on.
        prompt: its instructions.
    """

    k: int = 1
    prompt: str = judge_prompts.RATE

    async def __call__(self, step: Step) -> Selected:
        if len(step.proposals) < 2:
            return Selected(step.proposals)
        briefings = [briefing(self.prompt, step, [p]) for p in step.proposals]
        verdicts = await asyncio.gather(*(self.verdict(step, read) for read in briefings))
        ratings = [number_in(verdict, "rating") for verdict in verdicts]
        known = [float("-inf") if rating is None else rating for rating in ratings]
        order = sorted(range(len(known)), key=lambda one: -known[one])
        best = [{"agent": step.proposals[one].agent, "rating": ratings[one]} for one in order]
        problem = self.unread(step, "rating") if None in ratings else ""
        references = tuple(step.proposals[one] for one in order[: self.k])
        return Selected(references, topic="ratings", note={"ratings": best}, degraded=problem)

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        calls = (self.agent,) * arriving.count
        return Outlook(min(self.k, arriving.count), (calls,) if arriving.count > 1 else (), reads=1)


@dataclass(frozen=True, slots=True)
class Vote:
    """The answer that most give (self-consistency, arXiv 2203.11171), by normalised final answers.

    Where no answer has a majority over every other, the judge says which one the responses agree on most
    (universal self-consistency, arXiv 2311.17311); without a judge it is the first of those that lead.

    Attributes:
        judge: an LLM for answers in free text; None for none.
        prompt: its instructions.
    """

    judge: Agent | LLM | None = None
    prompt: str = judge_prompts.VOTE

    def __post_init__(self) -> None:
        if self.judge is not None:
            object.__setattr__(self, "judge", as_judge(self.judge))

    async def __call__(self, step: Step) -> Selected:
        found = same_answers([proposal.text for proposal in step.proposals])
        if len(found) < 2:
            return self._elected(step, found, "majority", 0)
        if len(found[0]) > len(found[1]):
            return self._elected(step, found, "majority", found[0][0])
        if self.judge is None:
            return self._elected(step, found, "first of those that lead", found[0][0])
        judge = Judged(self.judge)
        verdict = await judge.verdict(step, briefing(self.prompt, step, step.proposals))
        order = order_in(verdict, "most_consistent", len(step.proposals))
        if len(order) != 1:
            problem = judge.unread(step, "vote")
            return self._elected(step, found, "first of those that lead", found[0][0], problem)
        return self._elected(step, found, judge.agent.name, order[0])

    def _elected(
        self, step: Step, found: list[list[int]], by: str, winner: int, problem: str = ""
    ) -> Selected:
        elected = step.proposals[winner : winner + 1]
        votes = [_names([step.proposals[one] for one in group]) for group in found]
        note = {"votes": votes, "elected": _names(elected), "by": by}
        return Selected(elected, topic="vote", note=note, degraded=problem)

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        judges = [] if self.judge is None or arriving.count < 2 else [as_judge(self.judge)]
        rounds = tuple((judge,) for judge in judges)
        return Outlook(min(1, arriving.count), rounds, adaptive=bool(judges))


@dataclass(frozen=True, slots=True)
class PeerRanking:
    """All, best first, as the layer's own proposers rank them without knowing who wrote which.

    After the second stage of Andrej Karpathy's llm-council (github.com/karpathy/llm-council): every member gets all
    answers, its own among them, under numbers instead of names; what counts is the mean rank.

    Attributes:
        prompt: the members' instructions.
    """

    prompt: str = judge_prompts.PEER_RANKING

    async def __call__(self, step: Step) -> Selected:
        count = len(step.proposals)
        if count < 2:
            return Selected(step.proposals)
        read = briefing(self.prompt, step, step.proposals)
        members = [Judged(agent) for agent in step.agents]
        verdicts = await asyncio.gather(*(member.verdict(step, read) for member in members))
        orders = [order_in(verdict, "ranking", count) for verdict in verdicts]
        known = [order for order in orders if order]
        if not known:
            return Selected(
                step.proposals, degraded=f"layer {step.layer}: no member gave a ranking"
            )
        means = [fmean(_rank(order, one, count) for order in known) for one in range(count)]
        best = sorted(range(count), key=lambda one: means[one])
        ranked = tuple(step.proposals[one] for one in best)
        by = {
            a.name: _names([step.proposals[i] for i in o])
            for a, o in zip(step.agents, orders, strict=True)
        }
        note = {
            "mean_ranks": {p.agent: means[i] for p, i in zip(ranked, best, strict=True)},
            "by": by,
        }
        lines = [f"{place}. mean rank {means[one]:.2f}" for place, one in enumerate(best, 1)]
        heading = f"Mean ranks of these responses, given by {len(known)} reviewers who did not know their authors:"
        lost = len(orders) - len(known)
        problem = (
            f"layer {step.layer}: {lost} of {len(orders)} members gave no ranking" if lost else ""
        )
        return Selected(
            ranked,
            topic="peer_ranking",
            note=note,
            addition="\n".join([heading, *lines]),
            degraded=problem,
        )

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        rounds = (arriving.agents,) if arriving.count > 1 else ()
        return Outlook(arriving.count, rounds, adds=True)


@dataclass(frozen=True, slots=True)
class Pick(Judged):
    """The k, or fewer, that a judge picks; and as moderator it ends the layers when the responses agree.

    SMoA (arXiv 2411.03284), response selection and early stopping: as in its reference code, one call decides both.

    Attributes:
        judge: the LLM that picks.
        k: how many are passed on.
        moderate: let it skip the remaining layers.
        prompt: its instructions.
    """

    k: int = 2
    moderate: bool = True
    prompt: str = judge_prompts.PICK

    async def __call__(self, step: Step) -> Selected:
        if len(step.proposals) <= (0 if self.moderate else self.k):
            return Selected(step.proposals)
        task = f"Choose the {self.k} best."
        verdict = await self.verdict(step, briefing(self.prompt, step, step.proposals, task))
        chosen = order_in(verdict, "chosen", len(step.proposals))[: self.k]
        picked = tuple(step.proposals[one] for one in sorted(chosen))
        end = self.moderate and truth_in(verdict, "end") is True
        problem = "" if picked else self.unread(step, "choice")
        note = {"judge": self.agent.name, "chosen": _names(picked), "end": end}
        return Selected(
            picked or step.proposals[: self.k],
            stop=end,
            topic="choice",
            note=note,
            degraded=problem,
        )

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        asked = arriving.count > (0 if self.moderate else self.k)
        rounds = ((self.agent,),) if asked else ()
        return Outlook(min(self.k, arriving.count), rounds, adaptive=asked)


@dataclass(frozen=True, slots=True)
class Gate(Judged):
    """Answers with the first proposal when a judge finds it good enough: for questions that are easy.

    Attributes:
        judge: the LLM that decides.
        afresh: when it is not good enough, what follows starts from the question alone.
        prompt: its instructions.
    """

    afresh: bool = False
    prompt: str = judge_prompts.GATE

    async def __call__(self, step: Step) -> Selected:
        if not step.proposals:
            return Selected(step.proposals)
        verdict = await self.verdict(step, briefing(self.prompt, step, step.proposals[:1]))
        enough = truth_in(verdict, "good_enough")
        problem = self.unread(step, "decision") if enough is None else ""
        references = () if self.afresh and not enough else step.proposals
        note = {"judge": self.agent.name, "good_enough": enough}
        return Selected(references, final=bool(enough), topic="gate", note=note, degraded=problem)

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        rounds = ((self.agent,),) if arriving.count else ()
        count = 0 if self.afresh else arriving.count
        return Outlook(count, rounds, adaptive=True, afresh=self.afresh, reads=1)


def _names(proposals: Sequence[Proposal]) -> list[str]:
    return [proposal.agent for proposal in proposals]


def _rank(order: list[int], one: int, count: int) -> float:
    """The rank that an order gives; those it leaves out share the places behind."""
    return order.index(one) + 1 if one in order else (len(order) + 1 + count) / 2
