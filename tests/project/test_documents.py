"""What the documents show holds: code runs, links lead somewhere, commands exist.

A fence says what is done with its block: `python` runs, each block seeing the names of those before it on its page;
`toml`, `yaml`, `json` and `jsonl` are read, and written to the file that the fence names, if it does (```toml
team.toml); the commands of `sh` are checked. Without a language it is a picture.
"""

import json
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from programs import run_python
from tracers import REASON, TAKES_THIS_CORE
from typer.main import get_group

from llama_index.packs.mixture_of_agents.cli.program import app
from llama_index.packs.mixture_of_agents.presets import council
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FOLDERS = ("*.md", "docs/**/*.md", "benchmarks/*.md", "llama_index/**/*.md")
DOCUMENTS = sorted(document for folder in FOLDERS for document in ROOT.glob(folder))
BLOCK = re.compile(r"^( *)```(\w+) *([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"""(?:\]\(|\bsrc="|\bsrcset=")([^)"#\s]+)(?:#[^)"]*)?[)"]""")
ASSIGNMENT = re.compile(r"[A-Z_]+=")
READ = {
    "json": json.loads,
    "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
# Runs the blocks of one document in turn, and the tests that they define. As in a notebook, a block may await.
RUN_BLOCKS = """
import ast, asyncio, inspect, json, sys
names = {"__name__": "__main__"}
loop = asyncio.new_event_loop()
for source in json.load(sys.stdin):
    code = compile(source, sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, names)
    if inspect.iscoroutine(value):
        loop.run_until_complete(value)
for name in [name for name in names if name.startswith("test_")]:
    names[name]()
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""


@dataclass(frozen=True)
class Block:
    language: str
    file: str
    text: str
    line: int

    @property
    def source(self) -> str:
        """Its text below as many lines as on its page, so that a traceback names the right one."""
        return "\n" * self.line + self.text


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path, *languages: str) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(found[2], found[3], textwrap.dedent(found[4]), text.count("\n", 0, found.start(4)))
        for found in BLOCK.finditer(text)
        if not languages or found[2] in languages
    ]


def with_blocks(*languages: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, *languages)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("document", with_blocks("python"), ids=name_of)
def test_every_python_block_runs(document, providers: SimulatedProviders, tmp_path):
    if "LlamaIndexInstrumentor" in document.read_text(encoding="utf-8") and not TAKES_THIS_CORE:
        pytest.skip(REASON)
    for block in blocks(document, *READ):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    done = run_python(
        "-c",
        RUN_BLOCKS,
        str(document),
        cwd=tmp_path,
        env={**os.environ, **providers.environment},
        stdin=json.dumps([block.source for block in blocks(document, "python")]).encode(),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_has_a_language_that_is_tested(document):
    languages = {block.language for block in blocks(document)}
    assert languages <= {"python", "sh", *READ}
    for block in blocks(document, *READ):
        READ[block.language](block.text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_to_a_file_leads_to_one(document):
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def check_make(arguments: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in arguments if "=" not in word} <= set(targets)


def check_files(arguments: list[str]) -> None:
    ours = [word for word in arguments if (ROOT / word.split("/")[0]).is_dir()]
    assert all((ROOT / word).exists() for word in ours)


def check_pip(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(rf"{project['name']}\[([\w,]+)\]", " ".join(arguments)):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def check_moa(arguments: list[str]) -> None:
    arguments = list(takewhile(lambda word: word not in {"<", ">", "|"}, arguments))
    moa = get_group(app)
    context = moa.make_context("moa", list(arguments), resilient_parsing=True)
    _, command, rest = moa.resolve_command(context, arguments)
    assert command is not None
    command.make_context(command.name, rest)


def held_elsewhere(_: list[str]) -> None:
    """Or it needs the outside network."""


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    ".venv/bin/python": check_files,
    "alpaca_eval": held_elsewhere,
    "cd": held_elsewhere,
    "docker": held_elsewhere,
    "git": held_elsewhere,
    "inspect": held_elsewhere,
    "llamaindex-cli": held_elsewhere,
    "lm_eval": held_elsewhere,
    "make": check_make,
    "moa": check_moa,
    "pip": check_pip,
    "python": check_files,
}


@pytest.mark.parametrize("document", with_blocks("sh"), ids=name_of)
def test_every_command_is_one_that_there_is(document):
    for block in blocks(document, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words:
                COMMANDS[words[0]](words[1:])


def test_a_preset_of_ones_own_takes_less_than_20_lines():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (code,) = [found[4] for found in BLOCK.finditer(page) if "def checked(" in found[4]]
    assert len([line for line in code.splitlines() if line.strip()]) < 20


def test_the_plan_and_the_estimate_that_the_recipes_show_are_the_real_ones():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    models = ("gpt-4.1-mini", "gpt-4.1-nano", "mistral-small-latest", "gpt-4.1")
    *members, chairman = (ScriptedLLM(model=model) for model in models)
    recipe = council(members, chairman)
    assert f"```\n{recipe}\n\n{recipe.estimate('What is a generator?')}\n```\n" in page
