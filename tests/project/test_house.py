"""What every file of the package keeps to."""

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import grimp
import pytest

import llama_index.packs.mixture_of_agents as package

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(package.__path__[0])
FILES = sorted(FOLDER.rglob("*.py"))
ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
MOST_MODULES = 15
MOST_FLOORS = 10
TESTED_AS_ONE = {
    "batch",
    "cli",
    "config",
    "display",
    "evaluation",
    "limits",
    "mcp_server",
    "recipe",
    "selection",
    "server",
    "simulation",
}
"""Packages that are tested by what they offer, in files that begin with the package's name."""
TESTED_BY = {
    # by the public class or function that is made of them
    "base": "pack",
    "_engine/aggregation": "run",
    "_engine/budget": "run",
    "_engine/playback": "replay",
    "_engine/references": "fitting",
    "_engine/timed_task": "tasks",
    "_messages/digests": "cache",
    "_messages/tokens": "fitting",
    "_providers/characters": "streams",
    "_providers/content_parts": "wire",
    "_providers/descriptions": "config",
    "_providers/detour": "batch_api",
    "_providers/error_words": "faults",
    "_providers/facts": "real_classes",
    "_providers/mistral_batch_api": "batch_api",
    "_providers/models": "config",
    "_providers/openai_batch_api": "batch_api",
    "_providers/pickling": "llm",
    "_providers/readiness": "pack",
    "_providers/retry_after": "faults",
    "_providers/sdk_clients": "real_classes",
    "_providers/thinking": "streams",
    # plain data
    "errors": "faults",
    "events": "listeners",
    "policies": "recipe",
    "_engine/job": "run",
    "_engine/request": "calls",
    # every test uses it
    "testing": "llm",
}
"""Modules without a test file of their name, and the test file that tests them."""
LATE = (f"{package.__name__}.llm", f"{package.__name__}.config")
"""The one import that goes upwards: a mixture reads and writes itself as data, and imports that when it is asked to."""
OPTIONAL_PARTS = [
    "batch",
    "cli",
    "clients",
    "config",
    "display",
    "evaluation",
    "limits",
    "mcp_server",
    "presets",
    "selection",
    "server",
]
OPTIONAL_PACKAGES = [
    "fastapi",
    "genai_prices",
    "mcp",
    "openinference",
    "platformdirs",
    "plotly",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "rich",
    "scipy",
    "sklearn",
    "sse_starlette",
    "starlette",
    "statsmodels",
    "typer",
    "uvicorn",
    "uvloop",
]


def name_of(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def test_the_package_has_its_version_and_a_module_of_presets_lists_presets_alone():
    assert package.__version__ == version("llama-index-packs-mixture-of-agents")
    presets = importlib.import_module(f"{package.__name__}.presets")
    assert dir(presets) == ["PRESETS", *sorted(presets.PRESETS)]


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
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    too_long = {name: length for name, length in lengths if length > LONGEST_FUNCTION}
    assert too_long == {}


ENDINGS = re.compile(r"(?<=\w\w\w)(ations?|ions?|ings?|ments?|ers?|ors?|ed|ies|es|s|e|y)+$")


def root_of(file: Path) -> str:
    """A file's name without its words' endings: the same for "runs" and "running"."""
    words = file.stem.strip("_").split("_")
    return "_".join(re.sub(r"(.)\1$", r"\1", ENDINGS.sub("", word)) for word in words)


def test_no_files_name_is_that_of_another_or_a_grammatical_form_of_it():
    # A file of the command line bears the name of its command, which is the user's word for the thing.
    from llama_index.packs.mixture_of_agents.cli.program import app

    commands = {
        f"cli/{one.callback.__name__}.py" for one in app.registered_commands if one.callback
    }
    named: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        if not file.stem.startswith("__") and name_of(file) not in commands:
            named[root_of(file)].add(name_of(file))
    assert [files for files in named.values() if len(files) > 1] == []


def test_each_module_has_a_test_file_of_its_name_or_a_named_other_one():
    tested = {file.stem.removeprefix("test_") for file in (ROOT / "tests").glob("*/test_*.py")}
    modules = [
        name_of(file).removesuffix(".py")
        for file in FILES
        if not file.stem.startswith("__") and file.parent.name not in TESTED_AS_ONE
    ]
    untested = [module for module in modules if module.split("/")[-1].strip("_") not in tested]
    assert untested == sorted(TESTED_BY)
    assert set(TESTED_BY.values()) <= tested
    assert {
        room for room in TESTED_AS_ONE if not any(name.startswith(room) for name in tested)
    } == set()


def test_few_modules_stand_at_the_top():
    assert len([*FOLDER.glob("[!_]*.py"), *FOLDER.glob("_[!_]*.py")]) <= MOST_MODULES


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """The modules that each module imports, at once or later; not for its types alone."""
    graph = grimp.build_graph(package.__name__, exclude_type_checking_imports=True, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def test_no_modules_import_each_other(imports):
    late, upwards = LATE
    imports = {**imports, late: imports[late] - {upwards}}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names them


def test_a_private_module_is_imported_by_its_own_package_alone(imports):
    intruders = [
        (name, one)
        for name, imported in imports.items()
        for one in imported
        for home, private, _ in [one.partition("._")]
        if private and not f"{name}.".startswith(f"{home}.")
    ]
    assert intruders == []


def test_the_house_has_few_floors():
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())
    house, *_ = configured["tool"]["importlinter"]["contracts"]
    assert house["containers"] == [package.__name__]
    assert len(house["layers"]) <= MOST_FLOORS


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
