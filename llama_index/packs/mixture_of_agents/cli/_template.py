"""The package's source as a folder to change: written, and compared with the installed version."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from llama_index.packs.mixture_of_agents.config import read_file, write
from llama_index.packs.mixture_of_agents.errors import ConfigError

NAME = "llama-index-packs-mixture-of-agents"
PACKAGE = Path(__file__).parents[1]
INSIDE = Path(*__name__.split(".")[:-2])
"""The package's folder in a template: llama_index/packs/mixture_of_agents."""
_RECORD = ".moa-pack.json"
"""The file that holds a template's version and the hashes of its files."""


def lay_down(folder: Path, *, replace: bool = False) -> int:
    """Write the package's source with a pyproject.toml and a README into a folder.

    Args:
        folder: The folder; it is made if it does not exist.
        replace: Whether to replace files that differ.

    Returns:
        The number of files.

    Raises:
        ConfigError: A file exists already and differs.
    """
    files = _files()
    if not replace:
        changed = [name for name, text in files.items() if _read(folder / name) not in (None, text)]
        if changed:
            raise ConfigError(
                f"{folder / changed[0]} is there already, and differs: --force replaces it"
            )
    hashes = {name: _hash(text) for name, text in files.items()}
    files[_RECORD] = json.dumps({"version": version(), "files": hashes}, indent=1)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return len(files)


@dataclass(frozen=True)
class Difference:
    """A file of a template that was changed since it was written, or that differs from the installed version.

    Attributes:
        name: The file.
        yours: "changed", "added" or "removed" since it was written; "" if it was not changed.
        theirs: The same for the installed version.
        before: Its text in the installed version, or None.
        after: Its text in the template, or None.
    """

    name: str
    yours: str
    theirs: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        changes = [f"{self.yours} by you"] * bool(self.yours)
        changes += [f"{self.theirs} in the installed version"] * bool(self.theirs)
        return f"{self.name}: {', '.join(changes)}"

    def lines(self) -> Iterator[str]:
        """Yield the lines of a unified diff."""
        before = (self.before or "").splitlines(keepends=True)
        after = (self.after or "").splitlines(keepends=True)
        return difflib.unified_diff(before, after, f"installed/{self.name}", f"yours/{self.name}")


@dataclass(frozen=True)
class Comparison:
    """How a template differs.

    Attributes:
        version: The version that was written.
        installed: The version that is installed; "" if that is the template itself.
        differences: The files that differ.
    """

    version: str
    installed: str
    differences: tuple[Difference, ...]


def compare(folder: Path) -> Comparison:
    """Compare a template with what was written, and with the installed version.

    Args:
        folder: The template.

    Raises:
        ConfigError: The folder is not a template.
    """
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        known_as, laid_down = record["version"], record["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder} is not a folder that moa pack wrote: it has no {_RECORD}"
        ) from error
    itself = (folder / INSIDE).resolve() == PACKAGE.resolve()
    now = {name: _read(folder / name) for name in {*laid_down, *_sources(folder / INSIDE, folder)}}
    theirs = {name: now.get(name) for name in laid_down} if itself else _files()
    names = sorted({*now, *theirs})
    found = (
        _difference(name, laid_down.get(name), now.get(name), theirs.get(name), itself)
        for name in names
    )
    return Comparison(known_as, "" if itself else version(), tuple(filter(None, found)))


def _difference(
    name: str, laid_down: str | None, after: str | None, before: str | None, itself: bool
) -> Difference | None:
    yours = _change(laid_down, after)
    theirs = "" if itself else _change(laid_down, before)
    if after == before and not itself:
        return None
    return Difference(name, yours, theirs, before, after) if yours or theirs else None


def _change(before: str | None, text: str | None) -> str:
    """How a file's text differs from a hash: "changed", "added", "removed" or ""."""
    if before is None or text is None:
        return "" if before is text is None else "added" if before is None else "removed"
    return "" if before == _hash(text) else "changed"


def _files() -> dict[str, str]:
    """A template's files by name, with their texts."""
    project = _project()
    readme = (
        (PACKAGE / "cli" / "template.md")
        .read_text(encoding="utf-8")
        .replace("{version}", project["version"])
    )
    files = {"README.md": readme, "pyproject.toml": _pyproject(project)}
    licence = _licence()
    return (
        files
        | ({"LICENSE": licence} if licence else {})
        | _sources(PACKAGE, PACKAGE.parents[len(INSIDE.parts) - 1])
    )


def _sources(package: Path, root: Path) -> dict[str, str]:
    found = (
        path for path in sorted(package.rglob("*")) if path.is_file() and path.suffix != ".pyc"
    )
    return {path.relative_to(root).as_posix(): _read(path) or "" for path in found}


def _read(path: Path) -> str | None:
    """A file's text, or None if it does not exist. Bytes that are not UTF-8 are replaced: it is only compared."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _project() -> dict[str, Any]:
    """The ``[project]`` table of the installed package, or of a checkout that is not installed."""
    try:
        known = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        project = read_file(PACKAGE.parents[len(INSIDE.parts) - 1] / "pyproject.toml").data[
            "project"
        ]
        names = (
            "version",
            "description",
            "requires-python",
            "dependencies",
            "optional-dependencies",
            "scripts",
        )
        return {"name": NAME, **{name: project[name] for name in names if name in project}}
    needed = known.requires or []
    extras = known.metadata.get_all("Provides-Extra") or []
    return {
        "name": NAME,
        "version": known.version,
        "description": known.metadata["Summary"],
        "requires-python": known.metadata["Requires-Python"],
        "dependencies": [one for one in needed if "extra ==" not in one],
        "optional-dependencies": {extra: _of_extra(extra, needed) for extra in extras},
        "scripts": {
            one.name: one.value for one in known.entry_points if one.group == "console_scripts"
        },
    }


def version() -> str:
    """The package's version."""
    return _project()["version"]


def _of_extra(extra: str, needed: list[str]) -> list[str]:
    marker = re.compile(rf"\s*(?:;|and)\s*extra == ['\"]{re.escape(extra)}['\"]")
    return [marker.sub("", one) for one in needed if marker.search(one)]


def _pyproject(project: Mapping[str, Any]) -> str:
    """The pyproject.toml of a template."""
    return write(
        {
            "build-system": {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"},
            "project": {**project, "readme": "README.md", "license": "MIT"},
            "tool": {"hatch": {"build": {"targets": {"wheel": {"include": ["llama_index/"]}}}}},
        }
    )


def _licence() -> str | None:
    """The licence's text; it must accompany the source."""
    try:
        installed = [one for one in metadata.files(NAME) or [] if one.name == "LICENSE"]
    except metadata.PackageNotFoundError:
        return _read(PACKAGE.parents[len(INSIDE.parts) - 1] / "LICENSE")
    return installed[0].read_text(encoding="utf-8") if installed else None
