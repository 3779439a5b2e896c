"""What every file of the package keeps to."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import llama_index.packs.mixture_of_agents as package

FOLDER = Path(package.__path__[0])
FILES = sorted(FOLDER.rglob("*.py"))
LONGEST_FILE = 320
LONGEST_FUNCTION = 50
OPTIONAL_PARTS = ["batch", "cli", "config", "display", "evaluation", "server"]
OPTIONAL_PACKAGES = [
    "genai_prices",
    "openinference",
    "platformdirs",
    "plotly",
    "pydantic_settings",
    "rich",
    "typer",
    "uvloop",
]


def name_of(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def test_all_is_sorted_and_names_every_public_name():
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert package.__all__ == sorted(package.__all__)
    assert {name for name in package.__all__ if not name.startswith("__")} == public


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_and_its_functions_are_short(file):
    length = file.read_text().count("\n")
    assert length <= LONGEST_FILE
    functions = [
        node for node in nodes(file) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name for name, length in lengths.items() if length > LONGEST_FUNCTION} == set()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_configures_logging_for_the_whole_process(file):
    called = [ast.unparse(node.func) for node in nodes(file) if isinstance(node, ast.Call)]
    assert not {"logging.basicConfig", "basicConfig", "logging.disable"} & set(called)


def test_importing_the_package_imports_nothing_optional_and_touches_no_logger():
    look = """
import json, logging, sys
import llama_index.core
before = set(sys.modules), list(logging.root.handlers), logging.root.level
import llama_index.packs.mixture_of_agents
imported = sorted(set(sys.modules) - before[0])
untouched = before[1:] == (logging.root.handlers, logging.root.level)
print(json.dumps({"imported": imported, "root_logger_untouched": untouched}))
"""
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True)
    seen = json.loads(done.stdout)
    assert seen["root_logger_untouched"]
    parts = {f"{package.__name__}.{part}" for part in OPTIONAL_PARTS}
    assert not parts & set(seen["imported"])
    assert not set(OPTIONAL_PACKAGES) & {name.split(".")[0] for name in seen["imported"]}
