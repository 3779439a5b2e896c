"""``moa`` as people run it: a process of its own in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

from programs import run_python

from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

MODULE = "llama_index.packs.mixture_of_agents.cli"
ROOT = Path(__file__).parents[2]
KEYS = ("OPENAI_API_KEY", "MISTRAL_API_KEY", "ANTHROPIC_API_KEY")
KEYLESS = {"OPENAI_API_KEY": "", "MISTRAL_API_KEY": ""}
QUESTION = "What is LlamaIndex?"
MODELS = ("-p", "openai:gpt-4.1-mini", "-p", "mistral:mistral-small-latest", "-a", "openai:gpt-4.1")


class Moa:
    """Runs ``moa`` in a folder of its own, with nothing of the user's around it."""

    def __init__(self, folder: Path, providers: SimulatedProviders) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if name not in KEYS}
        nobody = {"OLLAMA_HOST": "127.0.0.1:1"}
        homes = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home")}
        self.environment = {**kept, **homes, **nobody, **providers.environment, "COLUMNS": "80"}

    def __call__(
        self, *arguments: str, text: str | bytes = b"", code: int = 0, **environment: str
    ) -> CompletedProcess[str]:
        """Run it. A variable that is "" is not there at all."""
        env = {**self.environment, **environment}
        done = run_python(
            "-m",
            MODULE,
            *arguments,
            stdin=text.encode() if isinstance(text, str) else text,
            cwd=self.folder,
            env={name: value for name, value in env.items() if value},
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def raw(self, *arguments: str, code: int = 0, **environment: str) -> CompletedProcess[bytes]:
        """Run it in a process that chooses the encoding of its streams itself."""
        env = {**self.environment, "PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(
            [sys.executable, "-m", MODULE, *arguments],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env={name: value for name, value in env.items() if value},
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        return done
