"""The site has every page and every public name. `make docs` builds it strictly: links and anchors are checked there."""

import ast
import sys
from pathlib import Path

import pytest
from reference import definitions_of, public_modules

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
NAV = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
QUESTIONS = tomllib.loads((Path(__file__).parent / "reader_questions.toml").read_text("utf-8"))
API = "reference/api/"
# Pages that the site has from elsewhere in the repository.
ELSEWHERE = {"project/security.md": "SECURITY.md"}


def pages(nav) -> list[str]:
    """The pages of a navigation, in its order."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in pages(entry)]


def test_every_page_of_docs_is_in_the_navigation():
    folder = ROOT / "docs"
    written = {page.relative_to(folder).as_posix() for page in folder.rglob("*.md")}
    assert written - set(pages(NAV)) == set()


def test_no_page_is_listed_twice():
    assert len(pages(NAV)) == len(set(pages(NAV)))


def test_the_api_reference_lists_every_public_module():
    listed = [page for page in pages(NAV) if page.startswith(API)]
    assert listed == [f"{API}{name}.md" for name in public_modules()]


@pytest.mark.parametrize("module", public_modules())
def test_every_public_class_and_function_says_what_it_is(module):
    silent = [
        f"{file.name}:{one.lineno} {one.name}"
        for file, one in definitions_of(module)
        if not ast.get_docstring(one)
    ]
    assert silent == []


@pytest.mark.parametrize("question", QUESTIONS["question"], ids=lambda question: question["ask"])
def test_the_site_answers_what_readers_ask(question):
    page = question["page"]
    text = (ROOT / ELSEWHERE.get(page, f"docs/{page}")).read_text(encoding="utf-8")
    assert page in pages(NAV)
    assert " ".join(question["answer"].split()) in " ".join(text.split())
