"""``moa init``: a recipe file to begin with."""

import json
import re
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .command import UsageError, command, say

EXAMPLE = Path(__file__).with_name("moa.toml")
"""The file that is written. Lines that begin with "#:" are settings to uncomment."""


@command
def init(
    path: Annotated[Path, Argument(help="The file to write.")] = Path("moa.toml"),
    user: Annotated[
        bool, Option("--user", help="Write the file for this user, for all folders.")
    ] = False,
    schema: Annotated[
        bool, Option("--schema", help="Also write a JSON Schema, for editors that complete TOML.")
    ] = False,
    force: Annotated[bool, Option("--force", "-f", help="Replace the file that is there.")] = False,
) -> None:
    """Write a first recipe file, with comments."""
    from llama_index.packs.mixture_of_agents.errors import ConfigError

    from .sources import from_environment, user_file

    if user:
        path = user_file()
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        path /= "moa.toml"
    if path.suffix != ".toml":
        raise UsageError(f"{path}: the file is TOML; let its name end in .toml.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already. --force replaces it.")
    text = EXAMPLE.read_text(encoding="utf-8").replace("#: ", "# ")
    try:
        source = from_environment()
    except ConfigError:  # there is no key yet
        about = "Set the keys that it needs, and try:"
    else:
        from llama_index.packs.mixture_of_agents.config import toml_value

        for name in ("proposers", "aggregator"):
            line = f"{name} = {toml_value(source.document.data[name])}"
            text = re.sub(rf"^{name} = .*$", lambda _, line=line: line, text, flags=re.MULTILINE)
        about = f"Its models are those of {source.origin}. Try:"
    if schema:
        text = f"#:schema ./{_write_schema(path, force).name}\n{text}"
    path.write_text(text, encoding="utf-8")
    say(f"Written to {path}. {about} moa models --check")


def _write_schema(path: Path, force: bool) -> Path:
    """Write the schema beside a recipe file."""
    from llama_index.packs.mixture_of_agents.config import json_schema

    beside = path.with_suffix(".schema.json")
    if beside.exists() and not force:
        raise UsageError(f"{beside} exists already. --force replaces it.")
    beside.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
    return beside
