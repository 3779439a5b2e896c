"""Compares answers: by their normalised final answers, by common words, or by embeddings; and groups them."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial

from llama_index.core.base.embeddings.base import BaseEmbedding, similarity

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents.events import Proposal

Similarity = Sequence[Sequence[float]]
"""The similarity of each pair of texts, from 0 to 1."""

_MARKED = (
    re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"^\s*####\s*(.+?)\s*$", re.MULTILINE),
    re.compile(
        r"\b(?:final\s+)?answer(?:\s+is)?\s*(?::|\bis\b)\s*(.+?)\s*(?:[.!](?=\s|$)|$)",
        re.IGNORECASE | re.MULTILINE,
    ),
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,4})?")
_TERM = re.compile(r"-?\d+(?:\.\d+)?|\w+|[<>=+/^%]")
_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


def final_answer(text: str) -> str:
    r"""The part of a text that is marked as its answer; the whole text without a mark.

    The last mark counts. Marks are ``\boxed{42}``, a line ``#### 42``, "Answer: 42", "the answer is 42".
    """
    for mark in _MARKED:
        found = mark.findall(text)
        if found:
            return str(found[-1]).strip()
    return text.strip()


def normalised(text: str) -> str:
    """Normalise the final answer of a text, so that answers with the same meaning are equal.

    All spellings of a number are equal ("$1,000.00" and "1000"). Elsewhere case, punctuation and articles are ignored,
    but signs and operators are kept ("x < -2").
    """
    answer = final_answer(text).replace("**", "").strip()
    number = answer.strip("$\u20ac\u00a3%*` .")
    if _NUMBER.fullmatch(number):
        return str(Decimal(number.replace(",", "")).normalize() + 0)
    terms = [term for term in _TERM.findall(answer.casefold()) if term not in _ARTICLES]
    return " ".join(terms) or answer.casefold()


def overlap(first: str, second: str) -> float:
    """The share of common words among all words of two texts: 0 for none, 1 for all."""
    one, other = set(_words(first)), set(_words(second))
    return len(one & other) / len(one | other) if one | other else 1.0


def overlaps(texts: Sequence[str]) -> list[list[float]]:
    """The ``overlap`` of each pair of texts."""
    return [[overlap(first, second) for second in texts] for first in texts]


def groups(count: int, same: Callable[[int, int], bool]) -> list[list[int]]:
    """Group items. Each item joins the first group in which it is the same as every member.

    Args:
        count: the number of items. An item is its index.
        same: whether two items are the same.

    Returns:
        The groups, the largest first. Among equally large groups, the one with the earliest item comes first.
    """
    found: list[list[int]] = []
    for one in range(count):
        home = next((group for group in found if all(same(one, other) for other in group)), None)
        if home is None:
            found.append([one])
        else:
            home.append(one)
    return sorted(found, key=len, reverse=True)


def same_answers(texts: Sequence[str]) -> list[list[int]]:
    """Group texts by their normalised final answers; see ``groups``."""
    answers = [normalised(text) for text in texts]
    return groups(len(texts), lambda one, other: answers[one] == answers[other])


def most_diverse(similarity: Similarity, k: int) -> list[int]:
    """Choose the k least similar items greedily (RMoA, arXiv 2505.24442, greedy diversity selection).

    The first choice has the lowest average similarity to all items. Each further choice has the lowest similarity to
    the chosen item that it resembles most.

    Args:
        similarity: the similarity of each pair of items.
        k: how many to choose.

    Returns:
        The indexes of the chosen items; all in order if there are no more than k.
    """
    count = len(similarity)
    if not 0 < k < count:
        return list(range(count))[: max(k, 0)]
    chosen = [min(range(count), key=lambda one: sum(similarity[one]))]
    while len(chosen) < k:
        left = [one for one in range(count) if one not in chosen]
        chosen.append(min(left, key=lambda one: max(similarity[one][it] for it in chosen)))
    return chosen


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


async def likeness(
    proposals: Sequence[Proposal], embedding: BaseEmbedding | None
) -> tuple[Similarity, str]:
    """Compare each pair of proposals.

    Args:
        proposals: the proposals.
        embedding: compares them by meaning (cosine similarity). None compares their words.

    Returns:
        The similarities, and why words were compared in place of the embedding ("" if they were not).
    """
    texts = [proposal.text for proposal in proposals]
    if embedding is None or len(texts) < 2:
        return overlaps(texts), ""
    try:
        # In a thread: an embedding's async client may be bound to another event loop.
        vectors = await in_thread(partial(embedding.get_text_embedding_batch, texts))
    except Exception as error:  # noqa: BLE001 - an integration may raise anything; the run goes on without it
        return overlaps(
            texts
        ), f"the embedding failed ({type(error).__name__}): words were compared instead"
    return [[similarity(one, other) for other in vectors] for one in vectors], ""
