"""No test needs what only POSIX systems have, unless it is skipped on Windows with a reason."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.glob("*/test_*.py"))
POSIX = re.compile(
    r"\b(?:send_signal|interrupt)\(|\bos\.(?:kill|fork|mkfifo)\(|\bsymlink_to\(|\bshell=True|\bpexpect\.spawn\(|\.num_fds\(|"
    r"/dev/full|/proc/|\bSIGKILL\b|\bsetrlimit\b"
)
MARKS = re.compile(
    r"\b(?:sends_signals|forks|makes_links|needs_a_terminal|not_on_windows|skipif|importorskip)\b"
)
# Inside a test: it skips itself.
SKIPS = re.compile(r"\bsys\.platform\b|\bimportorskip\('(?:fcntl|pty|resource)'")
# Modules that Windows lacks: their import would fail a file's collection.
ABSENT = {"fcntl", "grp", "pty", "pwd", "resource", "termios"}


def unmarked(source: str) -> list[str]:
    """The tests of a file that need a POSIX system and are not marked."""
    tree = ast.parse(source)
    marks = [node for node in tree.body if isinstance(node, ast.Assign)]
    if any("pytestmark" in ast.unparse(one) and MARKS.search(ast.unparse(one)) for one in marks):
        return []
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
        if POSIX.search(ast.unparse(node))
        if not any(MARKS.search(ast.unparse(one)) for one in node.decorator_list)
        if not SKIPS.search(ast.unparse(node))
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_only_posix_has_is_skipped_on_windows(file):
    assert unmarked(file.read_text("utf-8")) == []


@pytest.mark.parametrize("file", [*TESTS.rglob("*.py")], ids=lambda file: file.name)
def test_no_file_imports_at_its_top_what_windows_lacks(file):
    imported = {
        name.split(".")[0]
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None) or node.names[0].name]
    }
    assert imported & ABSENT == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def test_it():\n    process.send_signal(signal.SIGINT)", ["test_it"]),
        ("@sends_signals\ndef test_it():\n    process.send_signal(signal.SIGINT)", []),
        ("pytestmark = forks\ndef test_it():\n    os.fork()", []),
        ("async def test_it():\n    run(command, shell=True)", ["test_it"]),
        ("def test_it():\n    process.kill()", []),
    ],
)
def test_the_check_finds_tests_that_need_posix(source, found):
    assert unmarked(source) == found
