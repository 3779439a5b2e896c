"""Reads TOML, YAML and JSON text as plain data with line numbers, and writes it."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import yaml

from llama_index.packs.mixture_of_agents._providers.redaction import redact
from llama_index.packs.mixture_of_agents.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Format: TypeAlias = Literal["toml", "yaml", "json"]
_WIDTH = 100
NONE = "none"
"""Stands for None in TOML, which has no null: ``temperature = "none"`` sends no temperature."""
Place: TypeAlias = tuple[str | int, ...]
"""The path to a value: ``("layers", 0, "quorum")``."""


@dataclass(frozen=True)
class Document:
    """The data of a configuration text.

    Attributes:
        data: the data.
        name: the name of the text in errors, usually its path.
        text: the text.
        format: the format of the text. JSON is a part of YAML, and is read as such.
        origins: the source of each value that is not in the text: name -> "--temperature".
        root: the path to the data in the text; () for the whole text.
    """

    data: Mapping[str, Any]
    name: str = "the recipe"
    text: str = ""
    format: Format = "toml"
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    root: Place = ()

    def where(self, place: Place) -> str:
        """Return the name and line of a value, such as ``moa.toml:7``; only the name if the value is not in the text.

        Args:
            place: the keys that lead to the value.
        """
        if place and place[0] in self.origins:
            return self.origins[str(place[0])]
        place = place if place[:1] in (("models",), ("server",)) else (*self.root, *place)
        line = _line_of(self.text, self.format, place) if self.text else None
        return f"{self.name}:{line}" if line else self.name


def mixture_names(document: Document) -> list[str]:
    """Return the names of a document's ``[mixtures.NAME]`` tables.

    Args:
        document: the file's content.

    Raises:
        ConfigError: ``mixtures`` does not consist of tables.
    """
    tables = document.data.get("mixtures", {})
    if not isinstance(tables, Mapping):
        where = document.where(("mixtures",))
        raise ConfigError(f"{where}: mixtures: tables are expected, such as [mixtures.fast]")
    return [str(name) for name in cast("Mapping[Any, Any]", tables)]


def mixture_in(document: Document, name: str) -> Document:
    """Return one of a document's ``[mixtures.NAME]`` tables, together with the document's models and server.

    Args:
        document: the file's content.
        name: the table's name.

    Raises:
        ConfigError: The value is not a table.
    """
    table, place = document.data["mixtures"][name], ("mixtures", name)
    if not isinstance(table, Mapping):
        problem = f"mixtures.{name}: names with values are expected"
        raise ConfigError(f"{document.where(place)}: {problem}")
    shared = {name: document.data[name] for name in ("models", "server") if name in document.data}
    return replace(document, data={**shared, **cast("Mapping[str, Any]", table)}, root=place)


def read_file(path: str | Path) -> Document:
    """Read a ``.toml``, ``.yaml``, ``.yml`` or ``.json`` file.

    Args:
        path: the file.

    Returns:
        Its content, and what is needed to name a line of it.

    Raises:
        ConfigError: the file does not exist, or is not in the format of its suffix. The message shows the line.
    """
    path = Path(path)
    formats: dict[str, Format] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file, such as {path / 'moa.toml'}")
    if path.suffix.lower() not in formats:
        raise ConfigError(f"{path}: its name must end in {', '.join(formats)}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    return read_text(text, formats[path.suffix.lower()], str(path))


def read_text(text: str, format: Format = "toml", name: str = "the recipe") -> Document:  # noqa: A002
    """Read a text.

    Args:
        text: the text.
        format: its format.
        name: the name of the text in errors.

    Returns:
        The document.

    Raises:
        ConfigError: the text is not in this format. The message shows the line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        data = tomllib.loads(text) if format == "toml" else yaml.safe_load(text)
    except tomllib.TOMLDecodeError as error:
        problem = re.sub(r" \(at .*\)$", "", str(error))
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise ConfigError(_broken(text, name, "TOML", line, problem)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else 1
        raise ConfigError(_broken(text, name, format.upper(), line, problem)) from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{name}: names with values are expected, such as aggregator: a model")
    return Document(data, name, text, format)  # type: ignore[reportUnknownArgumentType]


def _broken(text: str, name: str, language: str, line: int, problem: str) -> str:
    lines = text.splitlines() or [""]
    shown = redact(lines[min(line, len(lines)) - 1].strip())
    return f"{name}:{line}: this is not {language}: {problem}\n    {shown}"


def _line_of(text: str, format: Format, place: Place) -> int | None:  # noqa: A002
    while place:
        line = _toml_line(text, place) if format == "toml" else _yaml_line(text, place)
        if line:
            return line
        place = place[:-1]
    return None


def _toml_line(text: str, place: Place) -> int | None:
    """Find the line of a value.

    The search reads the first line, the first two lines, and so on, until the value is there. A value of several lines
    is there at its last line. So the name is then searched from the last readable beginning up to that line.
    """
    lines = text.splitlines()
    readable = 0
    for end in range(1, len(lines) + 1):
        try:
            data = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        value = _value_at(data, place)
        if value is not _NOTHING:
            shown = place[-1] if isinstance(place[-1], str) else f'"{value}"'
            here = re.compile(rf"(?<![\w-]){re.escape(shown)}(?![\w-])")
            between = range(readable + 1, end + 1)
            return next((number for number in between if here.search(lines[number - 1])), end)
        readable = end
    return None


_NOTHING = object()


def _value_at(data: Any, place: Place) -> Any:
    try:
        return reduce(getitem, place, data)
    except (KeyError, IndexError, TypeError):
        return _NOTHING


def _yaml_line(text: str, place: Place) -> int | None:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)  # type: ignore[reportUnknownMemberType]
    line = None
    for step in place:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(step)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            pairs = [(value, value) for value in node.value[step : step + 1]]
        else:
            pairs = []
        if not pairs:
            return None
        key, node = pairs[0]
        line = key.start_mark.line + 1
    return line


def write(data: Mapping[str, Any], format: Format = "toml") -> str:  # noqa: A002
    """Write plain data as text.

    Args:
        data: the data.
        format: "toml", "yaml" or "json".

    Returns:
        The text.

    Raises:
        ConfigError: the data holds a value that is not plain data.
    """
    try:
        if format == "json":
            return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        if format == "yaml":
            return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        return "\n".join(_toml_table(data, ())).strip() + "\n"
    except (TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"this cannot be written to a file: {error}") from error


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """The lines of a table: its values first, then its tables, as TOML requires."""
    lines: list[str] = []
    inner: list[str] = []
    for name, value in table.items():
        where = (*path, _toml_key(name))
        if isinstance(value, Mapping):
            content = _toml_table(value, where)  # type: ignore[reportUnknownArgumentType]
            only_tables = bool(content) and not content[0]
            inner += content if only_tables else ["", f"[{'.'.join(where)}]", *content]
        elif _tables(value):
            for one in value:
                inner += ["", f"[[{'.'.join(where)}]]", *_toml_table(one, where)]
        else:
            line = f"{_toml_key(name)} = {toml_value(value)}"
            lines.append(
                line if len(line) <= _WIDTH else f"{_toml_key(name)} = {_toml_lines(value)}"
            )
    return lines + inner


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, Mapping) for x in value)  # type: ignore[reportUnknownVariableType]


def _toml_lines(value: Any) -> str:
    """Write a long value. A list gets one line per item."""
    if not isinstance(value, list):
        return toml_value(value)
    return "".join(["[\n", *(f"    {toml_value(one)},\n" for one in cast("list[Any]", value)), "]"])


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Write a value as TOML on one line.

    Args:
        value: plain data.

    Returns:
        The text, without a line break.

    Raises:
        TypeError: the value is not plain data.
    """
    if value is None:
        return toml_value(NONE)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items())  # type: ignore[reportUnknownVariableType]
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(toml_value(one) for one in value)}]"  # type: ignore[reportUnknownVariableType]
    raise TypeError(f"{value!r} is not plain data")
