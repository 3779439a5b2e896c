"""Write constraints/*.txt: the versions that the development environment is installed with.

usage: make pin, or python tools/pin.py PYTHON... with one interpreter for each Python we support,
the oldest first

`dev.txt` holds every package but LlamaIndex's own, with a marker where the Pythons differ.
`core-*.txt` hold LlamaIndex's own, one file for each core that `make test-matrix` tests: the oldest
with the oldest integrations, the last that can download a llama pack (and the command that does,
for `make doors`), and the newest. Every other file holds what is installed into the environment of
its name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CORES = {
    "0.14.16": [
        "llama-index-core==0.14.16",
        "llama-index-llms-mistralai==0.10.2",
        "llama-index-llms-openai==0.7.0",
    ],
    "0.14.20": ["llama-index-core==0.14.20", "llama-index-cli==0.5.6"],
    "newest": ["llama-index-core"],
}
ENVIRONMENTS = {
    "providers": [".", "--group", "providers"],
    "evaluators": [".[cli,eval,server]", "--group", "evaluators"],
    "ray": [".[batch,ray]", "--group", "ray"],
    "docs": ["--group", "docs"],
    "local": [".[cli,server]", "--group", "local"],
    "clients": ["--group", "clients"],
    "clients-openai2": ["--group", "clients-openai2"],
}

Pins = dict[str, str]


def resolve(python: str, asked: list[str]) -> Pins:
    """Package name to version, as pip resolves what is asked for, and all that it needs, for `python`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip_install = [f"{folder}/bin/python", "-m", "pip", "-qq", "install"]
        subprocess.run([*pip_install, "--upgrade", "pip"], check=True)
        report = subprocess.run(
            [*pip_install, "--dry-run", "--ignore-installed", "--report", "-", *asked],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    packages = [
        item["metadata"]
        for item in json.loads(report)["install"]
        if "dir_info" not in item["download_info"]
    ]
    return {re.sub(r"[-_.]+", "-", it["name"]).lower(): it["version"] for it in packages}


def lines(pins_of: dict[str, Pins]) -> str:
    """One `name==version` line a package; where Pythons differ, one for each run that agrees."""
    written: list[str] = []
    for name in sorted({name for pins in pins_of.values() for name in pins}):
        runs: list[tuple[str, str]] = []  # (version, first Python that has it)
        for python, pins in pins_of.items():
            if name in pins and (not runs or runs[-1][0] != pins[name]):
                runs.append((pins[name], python))
        for position, (version, first) in enumerate(runs):
            bounds = [f'python_version >= "{first}"'] if position else []
            if position + 1 < len(runs):
                bounds.append(f'python_version < "{runs[position + 1][1]}"')
            marker = "; " + " and ".join(bounds) if bounds else ""
            written.append(f"{name}=={version}{marker}")
    return "".join(f"{line}\n" for line in written)


def main(interpreters: list[str]) -> None:
    """Resolve every core with every interpreter; write one file for the rest, one for each core."""
    rest: dict[str, Pins] = {}
    llama_index: dict[str, dict[str, Pins]] = {core: {} for core in CORES}
    environments: dict[str, dict[str, Pins]] = {name: {} for name in ENVIRONMENTS}
    for interpreter in interpreters:
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        python = subprocess.check_output([interpreter, "-c", ask], text=True).strip()
        rest[python] = {}
        for core, requirements in CORES.items():
            pins = resolve(interpreter, [".[all]", "--group", "dev", *requirements])
            ours = {name: pin for name, pin in pins.items() if name.startswith("llama-index")}
            llama_index[core][python] = ours
            rest[python] |= {name: pin for name, pin in pins.items() if name not in ours}
        for name, requirements in ENVIRONMENTS.items():
            environments[name][python] = resolve(interpreter, requirements)

    constraints = ROOT / "constraints"
    (constraints / "dev.txt").write_text(lines(rest))
    for name, pins_of in environments.items():
        (constraints / f"{name}.txt").write_text(lines(pins_of))
    for core, pins_of in llama_index.items():
        (constraints / f"core-{core}.txt").write_text(lines(pins_of))


if __name__ == "__main__":
    main(sys.argv[1:])
