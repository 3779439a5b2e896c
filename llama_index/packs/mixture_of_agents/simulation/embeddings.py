"""Simulated embeddings: a small vector that depends only on the words of a text."""

from __future__ import annotations

import base64
import re
import zlib
from array import array
from typing import Any, cast

from .conversation import Json, count_tokens

DIMENSIONS = 64


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a unit vector. Texts with common words have similar vectors."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def answer_json(body: Json) -> Json:
    """The answer to an embeddings request, in OpenAI's and Mistral's common format."""
    inputs: Any = body.get("input") or ""
    texts = cast("list[Any]", inputs) if isinstance(inputs, list) else [inputs]
    vectors = [embed(str(text), body.get("dimensions") or DIMENSIONS) for text in texts]
    tokens = sum(count_tokens(str(text)) for text in texts)
    packed = body.get("encoding_format") == "base64"
    return {
        "object": "list",
        "model": body["model"],
        "data": [
            {"object": "embedding", "index": i, "embedding": _base64(v) if packed else v}
            for i, v in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }


def _base64(vector: list[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode("ascii")
