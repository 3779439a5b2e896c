"""Other people's mixtures, each in an environment of its own under .venvs/."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from report import python_of, quietly
from rig import HERE

ENVIRONMENTS = HERE.parent / ".venvs"


@dataclass(frozen=True)
class Peer:
    """A peer: its name, what pip installs for it, and the contestant that runs it.

    alone: what is installed without what it asks for, since a mixture needs so little of it.
    """

    name: str
    packages: tuple[str, ...]
    contestant: str
    most_in_flight: int = 1000
    alone: tuple[str, ...] = ()


KNOWN = (
    Peer("mixture-llm", ("mixture-llm[openai]==0.1.3",), "mixture_llm"),
    # LlamaIndex's class does not work with the newest OpenAI SDK, which the one before is installed with.
    Peer(
        "mixture-llm over our OpenAI SDK",
        ("mixture-llm==0.1.3", f"openai=={version('openai')}", f"httpx=={version('httpx')}"),
        "mixture_llm",
        most_in_flight=50,
    ),
    Peer("swarms", ("swarms==16.0.3",), "swarms_moa", most_in_flight=50),
    # Its mixture makes 3 requests where the others make 13, so its queries a second do not compare with theirs. It
    # imports little of what its package asks for, which is gigabytes.
    Peer(
        "optillm",
        (
            "aiohttp",
            "cerebras_cloud_sdk",
            "flask",
            "math-verify",
            "networkx",
            "numpy",
            "openai",
            "pyyaml",
            "sympy",
            "z3-solver<=4.15.4.0",
        ),
        "optillm_moa",
        most_in_flight=1,
        alone=("optillm==0.4.0",),
    ),
    Peer(
        "old pack",
        (
            "llama-index-packs-mixture-of-agents==0.2.0",
            "llama-index-core==0.11.5",
            "llama-index-llms-openai==0.2.2",
        ),
        "old_pack",
        most_in_flight=50,
    ),
)
"""The old pack's last version that ever answered, on a core on which it does."""


def pythons(names: list[str]) -> dict[Peer, str]:
    """The interpreters of these peers, installed if need be; one that cannot be installed is said and left out."""
    found: dict[Peer, str] = {}
    for peer in KNOWN:
        if names and peer.name not in names:
            continue
        environment = ENVIRONMENTS / f"peer-{peer.name.replace(' ', '-')}"
        python = python_of(environment)
        if not python.exists():
            problem = _install(environment, peer)
            if problem:
                print(
                    f"{peer.name} cannot be installed here and is left out: {problem.strip()[-300:]}"
                )
                continue
        found[peer] = str(python)
    return found


def _install(environment: Path, peer: Peer) -> str:
    print(f"installing {peer.name} into {environment.relative_to(HERE.parent)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    pip = [str(python_of(environment)), "-m", "pip", "install", "-q"]
    problem = quietly([*pip, *peer.packages])
    if peer.alone and not problem:
        problem = quietly([*pip, "--no-deps", *peer.alone])
    if problem:
        python_of(environment).unlink(missing_ok=True)
    return problem
