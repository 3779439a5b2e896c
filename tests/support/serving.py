"""``moa serve`` in a process of its own."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

MODULE = "llama_index.packs.mixture_of_agents.cli"
MODELS = ("-p", "openai:gpt-4.1-mini", "-p", "mistral:mistral-small-latest", "-a", "openai:gpt-4.1")
FAST = """
[models.small]
model = "openai:gpt-4.1-mini"
[mixtures.fast]
proposers = ["small"]
aggregator = "openai:gpt-4.1"
layers = 1
"""
DEEP = """
[mixtures.deep]
proposers = ["small", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
"""
ALICE = """
[server.keys.alice]
key = "$ALICE_KEY"
requests_per_minute = """
"""Parts of a recipe file; the last one ends with a number."""
OF_OPENAI = (
    "-p",
    "openai:gpt-4.1-mini",
    "-p",
    "openai:gpt-4o-mini",
    "-a",
    "openai:gpt-4.1",
    "-l",
    "1",
)


def accepts(host, port) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as trying:
        return trying.connect_ex((host, port)) == 0


@contextmanager
def serving(providers, *arguments: str, models=MODELS, **environment: str) -> Iterator[Any]:
    """A running ``moa serve``, and the words of the curl line that it says."""
    command = [sys.executable, "-m", MODULE, "serve", *models, "--port", "0", *arguments]
    env = {**os.environ, **providers.environment, **environment}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        said = []
        while not said or not said[-1].startswith("curl"):
            said.append(process.stderr.readline())
            assert said[-1], "it ended"
        yield process, "".join(said), shlex.split(said[-1])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_until_closed(curl) -> None:
    """Wait until nobody listens at the address of this curl line; that takes a moment after a signal."""
    address = urlsplit(curl[1])
    while accepts(address.hostname, address.port):
        pass
