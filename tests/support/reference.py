"""What the site's reference lists: public modules, and the classes and functions of their pages."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "llama_index" / "packs" / "mixture_of_agents"
Definition = tuple[Path, "ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef"]


def public_modules() -> list[str]:
    """Modules and packages that users import, commands apart."""
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return sorted(name for name in found if name[0] != "_" and name != "cli")


def definitions_of(module: str) -> list[Definition]:
    """The classes and functions of a module's page, each with its file.

    A package's page has the names of its ``__all__``; without one, those of its public modules.
    """
    folder = PACKAGE / module
    if not folder.is_dir():
        return public_in(PACKAGE / f"{module}.py")
    names = exported(folder / "__init__.py")
    if not names:
        return [one for file in sorted(folder.glob("[!_]*.py")) for one in public_in(file)]
    every = [one for file in sorted(folder.rglob("*.py")) for one in public_in(file)]
    return [(file, node) for file, node in every if node.name in names]


def public_in(file: Path) -> list[Definition]:
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [(file, node) for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def exported(init: Path) -> set[str]:
    """The names of a package's ``__all__``."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    (names,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ] or [ast.List([])]
    return set(ast.literal_eval(names))
