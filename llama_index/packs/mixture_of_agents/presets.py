"""Named mixtures: each a short composition of the same parts, after a paper or a public system.

All presets have the same names for the same things: ``proposers`` answer, a ``judge`` compares or rates, the
``aggregator`` writes the answer. A ``Proposer``, an ``Aggregator`` or an ``Agent`` with settings of its own can stand
wherever an LLM stands. ``policies`` are further fields of ``Recipe``; those of ``Layer`` (quorum, grace) apply to every
layer. A recipe has its preset's name unless ``name`` is given. Judges' instructions are our own. Each preset raises
``RecipeError`` for what is not valid.
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
    many,
    spelled,
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

__all__ = [
    "PRESETS",
    "best_of_n",
    "cascade",
    "council",
    "fusion",
    "moa",
    "moa_lite",
    "rank",
    "residual",
    "self_moa",
    "self_moa_seq",
    "sparse",
    "vote",
]


@spelled()
def moa_lite(
    proposers: Proposers | OneProposer, aggregator: OneAggregator, **policies: Unpack[Policies]
) -> Recipe:
    """The paper's MoA-Lite (arXiv 2406.04692, section 3.1): one layer of proposers and the aggregator.

    The paper counts the aggregator as a layer and says "2 layers". It departs from its source as ``moa`` does.

    Args:
        proposers: the proposers.
        aggregator: the LLM that writes the answer.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    return moa(proposers, aggregator, layers=1, **policies)


@spelled(llm="proposers")
def self_moa(
    proposers: Proposers | OneProposer,
    aggregator: OneAggregator | None = None,
    *,
    samples: int = 6,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-MoA (arXiv 2502.00674, Table 1): one good model answers several times, and aggregates its own answers.

    One request asks for all samples where the LLM's API offers that. The prompt is then paid for once.

    Departs from its source: the aggregator is the same model by default; in the paper's Table 1 it is another one.

    Args:
        proposers: the one model. ``llm`` is another name of this parameter.
        aggregator: the LLM that writes the answer; by default the same model.
        samples: the number of answers that are aggregated.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _sampled(proposers, samples, "self_moa")
    writer = aggregator or Aggregator(proposer.llm)
    return moa([proposer], writer, layers=1, **policies)


@spelled(llm="proposers")
def self_moa_seq(
    proposers: Proposers | OneProposer,
    aggregator: OneAggregator | None = None,
    *,
    samples: int = 16,
    window: int = 6,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-MoA-Seq (arXiv 2502.00674, its section of that name): Self-MoA for more samples than fit a context window.

    The first ``window`` samples become one synthesis. The synthesis is the first reference of the next window, and so
    on. The aggregator writes the answer from the last window.

    Departs from its source: the synthesis so far takes one place of a window; the paper repeats it there. All samples
    are drawn at the start. The aggregator is the same model by default.

    Args:
        proposers: the one model. ``llm`` is another name of this parameter.
        aggregator: the LLM that writes the syntheses and the answer; by default the same model.
        samples: the number of answers that are aggregated in all.
        window: the number of answers that the aggregator reads at once.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _sampled(proposers, samples, "self_moa_seq")
    writer = aggregator or proposer.llm
    return moa([proposer], writer, layers=1, select=Fold(writer, window), **policies)


@spelled(ranker="judge")
def rank(
    proposers: Proposers | OneProposer, judge: Agent | LLM, **policies: Unpack[Policies]
) -> Recipe:
    """The paper's LLM-Ranker (arXiv 2406.04692, section 3.3): an LLM chooses one of the answers and writes none.

    Departs from its source in the ranker's instructions alone.

    Args:
        proposers: the proposers.
        judge: the LLM that ranks. ``ranker`` is another name of this parameter.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    return moa(proposers, None, layers=1, select=Rank(judge), **policies)


@spelled()
def vote(
    proposers: Proposers | OneProposer,
    judge: Agent | LLM | None = None,
    *,
    samples: int = 1,
    **policies: Unpack[Policies],
) -> Recipe:
    """Self-consistency (arXiv 2203.11171, section 2): the final answer that most of the answers come to.

    Answers count as equal if their normalised final answers are equal. If no answer leads, the judge says which one
    the others agree with most (universal self-consistency, arXiv 2311.17311).

    Departs from its sources: several models may vote, and the judge is asked only where no answer leads.

    Args:
        proposers: one LLM to sample, as in the paper, or several.
        judge: an LLM for answers in free text.
        samples: the number of answers that each proposer gives.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    voters = [_samples_of(one, samples) for one in many(proposers)]
    return moa(voters, None, layers=1, select=Vote(judge), **policies)


@spelled(llm="proposers")
def best_of_n(
    proposers: Proposers | OneProposer,
    judge: Agent | LLM | None = None,
    *,
    samples: int = 4,
    **policies: Unpack[Policies],
) -> Recipe:
    """Best of n (arXiv 2110.14168, section 4): n answers of one model, each rated by itself; the best one counts.

    Departs from its source: an LLM rates from 0 to 10; the paper trains a verifier.

    Args:
        proposers: the one model. ``llm`` is another name of this parameter.
        judge: the LLM that rates; by default the same model.
        samples: n.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    proposer = _sampled(proposers, samples, "best_of_n")
    rate = Rate(judge or proposer.llm)
    return moa([proposer], None, layers=1, select=rate, **policies)


@spelled(members="proposers", chairman="aggregator")
def council(
    proposers: Proposers | OneProposer, aggregator: OneAggregator, **policies: Unpack[Policies]
) -> Recipe:
    """A council, after Andrej Karpathy's llm-council (github.com/karpathy/llm-council; no paper).

    The members answer. Each member ranks all answers without knowing their authors. The chairman writes from the
    answers, best first, and their mean ranks.

    Departs from its source: the original's chairman reads the members' names and their reviews in full, and no mean
    ranks.

    Args:
        proposers: the members. ``members`` is another name of this parameter.
        aggregator: the chairman. ``chairman`` is another name of this parameter.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    return moa(proposers, aggregator, layers=1, select=PeerRanking(), **policies)


@spelled(panel="proposers")
def fusion(
    proposers: Proposers | OneProposer,
    judge: Agent | LLM,
    aggregator: OneAggregator | None = None,
    **policies: Unpack[Policies],
) -> Recipe:
    """A panel and an analyst, after OpenRouter's Fusion (openrouter.ai/docs/guides/routing/routers/fusion-router).

    The judge compares the panel's answers without merging them: consensus, contradictions, partial coverage, unique
    insights, blind spots. The aggregator writes from the answers and the analysis. The analysis is also a note of the
    result (``result.notes``).

    Departs from its source: neither the panel nor the judge searches the web.

    Args:
        proposers: the panel. ``panel`` is another name of this parameter.
        judge: the LLM that analyses.
        aggregator: the LLM that writes the answer; by default the judge's.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    writer = aggregator or _llm_of(judge)
    return moa(proposers, writer, layers=1, select=Analysis(judge), **policies)


@spelled()
def residual(
    proposers: Proposers | OneProposer,
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

    Every layer passes on the ``keep`` answers that are least alike. From the second layer on, the extractor says what
    they change against those of the layer before. The next layer, and at the end the aggregator, read the answers of
    the layer before and that residual.

    Departs from its source: a proposer has a role only if you give it one, ``Proposer(llm, system_prompt=...)``; without
    ``embedding`` answers are compared by their words; the layers end at a reply that is "NO UPDATE" and nothing else.

    Args:
        proposers: the proposers.
        aggregator: the paper's residual aggregation agent.
        layers: the largest number of proposer layers.
        keep: the paper's K.
        embedding: compares answers by meaning. None: by the words that they have in common.
        extractor: the paper's residual extraction agent; by default the aggregator's LLM.
        patience: the number of layers in a row without a change that end the layers.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    whole("", 1, keep=keep)
    finds = extractor or _llm_of(aggregator)
    select = (Diverse(keep, embedding), Residuals(finds, patience))
    return moa(proposers, aggregator, layers=layers, select=select, **policies)


@spelled()
def sparse(
    proposers: Proposers | OneProposer,
    judge: Agent | LLM,
    aggregator: OneAggregator | None = None,
    *,
    layers: int = 2,
    keep: int = 2,
    **policies: Unpack[Policies],
) -> Recipe:
    """Sparse MoA (arXiv 2411.03284): a judge picks the answers that are passed on, a moderator ends the rounds.

    One call after every layer does both, as in the paper's code.

    Departs from its source: the picked answers keep the order of their proposers, not the judge's; after a verdict
    that cannot be read the first ``keep`` answers are passed on, and the result is marked as degraded; a proposer has a role
    only if you give it one, ``Proposer(llm, system_prompt=...)``.

    Args:
        proposers: the proposers.
        judge: judge and moderator.
        aggregator: the LLM that writes the answer; by default the judge's, as in the paper's code.
        layers: the largest number of proposer layers.
        keep: the number of answers that the judge picks.
        policies: further fields of ``Recipe`` and ``Layer``.
    """
    whole("", 1, keep=keep)
    writer = aggregator or _llm_of(judge)
    return moa(proposers, writer, layers=layers, select=Pick(judge, keep), **policies)


@spelled(cheap="proposers")
def cascade(
    proposers: Proposers | OneProposer,
    mixture: Recipe,
    *,
    samples: int = 3,
    share: float = 1.0,
    alike: float | None = None,
    embedding: BaseEmbedding | None = None,
    afresh: bool = True,
) -> Recipe:
    """Cheap answers first; the mixture only where these disagree, after the router of Pyramid MoA (arXiv 2602.19509).

    Any recipe can stand behind; its policies apply to the whole. It also answers where the cheap models fail.

    Departs from its source: the share of cheap answers that agree decides alone; the paper's router weighs agreement
    and confidence.

    Args:
        proposers: the cheap models: one LLM to sample, or several. ``cheap`` is another name of this parameter.
        mixture: the recipe that answers where the cheap answers disagree.
        samples: the number of answers of one cheap LLM. Each of several gives one, unless it has its own number.
        share: the part of the cheap answers that must agree, above 0 and at most 1.
        alike: the similarity from which answers in free text agree. None: only equal final answers agree.
        embedding: compares answers by meaning. None: by the words that they have in common.
        afresh: whether the mixture starts from the question alone. False gives it the cheap answers as references; the
            paper finds that correct ones help and wrong ones mislead.
    """
    of_kind("mixture", mixture, Recipe, "moa([...], aggregator)")
    several = isinstance(proposers, Sequence)
    first = proposers if isinstance(proposers, Sequence) else [_samples_of(proposers, samples)]
    gate = Agreed(share, alike, embedding, final=True, afresh=afresh)
    layer = Layer(first, quorum=0, select=gate)
    require(
        layer.samples > 1,
        "proposers" if several else "samples",
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
"""The presets by name. Add a function of your own, and configuration files know its name too."""


def __dir__() -> list[str]:
    return __all__


def _llm_of(given: Agent | LLM) -> LLM:
    return given.llm if isinstance(given, Agent) else given


def _sampled(given: Proposers | OneProposer, samples: int, preset: str) -> Proposer:
    """The one proposer of a preset that asks one model several times."""
    models = many(given)
    names = [getattr(one, "model", "?") for one in models]
    require(
        len(models) == 1, "proposers", names, f"{preset} asks one model several times: give one"
    )
    return _samples_of(models[0], samples)


def _samples_of(given: OneProposer, samples: int) -> Proposer:
    """A proposer with that number of samples; one with a number of its own keeps it."""
    proposer = given if isinstance(given, Proposer) else Proposer(given)
    return proposer if proposer.samples > 1 else replace(proposer, samples=samples)
