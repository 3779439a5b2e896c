"""The site has every page and every public name. `make docs` builds it strictly: links and anchors are checked there."""

import ast
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "llama_index" / "packs" / "mixture_of_agents"
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


def public_modules() -> list[str]:
    """Modules and packages that users import, commands apart."""
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return sorted(name for name in found if name[0] != "_" and name != "cli")


def definitions(file: Path) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def exported(init: Path) -> set[str]:
    """The names of a package's ``__all__``."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    (names,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ] or [ast.List([])]
    return set(ast.literal_eval(names))


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
    file, folder = PACKAGE / f"{module}.py", PACKAGE / module
    public = (
        [
            (file, one)
            for file in folder.glob("*.py")
            for one in definitions(file)
            if one.name in exported(folder / "__init__.py")
        ]
        if folder.is_dir()
        else [(file, one) for one in definitions(file)]
    )
    silent = [
        f"{file.name}:{one.lineno} {one.name}" for file, one in public if not ast.get_docstring(one)
    ]
    assert silent == []


@pytest.mark.parametrize("question", QUESTIONS["question"], ids=lambda question: question["ask"])
def test_the_site_answers_what_readers_ask(question):
    page = question["page"]
    text = (ROOT / ELSEWHERE.get(page, f"docs/{page}")).read_text(encoding="utf-8")
    assert page in pages(NAV)
    assert " ".join(question["answer"].split()) in " ".join(text.split())
