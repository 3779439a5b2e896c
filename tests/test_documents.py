"""What the documents show holds: code runs, links lead somewhere, commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# Runs the blocks of one document in turn, each seeing the names of those before it.
RUN_BLOCKS = """
import sys
from pathlib import Path
document, names = Path(sys.argv[1]), {"__name__": "__main__"}
for place in sys.argv[2:]:
    start, end = map(int, place.split(":"))
    text = document.read_text(encoding="utf-8")
    lines_before = "\\n" * text.count("\\n", 0, start)
    exec(compile(lines_before + text[start:end], str(document), "exec"), names)
"""


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path, language: str) -> list[re.Match[str]]:
    found = BLOCK.finditer(document.read_text(encoding="utf-8"))
    return [block for block in found if block[1] == language]


def with_blocks(language: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, language)]


@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_every_python_block_runs(document, providers: SimulatedProviders, tmp_path):
    places = [f"{block.start(2)}:{block.end(2)}" for block in blocks(document, "python")]
    done = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS, str(document), *places],
        check=False,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **providers.environment},
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_to_a_file_leads_to_one(document):
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", with_blocks("sh"), ids=name_of)
def test_every_make_command_has_its_target(document):
    commands = "\n".join(block[2] for block in blocks(document, "sh"))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE)) <= set(targets)
