"""Named mixtures: each a short composition of the same parts, after a paper or a public system.

Wherever an LLM goes, a ``Proposer``, an ``Aggregator`` or an ``Agent`` with settings of its own goes too. ``policies``
are further fields of ``Recipe``; those of ``Layer`` (quorum, grace) go into every layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms.llm import LLM
from typing_extensions import Unpack

from llama_index.packs.mixture_of_agents.recipe import (
    OneAggregator,
    OneProposer,
    Policies,
    Proposers,
)

from ._checks import of_kind, require, whole
from .recipe import Agent, Aggregator, Layer, Proposer, Recipe, moa
from .selection import (
    Agreed,
    Analysis,
    Diverse,
    Fold,
    PeerRanking,
    Pick,
    Rank,
    Rate,
    Residuals,
    Vote,
)


def moa_lite(
    proposers: Proposers, aggregator: OneAggregator, **policies: Unpack[Policies]
) -> Recipe:
    """The paper's MoA-Lite (arXiv 2406.04692, section 3.1): 2 layers, that is one of proposers and the aggregator."""
    policies.setdefault("name", "moa_lite")
    return moa(proposers, aggregator, layers=1, **policies)


def self_moa(
    llm: OneProposer,
    aggregator: OneAggregator | None = None,
    *,
    samples: int = 6,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-MoA (arXiv 2502.00674, Table 1): one good model answers several times, and aggregates its own answers.

    Where the LLM's API can give several answers to one request, one request asks for all of them, so that the prompt
    is paid for once.

    Args:
        llm: the model.
        aggregator: another LLM to write the answer; by default the same.
        samples: how many answers it aggregates.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _samples_of(llm, samples)
    writer = aggregator or Aggregator(proposer.llm)
    policies.setdefault("name", "self_moa")
    return moa([proposer], writer, layers=1, **policies)


def self_moa_seq(
    llm: OneProposer,
    aggregator: OneAggregator | None = None,
    *,
    samples: int = 16,
    window: int = 6,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-MoA-Seq (arXiv 2502.00674, its section of that name): Self-MoA for more samples than fit a context window.

    The first ``window`` samples become one synthesis, which leads the next window of samples, and so on; the
    aggregator writes the answer from the last window. All samples are drawn at once, and the synthesis so far takes
    one place of a window.

    Args:
        llm: the model.
        aggregator: another LLM to write the syntheses and the answer; by default the same.
        samples: how many answers are aggregated in all.
        window: how many the aggregator reads at once.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _samples_of(llm, samples)
    writer = aggregator or proposer.llm
    policies.setdefault("name", "self_moa_seq")
    return moa([proposer], writer, layers=1, select=Fold(writer, window), **policies)


def rank(proposers: Proposers, ranker: Agent | LLM, **policies: Unpack[Policies]) -> Recipe:
    """The paper's LLM-Ranker (arXiv 2406.04692, section 3.3): an LLM chooses one of the answers and writes none.

    The instructions are our own.
    """
    policies.setdefault("name", "rank")
    return moa(proposers, None, layers=1, select=Rank(ranker), **policies)


def vote(
    proposers: Proposers | OneProposer,
    judge: Agent | LLM | None = None,
    *,
    samples: int = 1,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-consistency (arXiv 2203.11171, section 2): the final answer that most of the answers come to.

    Answers count as equal when their normalised final answers are. For free text give a judge: it is asked where no
    answer leads, and says which one the others agree with most (universal self-consistency, arXiv 2311.17311).

    Args:
        proposers: one LLM to sample, as in the paper, or several.
        judge: an LLM for answers in free text.
        samples: how many answers each of them gives.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    several = proposers if isinstance(proposers, Sequence) else [proposers]
    voters = [_samples_of(one, samples) for one in several]
    policies.setdefault("name", "vote")
    return moa(voters, None, layers=1, select=Vote(judge), **policies)


def best_of_n(
    llm: OneProposer,
    judge: Agent | LLM | None = None,
    *,
    samples: int = 4,
    **policies: Unpack[Policies],
) -> Recipe:
    """Best of n (arXiv 2110.14168, section 4): n answers of one model, each rated by itself; the best one counts.

    The paper trains a verifier; here an LLM rates, from 0 to 10.

    Args:
        llm: the model.
        judge: the LLM that rates; by default the same.
        samples: n.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _samples_of(llm, samples)
    rate = Rate(judge or proposer.llm)
    policies.setdefault("name", "best_of_n")
    return moa([proposer], None, layers=1, select=rate, **policies)


def council(members: Proposers, chairman: OneAggregator, **policies: Unpack[Policies]) -> Recipe:
    """A council, after Andrej Karpathy's llm-council (github.com/karpathy/llm-council; no paper).

    The members answer; each ranks all answers without knowing their authors; the chairman writes from the answers,
    best first, and their mean ranks. (The original gives the chairman the reviews' words too.)
    """
    policies.setdefault("name", "council")
    return moa(members, chairman, layers=1, select=PeerRanking(), **policies)


def fusion(
    panel: Proposers,
    judge: Agent | LLM,
    aggregator: OneAggregator | None = None,
    **policies: Unpack[Policies],
) -> Recipe:
    """A panel and an analyst, after OpenRouter's Fusion (openrouter.ai/docs/guides/routing/routers/fusion-router).

    The judge compares the panel's answers without merging them: consensus, contradictions, partial coverage, unique
    insights, blind spots. The aggregator writes from the answers and the analysis, which is also a note of the result
    (``result.notes``). Nobody searches the web, unlike there.

    Args:
        panel: the proposers.
        judge: the LLM that analyses.
        aggregator: the LLM that writes the answer; by default the judge's.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    writer = aggregator or _llm_of(judge)
    policies.setdefault("name", "fusion")
    return moa(panel, writer, layers=1, select=Analysis(judge), **policies)


def residual(
    proposers: Proposers,
    aggregator: OneAggregator,
    *,
    layers: int = 3,
    keep: int = 3,
    embedding: BaseEmbedding | None = None,
    extractor: Agent | LLM | None = None,
    patience: int = 1,
    **policies: Unpack[Policies],
) -> Recipe:
    """Residual MoA (arXiv 2505.24442): diverse answers, residuals between layers, an end when nothing changes.

    The paper's diversity selection, residual extraction and aggregation, and adaptive termination: of every layer the
    ``keep`` answers least alike go on. From the second layer on an extractor says what they change against those of
    the layer before; the next layer, and at the end the aggregator, read the answers of the layer before and that. The
    paper gives each proposer a role besides: ``Proposer(llm, system_prompt=...)``.

    Args:
        proposers: the proposers.
        aggregator: the paper's residual aggregation agent.
        layers: how many proposer layers at most.
        keep: the paper's K.
        embedding: tells how alike answers are; without it the words that they have in common do.
        extractor: the paper's residual extraction agent; by default the aggregator's LLM.
        patience: after how many layers in a row without a change it ends.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    whole("", 1, keep=keep)
    finds = extractor or _llm_of(aggregator)
    select = (Diverse(keep, embedding), Residuals(finds, patience))
    policies.setdefault("name", "residual")
    return moa(proposers, aggregator, layers=layers, select=select, **policies)


def sparse(
    proposers: Proposers,
    judge: Agent | LLM,
    aggregator: OneAggregator | None = None,
    *,
    layers: int = 2,
    keep: int = 2,
    **policies: Unpack[Policies],
) -> Recipe:
    """Sparse MoA (arXiv 2411.03284): a judge picks the answers that go on, a moderator ends the rounds.

    The paper's response selection and early stopping; as in its code, one call does both, after every layer. The
    paper gives each proposer a role besides: ``Proposer(llm, system_prompt=...)``.

    Args:
        proposers: the proposers.
        judge: judge and moderator.
        aggregator: the LLM that writes the answer; by default the judge's, as in the paper's code.
        layers: how many proposer layers at most.
        keep: how many answers the judge picks.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    whole("", 1, keep=keep)
    writer = aggregator or _llm_of(judge)
    policies.setdefault("name", "sparse")
    return moa(proposers, writer, layers=layers, select=Pick(judge, keep), **policies)


def cascade(
    cheap: Proposers | OneProposer,
    mixture: Recipe,
    *,
    samples: int = 3,
    share: float = 1.0,
    alike: float | None = None,
    embedding: BaseEmbedding | None = None,
    afresh: bool = True,
) -> Recipe:
    """Cheap answers first; the mixture only where these disagree, after the router of Pyramid MoA (arXiv 2602.19509).

    The paper's router weighs agreement and confidence; here the share of cheap answers that agree decides alone. Any
    recipe can stand behind: its policies hold for the whole. It also answers where the cheap ones fail.

    Args:
        cheap: one LLM to sample, or several.
        mixture: what answers where the cheap ones disagree.
        samples: how many answers the cheap one gives (several give one each, if not told otherwise).
        share: how many of the cheap answers must agree, from above 0 to 1.
        alike: from which similarity on answers in free text agree; None where only equal final answers do.
        embedding: tells how alike answers are; without it the words that they have in common do.
        afresh: the mixture starts from the question alone. False gives it the cheap answers as references; the paper
            finds that correct ones help and wrong ones mislead.
    """
    of_kind("mixture", mixture, Recipe, "moa([...], aggregator)")
    several = isinstance(cheap, Sequence)
    first = cheap if isinstance(cheap, Sequence) else [_samples_of(cheap, samples)]
    gate = Agreed(share, alike, embedding, final=True, afresh=afresh)
    layer = Layer(first, quorum=0, select=gate)
    require(
        layer.samples > 1,
        "cheap" if several else "samples",
        layer.samples,
        "one answer cannot agree",
    )
    name = "cascade" if mixture.name in PRESETS else mixture.name
    return replace(mixture, layers=(layer, *mixture.layers), name=name)


PRESETS: dict[str, Callable[..., Recipe]] = {
    preset.__name__: preset
    for preset in (
        moa, moa_lite, self_moa, self_moa_seq, rank, vote, best_of_n, council, fusion, residual, sparse, cascade,
    )
}  # fmt: skip
"""The presets by name. Put your own function in, and configuration files know it too."""


def _llm_of(given: Agent | LLM) -> LLM:
    return given.llm if isinstance(given, Agent) else given


def _samples_of(given: OneProposer, samples: int) -> Proposer:
    """A proposer with that many samples; one that says its own number keeps it."""
    proposer = given if isinstance(given, Proposer) else Proposer(given)
    return proposer if proposer.samples > 1 else replace(proposer, samples=samples)
