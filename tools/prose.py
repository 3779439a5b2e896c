"""Check the documents' English: short sentences on the whole, and none of the phrases that readers stumble over.

usage: python tools/prose.py [FILE...]     by default every document
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("*.md", "docs/**/*.md", "benchmarks/*.md", ".github/*.md", "llama_index/**/*.md")
MEAN = 18
LONGEST = 45
# What to write instead.
PHRASES = {
    r"\bwhoever\b": "the caller, the user, anyone who",
    r"\bof use\b": "usable, useful",
    r"\bso many\b": "a number of, N",
    r"\bwhat became of\b": "the outcome of",
    r"\b(?:is|are|was|were) told\b": "receives, is given, is reported",
    r"\bin the way of\b": "as ... does it, in ...'s format",
    r"\bwhom\b": "who, or name the person",
    r"\bnone of use\b": "no usable",
    r"\bof its own accord\b": "by itself",
    r"\bhangs? up on\b": "closes the connection to",
    r"\bleft aside\b": "ignored",
    r"\bmeanwhile\b": "at the same time, or nothing",
    r"\bsays something to\b": "means something to",
    r"\banew\b": "again, new",
    r"\bbefore anybody\b": "before the first call",
    r"\bheld? (?:its|their) layers? up\b": "the slowest call of its layer",
    r"\b(?:can|could) be had\b": "is available",
    r"\bmakes? no sense\b": "is not valid, and why",
    r"\bgo(?:es)? on\b": "continue",
    r"\bis no (?:JSON|file|key|number)\b": "is not a ...",
}
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
NO_PROSE = re.compile(r"^(?:#|\||<!--|!\[|\[.*\]: )")
SENTENCE = re.compile(r"(?<=[.!?:;])[\"')*_`]*\s+(?=[\"'(*_`\[]*[A-Z0-9`])")
CODE = re.compile(r"`[^`]*`")
ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+(?:\[[ x]\]\s+)?")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


def paragraphs(text: str) -> list[tuple[int, str]]:
    """The first line's number and the text of each paragraph and list item: no code, tables or headings."""
    blank = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    found: list[tuple[int, str]] = []
    goes_on = False
    for number, line in enumerate(blank.splitlines(), 1):
        if not line.strip() or NO_PROSE.match(line.strip()):
            goes_on = False
        elif goes_on and not ITEM.match(line):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        else:
            found.append((number, ITEM.sub("", line).strip()))
            goes_on = True
    return found


def sentences(text: str) -> list[tuple[int, str]]:
    """Every sentence with the number of the line on which its paragraph begins."""
    return [
        (number, sentence)
        for number, paragraph in paragraphs(text)
        for sentence in SENTENCE.split(LINK.sub(r"\1", CODE.sub("Code", paragraph)))
    ]


def problems(name: str, text: str) -> list[str]:
    """What is wrong with a document's English, a line each."""
    found = sentences(text)
    lengths = [len(sentence.split()) for _, sentence in found]
    problems = [
        f"{name}:{number}: {length} words in a sentence: {sentence[:60]}..."
        for (number, sentence), length in zip(found, lengths, strict=True)
        if length > LONGEST
    ]
    mean = sum(lengths) / len(lengths) if lengths else 0
    if mean > MEAN:
        problems.append(f"{name}: {mean:.1f} words in the mean sentence; at most {MEAN}")
    blank = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    for number, line in enumerate(blank.splitlines(), 1):
        problems += [
            f"{name}:{number}: {match[0]!r}: say {better}"
            for phrase, better in PHRASES.items()
            for match in re.finditer(phrase, line, re.IGNORECASE)
        ]
    return problems


def main() -> None:
    """Print what is wrong; exit with 1 if anything is."""
    given = [Path(name) for name in sys.argv[1:]]
    files = given or sorted({file for pattern in DOCUMENTS for file in ROOT.glob(pattern)})
    found = [
        problem
        for file in files
        for problem in problems(
            str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file),
            file.read_text("utf-8"),
        )
    ]
    print("\n".join(found) or "The documents read well.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
