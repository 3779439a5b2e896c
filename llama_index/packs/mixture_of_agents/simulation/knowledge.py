"""The knowledge of simulated models: text that ships with Python. Each model knows a part, partly wrong.

The texts are those of Python's own `help()` topics (`pydoc_data.topics`), and one short fact
sheet of ours about LlamaIndex. Everything here is deterministic: a model's name decides which
sentences it knows and which it gets wrong.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from math import log

KNOWN_PERCENT = 75
WRONG_PERCENT = 25
MOST_SENTENCES = 8
FEWEST_SENTENCES = 4
SAME_CLAIM = 0.75

_FACT_SHEETS = {
    "LlamaIndex": (
        "LlamaIndex is an open-source framework for building applications on top of large "
        "language models.",
        "It is written in Python and published under the MIT license.",
        "Its first purpose is retrieval-augmented generation: answering questions from the "
        "user's own documents.",
        "Documents are split into nodes, and an index makes the nodes searchable.",
        "A query engine retrieves the nodes that fit a question and lets a model write the "
        "answer from them.",
        "Language models, embedding models and vector stores are separate packages that can be "
        "exchanged.",
        "Agents in LlamaIndex can call tools, and workflows describe steps that pass events to "
        "each other.",
        "A mixture of agents asks several models first and gives all of their answers to one "
        "aggregator.",
    )
}
_FREQUENT = """
a about an and are as be between by can could describe difference do does each explain for from give
have how i in into is it its like me mean means not of on one or other please python say should
simple tell than that the their them then there these they this to use used using was we what when
where which who why will with work works would write you your
"""
_STOP_WORDS = frozenset(_FREQUENT.split())
# Each model tries the pairs in its own order. The first one that fits makes the error.
_ALTERATIONS = (
    (r"\bis\b", "is not"),
    (r"\bare\b", "are never"),
    (r"\bcan\b", "cannot"),
    (r"\bmust\b", "must not"),
    (r"\bmay\b", "may not"),
    (r"\bonly\b", "never"),
    (r"\bfirst\b", "last"),
    (r"\ball\b", "none"),
    (r"\bsame\b", "opposite"),
    (r"\bseveral\b", "no"),
    (r"\bbefore\b", "after"),
    (r"\bnew\b", "old"),
    (r"\bcannot\b", "can"),
    (r"\bwithout\b", "with"),
    (r"\bPython\b", "COBOL"),
    (r"\bTrue\b", "False"),
)


# LlamaIndex puts retrieved documents before a question in this form.
_WITH_DOCUMENTS = re.compile(r"^-{9,}\n(.*)\n-{9,}$.*^Query: (.*)", re.DOTALL | re.MULTILINE)


def proposal(model: str, question: str) -> str:
    """A model's answer to a question: from the documents in it, or from the model's own knowledge."""
    match = _WITH_DOCUMENTS.search(question)
    if match:
        return f"{_read(*match.groups())}\n\n[simulated {model}: from the documents in the prompt]"
    source, sentences = look_up(question)
    if not sentences:
        return f"I know nothing about that.\n\n[simulated {model}: no text of its own fits]"
    known = [s for s in sentences if _draw(model, "knows", s) < KNOWN_PERCENT] or sentences[:1]
    stated = [alter(model, s) if _draw(model, "errs", s) < WRONG_PERCENT else s for s in known]
    return f"{' '.join(stated)}\n\n[simulated {model}: from {source}]"


def _read(documents: str, question: str) -> str:
    words = _words(question.removesuffix("\nAnswer: ")) - _STOP_WORDS
    about = [(len(words & _words(sentence)), sentence) for sentence in split_sentences(documents)]
    most = max((common for common, _ in about), default=0)
    fitting = [sentence for common, sentence in about if common == most > 0]
    return " ".join(fitting) or "The documents do not say."


def composition(model: str, references: list[str]) -> str:
    """An aggregator's answer: sentences of its references, chosen by majority.

    The references vote on the variants of each claim. A claim whose leading variants tie is
    left out. The last line gives the number of references.
    """
    if not references:
        return f"I received no references.\n\n[simulated {model}: 0 references received]"
    kept: list[str] = []
    shared = disputed = 0
    for variants in _claims(references):
        votes = sorted(variants.values(), reverse=True)
        if len(votes) > 1 and votes[0] == votes[1]:
            disputed += 1
            continue
        shared += votes[0] > 1
        kept.append(max(variants, key=lambda sentence: variants[sentence]))
    count = f"{len(references)} reference{'s' if len(references) > 1 else ''} received"
    agreed = f"{shared} statement{'' if shared == 1 else 's'} in several"
    tally = f"{agreed}, {len(kept) - shared} in one, {disputed} disputed"
    return f"{' '.join(kept)}\n\n[simulated {model}: {count}; {tally} and left out]"


@lru_cache(maxsize=1024)
def look_up(question: str) -> tuple[str, tuple[str, ...]]:
    """Find the source that fits a question best, and its sentences about the question.

    A topic fits if it covers at least half of the question's words, where rare words weigh
    more. Among those that fit, words in the topic's name and the share of matching sentences
    decide.
    """
    words = _words(question) - _STOP_WORDS
    for name, sheet in _FACT_SHEETS.items():
        if name.lower() in words:
            return f"a fact sheet about {name}", sheet
    topics = _topics()
    rarity = {word: log(len(topics) / (1 + _spread(word))) + 0.1 for word in words}
    score, topic = max((_score(name, rarity), name) for name in topics)
    if not score:
        return "", ()
    sentences = topics[topic]
    about = [s for s in sentences if words & _words(s)]
    chosen = set(about[:MOST_SENTENCES]) | set(sentences[: max(0, FEWEST_SENTENCES - len(about))])
    return f"Python's help topic '{topic}'", tuple(s for s in sentences if s in chosen)


def alter(model: str, sentence: str) -> str:
    """Make a sentence wrong at one place, which is always the same for the same model."""
    turn = _draw(model, "how", sentence) % len(_ALTERATIONS)
    for pattern, replacement in _ALTERATIONS[turn:] + _ALTERATIONS[:turn]:
        altered, times = re.subn(pattern, replacement, sentence, count=1)
        if times:
            return altered
    return sentence


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, without the bracketed lines in which simulated models sign."""
    lines = [line for line in text.splitlines() if not line.startswith("[simulated ")]
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(\d])|\n\s*\n", "\n".join(lines))
    return [sentence for part in parts if part and (sentence := " ".join(part.split()))]


def _claims(references: list[str]) -> list[dict[str, int]]:
    """Group the variants of each claim with their votes, in reading order."""
    claims: list[tuple[int, dict[str, int], set[str]]] = []
    for reference in references:
        for place, sentence in enumerate(dict.fromkeys(split_sentences(reference))):
            words = set(re.findall(r"\w+", sentence.lower()))
            for _, variants, common in claims:
                together = len(words | common)
                if sentence in variants or len(words & common) > SAME_CLAIM * together:
                    variants[sentence] = variants.get(sentence, 0) + 1
                    break
            else:
                claims.append((place, {sentence: 1}, words))
    return [variants for _, variants, _ in sorted(claims, key=lambda claim: claim[0])]


def _score(topic: str, rarity: dict[str, float]) -> float:
    sentences = _topics()[topic]
    score = covered = 0.0
    for word, weight in rarity.items():
        about = sum(word in _words(sentence) for sentence in sentences)
        named = word in _words(topic)
        score += weight * (min(about, MOST_SENTENCES) / (len(sentences) + 8) ** 0.5 + 2 * named)
        covered += weight * (about > 0 or named)
    return score if covered >= sum(rarity.values()) / 2 else 0.0


def _spread(word: str) -> int:
    """The number of topics in which a word occurs."""
    return sum(
        any(word in _words(sentence) for sentence in sentences) for sentences in _topics().values()
    )


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    """The words of a text. Plural and singular count as the same word."""
    found = re.findall(r"[a-z]{2,}", text.lower().replace("ies", "y"))
    return frozenset(word if word in _STOP_WORDS else word.rstrip("s") for word in found)


@lru_cache(maxsize=1)
def _topics() -> dict[str, tuple[str, ...]]:
    from pydoc_data.topics import topics

    sentences = ((name, _sentences_in(text)) for name, text in topics.items())
    return {name: found for name, found in sentences if found}


def _sentences_in(text: str) -> tuple[str, ...]:
    """The prose of a topic: its unindented paragraphs that are whole sentences."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        if re.match(r"[A-Z\"]", paragraph) and paragraph.rstrip().endswith("."):
            plain = re.sub(r"\s*\[\d+\]|\*(?=\w)|(?<=\w)\*", "", paragraph)
            found += [s for s in split_sentences(plain) if len(s.split()) > 4]
    return tuple(found)


def _draw(model: str, purpose: str, sentence: str) -> int:
    """A number from 0 to 99 that depends only on the arguments."""
    return zlib.crc32(f"{model}|{purpose}|{sentence}".encode()) % 100
