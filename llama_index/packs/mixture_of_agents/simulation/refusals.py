"""Requests that a provider refuses: what is wrong, before any provider words it in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .answers import input_tokens
from .behaviour import Behaviour
from .conversation import Json


@dataclass(frozen=True, slots=True)
class Problem:
    """An error answer; `code`, `type` and `param` in the provider's own words.

    `detail` is Mistral's list of single findings, where it sends one.
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
    """(tokens of prompt and answer together, the window) where they do not fit."""
    if behaviour.context_window is None:
        return None
    asked: Any = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    total = input_tokens(body) + int(asked)
    return (total, behaviour.context_window) if total > behaviour.context_window else None
