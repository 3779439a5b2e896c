"""Lay the site's pages out in build/docs, and put the built site into build/site, in a folder of its version.

usage: python tools/docs_site.py pages     before the site is built, in build/html
       python tools/docs_site.py finish    after: a Markdown twin of each page, llms.txt, the file's JSON Schema; versions

The folders of earlier versions stay as they are. The theme's selector reads versions.json, and / leads to the newest.
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shutil
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

import llama_index.packs.mixture_of_agents as package
from llama_index.packs.mixture_of_agents.config import json_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "docs"
BUILT = ROOT / "build" / "html"
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
# The selector stays on a page if the other version's sitemap lists it. It reads the paths alone, so any host will do.
SERVED = "http://127.0.0.1:8000/"
SITEMAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{pages}</urlset>
"""
# At the site's root.
ENTRANCE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Mixture-of-Agents for LlamaIndex</title>
<meta http-equiv="refresh" content="0; url={version}/index.html">
<p><a href="{version}/index.html">Version {version}</a></p>
</html>
"""


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
    """Add a Markdown twin of each page, llms.txt and the file's JSON Schema, and give the version its folder."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    lines = ["# Mixture-of-Agents for LlamaIndex", "", f"> {summary()}", ""]
    for page in pages_of(nav):
        text = (PAGES / page).read_text("utf-8")
        twin = BUILT / page
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_text(text, "utf-8")
        title = TITLE.search(text)
        lines.append(f"- [{title[1] if title else page}]({page})")
    (BUILT / "llms.txt").write_text("\n".join([*lines, ""]), "utf-8")
    schema = BUILT / "reference" / "moa.schema.json"
    schema.write_text(json.dumps(json_schema(), indent=1), "utf-8")
    pages = "".join(f"<url><loc>{SERVED}{page}</loc></url>\n" for page in ("", *html_pages(BUILT)))
    (BUILT / "sitemap.xml").write_text(SITEMAP.format(pages=pages), "utf-8")
    folder = SITE / project()["version"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    BUILT.rename(folder)
    list_versions(SITE)


def html_pages(folder: Path) -> list[str]:
    """The pages of a built site, as paths from its root."""
    return sorted(page.relative_to(folder).as_posix() for page in folder.rglob("*.html"))


def list_versions(site: Path) -> None:
    """Write what the theme's selector reads, and a page at the root that leads to the newest version."""
    newest, *others = sorted(filter(None, map(version_of, site.iterdir())), reverse=True)
    listed = [
        {"version": str(one), "title": str(one), "aliases": ["latest"] if one == newest else []}
        for one in (newest, *others)
    ]
    (site / "versions.json").write_text(json.dumps(listed, indent=1), "utf-8")
    (site / "index.html").write_text(ENTRANCE.format(version=newest), "utf-8")


def version_of(folder: Path) -> Version | None:
    """The version that a folder of the site holds, if it holds one."""
    try:
        return Version(folder.name) if folder.is_dir() else None
    except InvalidVersion:
        return None


def summary() -> str:
    """The project in a sentence."""
    return f"{project()['description']}."


def project() -> dict[str, str]:
    """What pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


if __name__ == "__main__":
    {"pages": lay_out, "finish": finish}[sys.argv[1]]()
