"""LLMs served by a real server on this machine, in a thread of the test's own process."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.server import create_app

_KEPT: list[Mapping[str, LLM]] = []
"""An LLM's clients end when it is collected: not while another test's event loop runs, which they would take for theirs."""


@contextmanager
def served(models: Mapping[str, LLM], **settings: Any) -> Iterator[str]:
    """Serve while this context is open; the server's address."""
    _KEPT.append(models)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            create_app(models, **settings), log_config=None, lifespan="off", loop="asyncio",
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def metrics_with(address: str, line: str) -> str:
    """The server's metrics once they have a line: a run ends a moment after its requests to providers.

    Returns:
        The metrics; after 10 seconds without the line those without it.
    """
    deadline = time.monotonic() + 10
    while line not in (text := httpx.get(f"{address}/metrics").text):
        if time.monotonic() > deadline:
            break
    return text
