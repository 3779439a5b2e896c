"""Marks for tests of what Windows lacks. docs/cli.md says which features these are."""

import sys

import pytest


def not_on_windows(reason: str) -> pytest.MarkDecorator:
    """Skip a test on Windows."""
    return pytest.mark.skipif(sys.platform == "win32", reason=reason)


sends_signals = not_on_windows("no process can send SIGINT or SIGTERM to another one there")
forks = not_on_windows("it cannot fork")
makes_links = not_on_windows("only administrators may make links there")
needs_a_terminal = not_on_windows("pexpect makes only POSIX terminals")
