"""What it takes to begin: imports, a command's help, the LLM objects, the first request and the first answer.

Processes begin in a folder in which there is no package, so that they import the installed one, as users do.
"""

import os
import socket
import subprocess
import sys
import time

from peers import Peer
from report import Report
from rig import HERE, Rig, Setup, middle

CORE = "import llama_index.core"
PACKAGE = "import llama_index.packs.mixture_of_agents"
PACK = "from llama_index.packs.mixture_of_agents import MixtureOfAgentsPack"
COMMANDS = {
    CORE: ["-c", CORE],
    PACKAGE: ["-c", PACKAGE],
    "moa --help": ["-m", "llama_index.packs.mixture_of_agents.cli", "--help"],
}

ASK = "moa ask, until its first request"


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """Processes, begun in turn."""
    report = Report("startup")
    rounds = 1 if quick else 15
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    walls: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            spent[name].append(_cpu([sys.executable, *arguments]))
            walls[name].append(time.perf_counter() - begun)
        cpu_then, wall_then = _first_request()
        spent.setdefault(ASK, []).append(cpu_then)
        walls.setdefault(ASK, []).append(wall_then)
    cpu = {name: middle(values) for name, values in spent.items()}
    report.table(
        "Startup",
        ("", "CPU, s", "wall, s"),
        [(name, cpu[name], middle(walls[name])) for name in spent],
        f"Medians of {rounds}, interleaved.",
    )
    if not quick:
        first = {client: _first(rig, client, rounds) for client in ("default", "ours")}
        report.table(
            "The first run",
            ("seven LLM objects", "CPU of making them, ms", "CPU of the first run, ms"),
            [(name, *(part * 1e3 for part in first[name])) for name in first],
            '"ours" is `share_clients`; "default" makes its clients at the first call.',
        )
    for what, statement in (("pack", PACK), ("package", PACKAGE))[: 1 if quick else 2]:
        more = middle([_after_core(statement) for _ in range(rounds)])
        report.target(f"importing the {what} over importing core", more * 1e3, 50.0, unit="ms")
    report.target(f"CPU of {ASK}, over that of importing core", cpu[ASK] / cpu[CORE], 1.0)
    report.target("moa --help", cpu["moa --help"], 0.4, unit="s of CPU")
    return report


def _after_core(statement: str) -> float:
    """Seconds of CPU that a statement takes where core is imported; two whole processes differ by more than that."""
    code = f"import time, {CORE.split()[1]}\nbegun = time.process_time()\n{statement}\nprint(time.process_time() - begun)"
    return float(subprocess.check_output([sys.executable, "-c", code], cwd=HERE))


def _cpu(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=HERE)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode, command
    return used.ru_utime + used.ru_stime


def _first_request() -> tuple[float, float]:
    """Seconds of CPU and of wall time that ``moa ask`` takes until its first byte arrives at a provider."""
    with socket.create_server(("127.0.0.1", 0)) as provider:
        where = {"OPENAI_API_BASE": "http://{}:{}/v1".format(*provider.getsockname())}
        models = ["-p", "openai:gpt-4o", "-p", "openai:gpt-4o-mini", "-a", "openai:gpt-4o"]
        command = [*COMMANDS["moa --help"][:2], "ask", *models, "Why?"]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "OPENAI_API_KEY": "simulated-key", **where},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=HERE,
        )
        connection, _ = provider.accept()
        connection.recv(1)
        wall = time.perf_counter() - begun
        process.kill()
        connection.close()
        used = os.wait4(process.pid, 0)[2]
        process.returncode = -9
        return used.ru_utime + used.ru_stime, wall


def _first(rig: Rig, client: str, rounds: int) -> tuple[float, float]:
    """Seconds of CPU to make the LLM objects, and for the first run, in a fresh process each time."""
    made, ran = [], []
    for _ in range(min(rounds, 5)):
        with rig.worker("llama_index_openai", Setup(client=client)) as worker:
            made.append(worker.made["cpu"])
            ran.append(worker.tell("run", variant="mixture", runs=1, in_flight=1)["cpu"])
    return middle(made), middle(ran)
