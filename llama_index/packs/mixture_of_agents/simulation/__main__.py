"""Runs the server: `python -m llama_index.packs.mixture_of_agents.simulation`. It ends with its parent, or on Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import threading

from aiohttp import web

from .http_server import Server

HOST = "127.0.0.1"


def main() -> None:
    """Run the command. It prints {"port": ...} as soon as it listens."""
    parser = argparse.ArgumentParser(prog="simulation", description="Simulated LLM providers.")
    parser.add_argument("--port", type=int, default=0, help="by default a free one")
    parser.add_argument("--cpu", type=int, help="run on this CPU only (Linux)")
    parser.add_argument(
        "--until-eof", action="store_true", help="end as soon as standard input ends"
    )
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    asyncio.run(_serve(options.port, until_eof=options.until_eof))


async def _serve(port: int, *, until_eof: bool) -> None:
    server = Server()
    # If a client disconnects, its request must end at once, not when the answer is written.
    runner = web.ServerRunner(
        web.Server(server.handle, handler_cancellation=True, access_log=None),
        shutdown_timeout=0.1,
    )
    await runner.setup()
    site = web.TCPSite(runner, HOST, port, backlog=4096)
    await site.start()
    gc.freeze()
    ended = _end_signal(until_eof=until_eof)
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    try:
        await ended.wait()
    finally:
        await runner.cleanup()


def _end_signal(*, until_eof: bool) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if sys.platform != "win32":
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, ended.set)
    if until_eof:
        # The parent holds the other end of the pipe, which closes with the parent, however that ends.
        def watch() -> None:
            sys.stdin.buffer.read()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=watch, daemon=True).start()
    return ended


if __name__ == "__main__":
    main()
