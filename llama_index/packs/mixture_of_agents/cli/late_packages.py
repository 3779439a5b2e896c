"""Packages whose ``__init__`` runs only when it is needed.

LlamaIndex and OpenAI's SDK import nearly all of their modules in the ``__init__`` of their packages, and a question needs
few of them. Late packages halve the CPU time until a command's first request. They change the order of imports, so only
the commands use them in which somebody waits for the first word: a library must not in its user's process, and a server
or a batch gains nothing.
"""

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec, resolve_name
from logging import NullHandler, getLogger
from threading import RLock
from types import ModuleType
from typing import Any

_ROOTS = ("llama_index.core", "llama_index.llms", "openai")


def import_packages_late() -> None:
    """Import the packages of LlamaIndex and of OpenAI's SDK late, from now on, in the whole process."""
    if os.environ.get("OPENAI_LOG"):  # the __init__ of openai sets its log up
        return
    getLogger("llama_index.core").addHandler(NullHandler())  # as the __init__ of core does
    credentials = {
        "api_key": None,
        "base_url": None,
        "api_version": os.environ.get("OPENAI_API_VERSION"),
    }
    known = {"llama_index.core": {"global_handler": None}, "openai": credentials}
    sys.meta_path.insert(0, LateFinder(_ROOTS, known))


class LateFinder(MetaPathFinder):
    """Finds packages and makes those late whose ``__init__`` does nothing but import names.

    A late package imports a name from its module when it is asked for the name. Its ``__init__`` runs when it is asked for
    a name that the ``__init__`` does not import.

    Args:
        roots: The packages that can be late, with all packages in them.
        known: Packages that are late although their ``__init__`` does more, each with values that the ``__init__`` would
            set.
    """

    def __init__(
        self, roots: Sequence[str], known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._roots, self._known = roots, known or {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a package; see ``importlib.abc.MetaPathFinder``."""
        if not any(fullname == root or fullname.startswith(f"{root}.") for root in self._roots):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not spec.submodule_search_locations:
            return None
        if type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path, self._known.get(fullname))
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, values: Mapping[str, Any] | None) -> None:
        super().__init__(name, path)
        self._values = values

    def exec_module(self, module: ModuleType) -> None:
        statements = ast.parse(self.get_data(self.path)).body
        if self._values is None and not all(map(_can_wait, statements)):
            super().exec_module(module)
            return
        vars(module).update(self._values or {}, __late__=dict(_imported(statements)))
        module.__class__ = _LatePackage


def _can_wait(statement: ast.stmt) -> bool:
    """Whether a statement only imports names, gives something a further name, or is a docstring."""
    if isinstance(statement, ast.ImportFrom):
        return statement.names[0].name != "*"
    if isinstance(statement, ast.Assign):
        return not any(isinstance(part, ast.Call) for part in ast.walk(statement))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _imported(statements: Sequence[ast.stmt]) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that the statements import, each with its module and its name in that module."""
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            for one in statement.names:
                yield one.asname or one.name, (module, one.name)


class _LatePackage(ModuleType):
    """A package whose ``__init__`` has not run. ``__late__`` has the names that it would import."""

    def __getattr__(self, name: str) -> Any:
        value = self._one(name)
        if value is not None:
            setattr(self, name, value)
            return value
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _LOCK:
            if type(self) is _LatePackage:
                self._run()
        return getattr(self, name)

    def _one(self, name: str) -> Any:
        """What the ``__init__`` imports under a name, or the package's module of that name; else None."""
        module, its_name = vars(self)["__late__"].get(name, (".", name))
        module = resolve_name(module, self.__name__)
        try:
            if module != self.__name__:
                return getattr(import_module(module), its_name)
            found = find_spec(f"{module}.{its_name}")
            return import_module(found.name) if found else None
        except (AttributeError, ImportError):  # perhaps only in this order of imports
            return None

    def _run(self) -> None:
        before = {name: value for name, value in vars(self).items() if not name.startswith("__")}
        self.__class__ = ModuleType  # pyright: ignore[reportAttributeAccessIssue]
        SourceFileLoader(self.__name__, str(self.__file__)).exec_module(self)
        vars(self).update(before)  # for example a handler that was set in the meantime


_LOCK = RLock()
