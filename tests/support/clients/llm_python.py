"""The command of simonw/llm, whole and streamed; it knows its models from a file."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from question import BASE, QUESTION, report

MODELS = f"- model_id: moa\n  model_name: moa\n  api_base: {BASE}/v1\n  supports_tools: true\n"
TOOL = 'def get_weather(city: str) -> str:\n    "Looks."\n    return "Sunny."\n'
program = str(Path(sys.executable).parent / "llm")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "extra-openai-models.yaml").write_text(MODELS)

    def llm(*options: str) -> str:
        """Run the command."""
        command = [program, "-m", "moa", "--key", "none", *options, QUESTION]
        env = {**os.environ, "LLM_USER_PATH": folder}
        done = subprocess.run(
            command, check=False, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip()

    report(whole=llm("--no-stream"), streamed=llm(), after_tool=llm("--functions", TOOL))
