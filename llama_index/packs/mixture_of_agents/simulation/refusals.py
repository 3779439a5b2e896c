"""Finds requests that a provider refuses, before the provider's module words the error in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import input_tokens
from .behaviour import Behaviour
from .conversation import Json


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer. `code`, `type` and `param` are the provider's own words.

    `detail` is Mistral's list of single findings, if it sends one.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    detail: tuple[Json, ...] = ()


def refused_parameter(body: Json, behaviour: Behaviour) -> tuple[str, bool] | None:
    """The first parameter that the model refuses, and whether only its value is refused."""
    for name in behaviour.refuses:
        if body.get(name) is not None:
            return name, False
    for name in behaviour.only_default:
        if body.get(name) not in (None, 1):
            return name, True
    return None


def tokens_over_window(body: Json, behaviour: Behaviour) -> tuple[int, int] | None:
    """(tokens of prompt and answer together, the window) if they do not fit; else None."""
    if behaviour.context_window is None:
        return None
    limit: Any = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    total = input_tokens(body) + int(limit)
    return (total, behaviour.context_window) if total > behaviour.context_window else None
