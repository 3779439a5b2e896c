"""The Dockerfile, as far as that can be known without an engine that builds it."""

import json
import re
from pathlib import Path

from moa_program import Moa

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def arguments(instruction: str) -> list[str]:
    """What follows the last such instruction."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_it_copies_is_there_and_is_not_ignored():
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [words.split()[:-1] for words in arguments("COPY") if not words.startswith("--from")]
    names = [name for names in copied for name in names]
    assert {"pyproject.toml", "llama_index"} <= set(names)
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


def test_it_serves_as_an_unprivileged_user():
    last = max(number for number, line in enumerate(LINES) if line.startswith("FROM "))
    users = [line.split()[1] for line in LINES[last:] if line.startswith("USER ")]
    assert users == ["10001"]


def test_it_installs_extras_that_there_are():
    (extras,) = re.findall(r"\"\.\[(.*?)\]\"", "\n".join(LINES))
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras.split(","))


def test_its_command_is_one_that_moa_understands(tmp_path, providers):
    (entry,), (more,) = arguments("ENTRYPOINT"), arguments("CMD")[-1:]
    program, *words = [*json.loads(entry), *json.loads(more)]
    assert program == "moa"
    store = str(tmp_path / "moa.sqlite3")
    words = [store if word == "/data/moa.sqlite3" else word for word in words]
    done = Moa(tmp_path, providers)(*words, code=2)
    assert "/etc/moa/moa.toml" in done.stderr
