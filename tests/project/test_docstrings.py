"""Docstrings of public names say what goes in, what comes out and what is raised.

Two need not repeat it: a method that overrides one of another package, and a docstring that refers to another public name
("See ``Limiter.reserve``", "Like ``run``").
"""

import ast
import importlib
import inspect
import os
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from programs import run_python
from reference import PACKAGE, Definition, definitions_of, public_modules

from llama_index.packs.mixture_of_agents import errors

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OURS = {name for name, value in vars(errors).items() if inspect.isclass(value)}
NOTHING = {"None", "NoReturn", "Never"}
REFERS = re.compile(r"\b(?:[Ss]ee|[Ll]ike|as) ``([\w.]+)``")
# What all functions of a module return, as its own docstring says.
RETURNED = {"presets": "Recipe"}


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = function.args
    found = [one.arg for one in (*every.posonlyargs, *every.args, *every.kwonlyargs)]
    found += [one.arg for one in (every.vararg, every.kwarg) if one]
    return [name for name in found if name not in {"self", "cls"} and name[0] != "_"]


def raised_by(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The exceptions of ours that the function itself raises, those of functions inside it apart."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, ast.Raise) and node.exc:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(error).split(".")[-1])
        waiting += ast.iter_child_nodes(node)
    return found & OURS


def faults_of(
    function: ast.FunctionDef | ast.AsyncFunctionDef, docs: str, known: str = ""
) -> Iterator[str]:
    """What a function's docstring lacks; ``known`` is what every function of its module returns."""
    decorators = {ast.unparse(one).split("(")[0] for one in function.decorator_list}
    if any(name.endswith("overload") for name in decorators):
        return
    if not docs:
        yield "a docstring"
    if parameters_of(function) and "Args:" not in docs:
        yield "Args"
    result = ast.unparse(function.returns) if function.returns else "None"
    says = "Returns:" in docs or "Yields:" in docs or docs.startswith("Return")
    is_value = any("property" in name for name in decorators)
    if result not in {*NOTHING, known} and not is_value and not says:
        yield "Returns"
    if raised_by(function) and "Raises:" not in docs:
        yield "Raises"


def is_anothers(cls: Any, name: str) -> bool:
    """Whether a method overrides one of another package."""
    ours = (cls.__module__.split(".")[:3], ["builtins"])
    return any(
        name in vars(one) and one.__module__.split(".")[:3] not in ours
        for one in cls.__mro__
        if name != "__init__"
    )


def functions_of(definition: Definition) -> Iterator[tuple[str, Any, str, Any]]:
    """The public functions of a definition, each with its name, its docstring and its class if it is a method."""
    file, node = definition
    if not isinstance(node, ast.ClassDef):
        yield node.name, node, ast.get_docstring(node) or "", None
        return
    home = file.relative_to(PACKAGE.parents[2]).with_suffix("").as_posix().replace("/", ".")
    cls = getattr(importlib.import_module(home.removesuffix(".__init__")), node.name)
    for method in node.body:
        if isinstance(method, FUNCTIONS) and (method.name[0] != "_" or method.name == "__init__"):
            docs = ast.get_docstring(method) or ""
            of_class = (ast.get_docstring(node) or "") if method.name == "__init__" else ""
            yield f"{node.name}.{method.name}", method, f"{docs}{of_class}", cls


EVERY = [
    (module, definition[0], *function)
    for module in public_modules()
    for definition in definitions_of(module)
    for function in functions_of(definition)
]
NAMES = {name for _, _, name, *_ in EVERY} | {
    node.name for module in public_modules() for _, node in definitions_of(module)
}


def refers(docs: str, cls: Any) -> bool:
    """Whether a docstring refers to another public name."""
    named = REFERS.findall(docs)
    return any(name in NAMES or (cls and f"{cls.__name__}.{name}" in NAMES) for name in named)


@pytest.mark.parametrize("module", public_modules())
def test_a_public_docstring_says_what_goes_in_what_comes_out_and_what_is_raised(module):
    found = [
        f"{file.name}:{function.lineno} {name} lacks {fault}"
        for home, file, name, function, docs, cls in EVERY
        if home == module
        if not refers(docs, cls) and not (cls and is_anothers(cls, function.name))
        for fault in faults_of(function, docs, RETURNED.get(module, ""))
    ]
    assert found == []


def undescribed(node: ast.ClassDef) -> Iterator[str]:
    """The fields of a public dataclass that neither its docstring nor a text below the field describes."""
    docs = ast.get_docstring(node) or ""
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
            continue
        name = ast.unparse(field.target)
        below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        named = re.search(rf"^\s+(?:\w+, )*{name}(?:, \w+)*:|`{name}`", docs, re.MULTILINE)
        if name[0] != "_" and name != "kind" and not below and not named:
            yield f"{node.name}.{name}"


@pytest.mark.parametrize("module", public_modules())
def test_every_field_of_a_public_dataclass_is_described(module):
    classes = [node for _, node in definitions_of(module) if isinstance(node, ast.ClassDef)]
    data = [one for one in classes if "dataclass" in "".join(map(ast.unparse, one.decorator_list))]
    assert [name for one in data for name in undescribed(one)] == []


EXAMPLES = {
    node.name: example
    for module in public_modules()
    for _, node in definitions_of(module)
    for example in re.findall(r"```python\n(.*?)```", ast.get_docstring(node) or "", re.DOTALL)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_runs(name, providers, tmp_path):
    environment = {**os.environ, **providers.environment}
    done = run_python("-c", textwrap.dedent(EXAMPLES[name]), cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("def ask(question: str) -> None:\n    'Ask.'", ["Args"]),
        ("def ask() -> str:\n    'Ask.'", ["Returns"]),
        ("def ask() -> str:\n    'Return the answer.'", []),
        ("def ask() -> None:\n    'Ask.'\n    raise RunError()", ["Raises"]),
        ("def ask() -> None:\n    'Ask.'\n    raise ValueError()", []),
        ("def ask() -> None:\n    raise errors.RunError", ["a docstring", "Raises"]),
        (
            "async def ask(*questions: str):\n    '''Ask.\n\n    Args:\n        questions: All.'''",
            [],
        ),
        ("@property\ndef answer(self) -> str:\n    'The answer.'", []),
    ],
)
def test_the_check_finds_what_a_docstring_lacks(source, faults):
    (function,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(function, FUNCTIONS)
    assert list(faults_of(function, ast.get_docstring(function) or "")) == faults
