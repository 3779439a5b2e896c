"""What every file of the package keeps to."""

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import llama_index.packs.mixture_of_agents as package

FOLDER = Path(package.__path__[0])
FILES = sorted(FOLDER.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
OPTIONAL_PARTS = [
    "batch",
    "cli",
    "clients",
    "config",
    "display",
    "evaluation",
    "presets",
    "selection",
    "server",
]
OPTIONAL_PACKAGES = [
    "fastapi",
    "genai_prices",
    "openinference",
    "platformdirs",
    "plotly",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "rich",
    "sse_starlette",
    "starlette",
    "typer",
    "uvicorn",
    "uvloop",
]


def name_of(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def test_all_is_sorted_and_names_every_public_name():
    tree = ast.parse(Path(package.__file__ or "").read_text())
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0
    ]
    ours = [node for node in imports if (node.module or "").startswith(package.__name__)]
    assert package.__all__ == sorted(package.__all__)
    assert package.__all__ == sorted(alias.name for node in ours for alias in node.names)
    for node in ours:
        home = importlib.import_module(node.module or "")
        for alias in node.names:
            assert getattr(package, alias.name) is getattr(home, alias.name)


def test_importing_the_package_alone_does_not_import_llama_index_core():
    look = (
        "import sys, llama_index.packs.mixture_of_agents; print('llama_index.core' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_the_package_works_under_another_name_as_a_downloaded_pack_does():
    name = "llama_index.packs._custom"
    spec = importlib.util.spec_from_file_location(name, package.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert copy.MixtureOfAgentsPack is package.MixtureOfAgentsPack
    assert not hasattr(copy, "SomethingElse")
    assert set(package.__all__) < set(dir(copy))


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
from llama_index.packs.mixture_of_agents import *
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
