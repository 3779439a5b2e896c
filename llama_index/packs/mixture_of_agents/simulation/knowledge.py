"""What simulated models know: text that ships with Python, a part of it each, partly wrong.

The texts are those of Python's own `help()` topics (`pydoc_data.topics`), and one short fact
sheet of ours about LlamaIndex. Everything here is deterministic: a model's name decides what
it knows and where it is wrong.
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
_STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "are",
        "as",
        "be",
        "between",
        "by",
        "can",
        "could",
        "describe",
        "difference",
        "do",
        "does",
        "each",
        "explain",
        "for",
        "from",
        "give",
        "have",
        "how",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "like",
        "me",
        "mean",
        "means",
        "not",
        "of",
        "on",
        "one",
        "or",
        "other",
        "please",
        "python",
        "say",
        "should",
        "simple",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "use",
        "used",
        "using",
        "was",
        "we",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "work",
        "works",
        "would",
        "write",
        "you",
        "your",
    ]
)
# Each pair is tried in an order of the model's own; the first that fits makes the error.
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


# How LlamaIndex puts what a retriever found before a question.
_WITH_DOCUMENTS = re.compile(r"^-{9,}\n(.*)\n-{9,}$.*^Query: (.*)", re.DOTALL | re.MULTILINE)


def proposal(model: str, question: str) -> str:
    """What `model` answers to `question`: from the documents in it, or else from its own knowledge."""
    asked = _WITH_DOCUMENTS.search(question)
    if asked:
        return f"{_read(*asked.groups())}\n\n[simulated {model}: from the documents in the prompt]"
    source, sentences = look_up(question)
    if not sentences:
        return f"I know nothing about that.\n\n[simulated {model}: no text of its own fits]"
    known = [s for s in sentences if _draw(model, "knows", s) < KNOWN_PERCENT] or sentences[:1]
    said = [alter(model, s) if _draw(model, "errs", s) < WRONG_PERCENT else s for s in known]
    return f"{' '.join(said)}\n\n[simulated {model}: from {source}]"


def _read(documents: str, question: str) -> str:
    words = _words(question.removesuffix("\nAnswer: ")) - _STOP_WORDS
    about = [(len(words & _words(sentence)), sentence) for sentence in split_sentences(documents)]
    most = max((common for common, _ in about), default=0)
    said = [sentence for common, sentence in about if common == most > 0]
    return " ".join(said) or "The documents do not say."


def composition(model: str, references: list[str]) -> str:
    """What an aggregator answers: sentences of its references only, the majority deciding.

    Variants of one claim are put to the vote; where none of them has more votes than every
    other, the claim is left out. The last line says how many references there were.
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
    """The source that fits a question best, and its sentences about it.

    A topic fits if it has at least half of what the question asks for, rare words counting
    more than common ones; then its name counts most, and how much of it is about that.
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
    """The sentence made wrong at one place, always at the same one for the same model."""
    turn = _draw(model, "how", sentence) % len(_ALTERATIONS)
    for pattern, replacement in _ALTERATIONS[turn:] + _ALTERATIONS[:turn]:
        altered, times = re.subn(pattern, replacement, sentence, count=1)
        if times:
            return altered
    return sentence


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, without the bracketed lines in which simulated models sign."""
    lines = [line for line in text.splitlines() if not line.startswith("[simulated ")]
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(\d])|\n\s*\n", "\n".join(lines))
    return [sentence for part in parts if part and (sentence := " ".join(part.split()))]


def _claims(references: list[str]) -> list[dict[str, int]]:
    """Sentences with their votes, the variants of one claim together, in reading order."""
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
    """In how many topics a word occurs."""
    return sum(
        any(word in _words(sentence) for sentence in sentences) for sentences in _topics().values()
    )


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    """The words of a text, a plural taken for its singular."""
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


def _draw(model: str, what: str, sentence: str) -> int:
    """A number from 0 to 99 that depends on nothing but its arguments."""
    return zlib.crc32(f"{model}|{what}|{sentence}".encode()) % 100
