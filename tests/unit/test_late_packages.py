"""Packages whose ``__init__`` runs only when it is needed: the outcome is that of an ordinary import."""

# The packages exist only while a test runs.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import sys
from importlib import import_module
from textwrap import dedent

import pytest

from llama_index.packs.mixture_of_agents.cli.late_packages import LateFinder

MODULES = {
    "late_a/__init__.py": """
        '''Only imports.'''
        from .one import ONE, make as make_one
        from late_a.two import TWO
        from . import three
        OLD_NAME = ONE
        __all__ = ["ONE", "TWO"]
    """,
    "late_a/one.py": "ONE = 1\n\ndef make():\n    return ONE",
    "late_a/two.py": "TWO = 2",
    "late_a/three.py": "THREE = 3",
    "late_a/four.py": "FOUR = 4",
    "late_a/inner/__init__.py": "from late_a.inner.five import FIVE",
    "late_a/inner/five.py": "from late_a import inner\nFIVE = 5",
    "late_a/circle/__init__.py": "from .first import ONE\nfrom .second import TWO",
    "late_a/circle/first.py": "from late_a.circle import second\nONE = 1",
    "late_a/circle/second.py": "from .first import ONE\nTWO = ONE + 1",
    "late_b/__init__.py": "from .one import ONE\nhandler = None\nregistry = dict(one=ONE)",
    "late_b/one.py": "ONE = 1",
}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    for path, text in MODULES.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [one for one in sys.modules if one.startswith(("late_a", "late_b"))]:
        del sys.modules[name]


@pytest.fixture
def late(packages, monkeypatch):
    def install(**known):
        finder = LateFinder(("late_a", "late_b"), known)
        monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])

    return install


def imported():
    return {name for name in sys.modules if name.startswith(("late_a.", "late_b."))}


def test_a_name_is_imported_from_its_module_alone(late):
    late()
    from late_a import TWO

    assert TWO == 2
    assert imported() == {"late_a.two"}
    assert import_module("late_a").make_one() == 1
    assert imported() == {"late_a.one", "late_a.two"}


def test_a_module_of_the_package_is_found_as_its_attribute(late):
    late()
    from late_a import four, three

    assert (three.THREE, four.FOUR) == (3, 4)
    assert imported() == {"late_a.three", "late_a.four"}


def test_a_name_that_the_init_does_not_import_runs_it_whole(late):
    late()
    package = import_module("late_a")
    assert package.OLD_NAME == 1
    assert imported() == {"late_a.one", "late_a.two", "late_a.three"}


def test_a_star_imports_what_the_init_says(late):
    late()
    names = {}
    exec("from late_a import *", names)
    assert (names["ONE"], names["TWO"]) == (1, 2)
    assert "make_one" not in names


def test_modules_that_import_each_other_are_imported(late):
    late()
    from late_a.circle import TWO
    from late_a.inner import FIVE

    assert (TWO, FIVE) == (2, 5)


@pytest.mark.parametrize("name", ["nothing", "__nothing__"])
def test_a_name_that_is_not_there_is_the_usual_error(late, name):
    late()
    with pytest.raises(AttributeError, match=f"module 'late_a' has no attribute '{name}'"):
        getattr(import_module("late_a"), name)


def test_an_init_that_does_more_than_import_runs_at_once(late):
    late()
    assert "registry" in vars(import_module("late_b"))
    assert imported() == {"late_b.one"}


def test_a_known_package_is_late_and_keeps_what_was_set_before_its_init_runs(late):
    late(late_b={"handler": None})
    package = import_module("late_b")
    assert package.handler is None
    assert imported() == set()
    package.handler = "mine"
    assert package.registry == {"one": 1}
    assert package.handler == "mine"
