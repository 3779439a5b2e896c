"""The package's source as a folder to change."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from llama_index.packs.mixture_of_agents import ConfigError
from llama_index.packs.mixture_of_agents.cli import _template as template
from llama_index.packs.mixture_of_agents.config import read_file

ROOT = Path(__file__).parents[2]
INSIDE = "llama_index/packs/mixture_of_agents"


@pytest.fixture
def folder(tmp_path):
    template.lay_down(tmp_path / "mine")
    return tmp_path / "mine"


def differences(folder: Path) -> list[str]:
    return [str(one) for one in template.compare(folder).differences]


def python(folder: Path, *arguments: str) -> str:
    """What Python says where a program names the folder, as the template's README shows."""
    guard = os.environ.get("PYTHONPATH", "")
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), guard])},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr


def test_a_template_holds_the_source_with_what_it_takes_to_build_it(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"LICENSE", "README.md", "llama_index", "pyproject.toml", ".moa-pack.json"}
    for path in template.PACKAGE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            copy = folder / INSIDE / path.relative_to(template.PACKAGE)
            assert copy.read_bytes() == path.read_bytes()


def test_its_pyproject_says_what_the_projects_own_says(folder):
    ours = read_file(ROOT / "pyproject.toml").data["project"]
    its = read_file(folder / "pyproject.toml").data["project"]

    def parsed(needs: list[str]) -> set[Requirement]:
        return {Requirement(need) for need in needs}

    for name in ("name", "version", "description", "license", "scripts"):
        assert its[name] == ours[name]
    assert set(its["requires-python"].split(",")) == set(ours["requires-python"].split(","))
    assert parsed(its["dependencies"]) == parsed(ours["dependencies"])

    def whole(project: dict[str, Any], extra: str) -> set[Requirement]:
        """What an extra brings; some versions of hatchling write out an extra that names others."""
        needs = parsed(project["optional-dependencies"][extra])
        others = {name for need in needs if need.name == ours["name"] for name in need.extras}
        own = {need for need in needs if need.name != ours["name"]}
        return own.union(*(whole(project, name) for name in others))

    assert set(its["optional-dependencies"]) == set(ours["optional-dependencies"])
    for extra in ours["optional-dependencies"]:
        assert whole(its, extra) == whole(ours, extra)


def test_its_readme_names_files_that_there_are(folder):
    text = (folder / "README.md").read_text()
    named = [
        word.strip("`,")
        for line in text.splitlines()
        if line.startswith("| ")
        for word in line.split("|")[2].split()
        if "`" in word
    ]
    assert len(named) > 5
    assert [name for name in named if not (folder / INSIDE / name).exists()] == []


def test_a_program_that_names_the_folder_uses_the_copy_and_what_was_changed_in_it(folder):
    prompts = folder / INSIDE / "_messages/prompts.py"
    prompts.write_text(prompts.read_text() + '\nMINE = "mine"\n')
    package = INSIDE.replace("/", ".")
    ask = f"from {package} import MixtureOfAgentsPack; from {package}._messages import prompts; "
    told = python(folder, "-c", f"{ask}print(prompts.MINE, prompts.__file__)")
    assert told.split() == ["mine", str(prompts)]


def test_the_copy_builds(folder, tmp_path):
    python(folder, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path / "built"))
    assert [path.name for path in (tmp_path / "built").iterdir()] == [
        "llama_index_packs_mixture_of_agents-1.0.0-py3-none-any.whl"
    ]


def test_a_template_as_it_was_laid_down_differs_in_nothing(folder):
    comparison = template.compare(folder)
    assert comparison.differences == ()
    assert comparison.version == comparison.installed == "1.0.0"


def test_what_a_user_changes_adds_and_removes_is_told(folder):
    prompts = folder / INSIDE / "_messages/prompts.py"
    prompts.write_text(prompts.read_text() + "# mine\n")
    (folder / INSIDE / "mine.py").write_text("MINE = 1\n")
    (folder / INSIDE / "picture.png").write_bytes(b"\x89PNG\xff")
    (folder / "LICENSE").unlink()
    assert differences(folder) == [
        "LICENSE: removed by you",
        f"{INSIDE}/_messages/prompts.py: changed by you",
        f"{INSIDE}/mine.py: added by you",
        f"{INSIDE}/picture.png: added by you",
    ]
    (changed,) = [one for one in template.compare(folder).differences if "prompts" in one.name]
    assert [line for line in changed.lines() if line.startswith("+")] == [
        f"+++ yours/{INSIDE}/_messages/prompts.py\n",
        "+# mine\n",
    ]


def test_what_a_newer_version_changes_is_told_apart_from_what_the_user_changed(folder):
    # as laid down by a version before this one, in which these three files were different
    record = folder / ".moa-pack.json"
    text = record.read_text()
    for name in ("_messages/prompts.py", "errors.py", "events.py"):
        path = folder / INSIDE / name
        before = path.read_text()
        path.write_text(f"{before}# as it was\n")
        text = text.replace(template._hash(before), template._hash(path.read_text()))
    record.write_text(text.replace('"1.0.0"', '"0.9.0"'))
    prompts, errors = folder / INSIDE / "_messages/prompts.py", folder / INSIDE / "errors.py"
    prompts.write_text("# the user's\n")
    errors.write_text((template.PACKAGE / "errors.py").read_text())  # taken over by hand
    assert template.compare(folder).version == "0.9.0"
    assert differences(folder) == [
        f"{INSIDE}/_messages/prompts.py: changed by you, changed in the installed version",
        f"{INSIDE}/events.py: changed in the installed version",
    ]


def test_the_copy_itself_still_knows_what_was_changed_in_it(folder):
    prompts = folder / INSIDE / "_messages/prompts.py"
    prompts.write_text(prompts.read_text() + "# mine\n")
    told = python(folder, "-m", INSIDE.replace("/", ".") + ".cli", "pack", "--check", ".")
    assert "Written by version 1.0.0; this folder is what is installed." in told
    assert f"{INSIDE}/_messages/prompts.py: changed by you" in told


def test_what_was_changed_is_not_replaced_unasked(folder):
    prompts = folder / INSIDE / "_messages/prompts.py"
    before = prompts.read_text()
    prompts.write_text("# mine\n")
    with pytest.raises(ConfigError, match=r"prompts\.py is there already, and differs: --force"):
        template.lay_down(folder)
    assert prompts.read_text() == "# mine\n"
    template.lay_down(folder, replace=True)
    assert prompts.read_text() == before


def test_a_folder_that_is_no_template_is_said_to_be_none(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder that moa pack wrote"):
        template.compare(tmp_path)
