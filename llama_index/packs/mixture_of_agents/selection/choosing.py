"""Selections that ask no LLM: order, number, diversity, clusters, agreement."""

import random
from dataclasses import dataclass, field

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index.packs.mixture_of_agents._checks import is_number, of_kind, require, whole
from llama_index.packs.mixture_of_agents._providers.pickling import Packable
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe import Arriving, Outlook, Selected, Step

from ._likeness import groups, likeness, most_diverse, normalised, same_answers


def _chance(step: Step, seed: int | None) -> random.Random:
    own = step.seed if seed is None else seed
    return random.Random(None if own is None else f"{own}:{step.layer}")  # noqa: S311 - not for secrets


@dataclass(frozen=True, slots=True)
class Shuffle:
    """An order drawn by chance, so that no proposer's place is fixed.

    Attributes:
        seed: makes it repeatable; by default the recipe's.
    """

    seed: int | None = None

    async def __call__(self, step: Step) -> Selected:
        drawn = list(step.proposals)
        _chance(step, self.seed).shuffle(drawn)
        return Selected(tuple(drawn))

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        return Outlook(arriving.count)


@dataclass(frozen=True, slots=True)
class Dropout:
    """Leaves out proposals at random, but never all.

    Attributes:
        rate: the probability that a proposal is left out, at least 0 and below 1.
        seed: makes it repeatable; by default the recipe's.
    """

    rate: float
    seed: int | None = None

    def __post_init__(self) -> None:
        holds = is_number(self.rate) and 0 <= self.rate < 1
        require(holds, "Dropout.rate", self.rate, "must be from 0 to below 1")

    async def __call__(self, step: Step) -> Selected:
        chance = _chance(step, self.seed)
        kept = tuple(p for p in step.proposals if chance.random() >= self.rate)
        return Selected(kept or tuple(chance.sample(step.proposals, min(1, len(step.proposals)))))

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        return Outlook(arriving.count, adaptive=True)


@dataclass(frozen=True, slots=True)
class Take:
    """The first k.

    Attributes:
        k: how many are passed on.
    """

    k: int

    def __post_init__(self) -> None:
        whole("Take", 1, k=self.k)

    async def __call__(self, step: Step) -> Selected:
        return Selected(step.proposals[: self.k])

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        return Outlook(min(self.k, arriving.count))


@dataclass(frozen=True, slots=True)
class Diverse(Packable):
    """The k that are least alike, in their order (RMoA, arXiv 2505.24442, greedy diversity selection).

    Attributes:
        k: how many.
        embedding: compares them by meaning; None by the words that they have in common.
    """

    k: int
    embedding: BaseEmbedding | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        whole("Diverse", 1, k=self.k)
        _check("Diverse", None, self.embedding)

    async def __call__(self, step: Step) -> Selected:
        if len(step.proposals) <= self.k:
            return Selected(step.proposals)
        alike, failed = await likeness(step.proposals, self.embedding)
        chosen = sorted(most_diverse(alike, self.k))
        return Selected(tuple(step.proposals[one] for one in chosen), degraded=_where(step, failed))

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        return Outlook(min(self.k, arriving.count))


@dataclass(frozen=True, slots=True)
class Cluster(Packable):
    """The largest group of proposals that are alike: a protection against one bad proposer.

    If two groups are the largest, it passes on all proposals.

    Attributes:
        alike: the similarity from which two proposals belong together, from 0 to 1.
        embedding: compares them by meaning; None by the words that they have in common.
    """

    alike: float = 0.3
    embedding: BaseEmbedding | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check("Cluster", self.alike, self.embedding)

    async def __call__(self, step: Step) -> Selected:
        alike, failed = await likeness(step.proposals, self.embedding)
        found = groups(len(step.proposals), lambda one, other: alike[one][other] >= self.alike)
        largest = [group for group in found if len(group) == len(found[0])]
        kept = found[0] if len(largest) == 1 else range(len(step.proposals))
        note = {"groups": _names(step.proposals, found)}
        references = tuple(step.proposals[one] for one in kept)
        return Selected(references, topic="clusters", note=note, degraded=_where(step, failed))

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        return Outlook(arriving.count, adaptive=True)


@dataclass(frozen=True, slots=True)
class Agreed(Packable):
    """Skips the rest of the run if the proposals agree. It asks no judge.

    Proposals agree if enough of them have the same normalised final answer, or are alike. One alone never agrees.

    Attributes:
        share: the part of the proposals that must agree, above 0 and at most 1.
        alike: the similarity from which two proposals agree, from 0 to 1. None: only equal answers agree.
        embedding: compares proposals by meaning. None: by the words that they have in common.
        final: whether the agreed answer is the answer of the run. False: only the remaining layers are skipped.
        afresh: whether the next step starts from the question alone if the proposals do not agree.
    """

    share: float = 1.0
    alike: float | None = None
    embedding: BaseEmbedding | None = field(default=None, repr=False)
    final: bool = False
    afresh: bool = False

    def __post_init__(self) -> None:
        holds = is_number(self.share) and 0 < self.share <= 1
        require(holds, "Agreed.share", self.share, "must be from above 0 to 1")
        _check("Agreed", self.alike, self.embedding)

    async def __call__(self, step: Step) -> Selected:
        found, failed = await self._groups(step.proposals)
        largest = found[0] if found else []
        count = len(step.proposals)
        agreed = count > 1 and len(largest) >= self.share * count - 1e-9
        note = {"agreed": agreed, "groups": _names(step.proposals, found)}
        references = () if self.afresh and not agreed else step.proposals
        if agreed and self.final:
            references = tuple(step.proposals[one] for one in largest)
        return Selected(
            references,
            agreed,
            agreed and self.final,
            "agreement",
            note,
            degraded=_where(step, failed),
        )

    async def _groups(self, proposals: tuple[Proposal, ...]) -> tuple[list[list[int]], str]:
        texts = [proposal.text for proposal in proposals]
        if self.alike is None:
            return same_answers(texts), ""
        alike, failed = await likeness(proposals, self.embedding)
        answers, least = [normalised(text) for text in texts], self.alike
        same = groups(
            len(texts), lambda one, it: answers[one] == answers[it] or alike[one][it] >= least
        )
        return same, failed

    def outlook(self, arriving: Arriving) -> Outlook:
        """See ``Selection``."""
        count = 0 if self.afresh and self.final else arriving.count
        return Outlook(count, adaptive=True, afresh=self.afresh)


def _names(proposals: tuple[Proposal, ...], found: list[list[int]]) -> list[list[str]]:
    return [[proposals[one].agent for one in group] for group in found]


def _check(owner: str, alike: float | None, embedding: BaseEmbedding | None) -> None:
    holds = alike is None or (is_number(alike) and 0 <= alike <= 1)
    require(holds, f"{owner}.alike", alike, "must be from 0 to 1")
    if embedding is not None:
        of_kind(f"{owner}.embedding", embedding, BaseEmbedding, "OpenAIEmbedding()")


def _where(step: Step, problem: str) -> str:
    return f"layer {step.layer}: {problem}" if problem else ""
