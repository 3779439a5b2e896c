"""Run by every process of test_doors.py: the hosts that a llama pack is downloaded from are a server on this machine.

Nothing else is reached: no_network refuses it, and says so even where the refusal was swallowed.
"""

import atexit
import os
import sys
from typing import Any

import no_network
from requests.adapters import HTTPAdapter

HOSTS = ("github.com", "raw.githubusercontent.com", "llamahub.ai")
send = HTTPAdapter.send


def send_here(adapter: HTTPAdapter, request: Any, *arguments: Any, **options: Any) -> Any:
    host, _, path = request.url.removeprefix("https://").partition("/")
    if host in HOSTS:
        request.url = f"{os.environ['DOORS_REPOSITORY']}/{host}/{path}"
    return send(adapter, request, *arguments, **options)


def tell() -> None:
    if no_network.attempts:
        sys.stderr.write("\n".join(no_network.attempts))
        sys.stderr.flush()
        os._exit(70)


HTTPAdapter.send = send_here  # pyright: ignore[reportAttributeAccessIssue]
atexit.register(tell)
