"""A TOML, YAML or JSON file to a ``Recipe`` and back: models by name and settings, never by their keys."""

from ._reader import dumps, from_data, from_document, load, loads, model_of
from ._writer import to_data

__all__ = ["dumps", "from_data", "from_document", "load", "loads", "model_of", "to_data"]
