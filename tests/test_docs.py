"""Every Python block of the README and of docs/ runs, against the simulated providers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_page import blocks

from llama_index.packs.mixture_of_agents.presets import council
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_PAGE = Path(__file__).with_name("run_page.py")
WITH_CODE = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run(page, providers, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(RUN_PAGE), str(page)],
        env={**os.environ, **providers.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_and_the_recipes_have_code():
    assert {"README.md", "recipes.md"} <= {page.name for page in WITH_CODE}


def test_a_block_that_is_not_run_says_why():
    page = "text\n```python\na\n```\n<!-- not run: it needs a key -->\n```python\nb\n```\n```sh\nc\n```\n"
    assert blocks(page) == [(2, "a\n")]


def test_a_preset_of_ones_own_takes_less_than_20_lines():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (code,) = [code for _, code in blocks(page) if "def checked(" in code]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) < 20


def test_the_plan_and_the_estimate_that_the_recipes_show_are_the_real_ones():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    models = ("gpt-4.1-mini", "gpt-4.1-nano", "mistral-small-latest", "gpt-4.1")
    *members, chairman = (ScriptedLLM(model=model) for model in models)
    recipe = council(members, chairman)
    assert f"```\n{recipe}\n\n{recipe.estimate('What is a generator?')}\n```\n" in page
