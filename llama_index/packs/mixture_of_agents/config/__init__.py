"""Reads a ``Recipe`` from a TOML, YAML or JSON file, and writes it. Files name models and settings, never keys."""

from ._documents import Document, mixture_in, mixture_names, read_file, read_text, toml_value, write
from ._json_schema import json_schema
from ._parameters import parameters_of, required_by
from ._reader import dumps, from_data, from_document, load, loads, model_of, read_with_models
from ._server_table import server_keys
from ._writer import identity, to_data

__all__ = [
    "Document",
    "dumps",
    "from_data",
    "from_document",
    "identity",
    "json_schema",
    "load",
    "loads",
    "mixture_in",
    "mixture_names",
    "model_of",
    "parameters_of",
    "read_file",
    "read_text",
    "read_with_models",
    "required_by",
    "server_keys",
    "to_data",
    "toml_value",
    "write",
]
