"""``moa``: the mixture in a terminal. Needs the extra ``cli``.

What a command needs is imported when it runs: ``moa --help`` must not wait for LlamaIndex.
"""

import sys
from importlib.util import find_spec


def main() -> None:
    """The command ``moa``."""
    if not all(map(find_spec, ("platformdirs", "pydantic_settings", "rich", "typer"))):
        sys.exit('moa needs more: pip install "llama-index-packs-mixture-of-agents[cli]"')
    from .app import app

    app(prog_name="moa")
