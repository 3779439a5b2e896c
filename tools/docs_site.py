"""Lay the site's pages out in build/docs, and write what is not a page after it was built.

usage: python tools/docs_site.py pages     before the site is built
       python tools/docs_site.py finish    after: a Markdown twin of each page, llms.txt, the file's JSON Schema
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shutil
import sys
from pathlib import Path

import llama_index.packs.mixture_of_agents as package
from llama_index.packs.mixture_of_agents.config import json_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
# Pages that stand elsewhere in the repository, and where the site has them.
ELSEWHERE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/benchmarks.md",
}
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)]*)?\))")
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def place_of(path: str) -> str:
    """Where the site has a file of the repository, both as paths from their roots."""
    return ELSEWHERE.get(path) or path.removeprefix("docs/")


def with_links(text: str, path: str) -> str:
    """A page's text with its relative links as they are on the site."""

    def moved(found: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(path), found[2]))  # noqa: PTH118, PTH120
        start = os.path.dirname(place_of(path)) or "."  # noqa: PTH120
        return found[1] + os.path.relpath(place_of(target), start) + found[3]

    return LINK.sub(moved, text)


def lay_out() -> None:
    """Write every page of the repository, the examples, and the API's pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    shutil.copytree(ROOT / "examples", PAGES / "examples")
    for path in (*ELSEWHERE, *(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md"))):
        page = PAGES / place_of(path)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(with_links((ROOT / path).read_text(encoding="utf-8"), path), "utf-8")
    for module in public_modules():
        name = module.removeprefix(f"{package.__name__}.")
        page = PAGES / "reference" / "api" / f"{name}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        parts = "".join(f"::: {part}\n\n" for part in documented(module))
        page.write_text(f"# {name}\n\n{parts}", "utf-8")


def public_modules() -> list[str]:
    """The modules and packages whose names users import: those at the top without an underscore, commands apart."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return [f"{package.__name__}.{name}" for name in found if name[0] != "_" and name != "cli"]


def documented(module: str) -> list[str]:
    """What a module's page is made of: the module, or, where a package hands nothing on, its modules."""
    folder = ROOT / module.replace(".", "/")
    if not folder.is_dir() or "__all__" in (folder / "__init__.py").read_text("utf-8"):
        return [module]
    names = sorted(file.stem for file in folder.glob("[!_]*.py"))
    return [f"{module}.{name}" for name in names]


def pages_of(nav: list[object]) -> list[str]:
    """The pages of a navigation, in its order."""
    pages: list[str] = []
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            pages += pages_of(value) if isinstance(value, list) else [str(value)]
    return pages


def finish() -> None:
    """Put a Markdown twin beside each page, list them in llms.txt, and write the JSON Schema of the file."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    lines = ["# Mixture-of-Agents for LlamaIndex", "", f"> {summary()}", ""]
    for page in pages_of(nav):
        text = (PAGES / page).read_text("utf-8")
        twin = SITE / page
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_text(text, "utf-8")
        title = TITLE.search(text)
        lines.append(f"- [{title[1] if title else page}]({page})")
    (SITE / "llms.txt").write_text("\n".join([*lines, ""]), "utf-8")
    (SITE / "reference" / "moa.schema.json").write_text(
        json.dumps(json_schema(), indent=1), "utf-8"
    )


def summary() -> str:
    """The project in a sentence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return f"{project['description']}."


if __name__ == "__main__":
    {"pages": lay_out, "finish": finish}[sys.argv[1]]()
