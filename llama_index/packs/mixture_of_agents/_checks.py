"""Checks of a user's input. Each raises a ``RecipeError`` that says what is wrong."""

from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from decimal import Decimal
from math import inf
from numbers import Integral, Real
from typing import Any

from .errors import RecipeError


def require(holds: bool, field_name: str, value: object, problem: str) -> None:
    """Raise a RecipeError unless something holds."""
    if not holds:
        raise RecipeError(field_name, value, problem)


def is_a(kind: type[Any], value: object) -> bool:
    """``isinstance`` for a value that may be of any type in spite of its annotation."""
    return isinstance(value, kind)


def of_kind(field_name: str, value: object, kind: type[Any], example: str) -> None:
    """Raise a RecipeError unless a value is an instance of a class."""
    require(
        is_a(kind, value),
        field_name,
        shown(value),
        f"is not of type {kind.__name__}: say {example}",
    )


def shown(value: object) -> object:
    """A value as an error may show it. Of an object only the class: it may contain a key."""
    return value if isinstance(value, (str, int, float)) or value is None else type(value).__name__


def is_number(value: object) -> bool:
    """Whether a value is a number, numpy's included. A number in a string is not, nor are True and False."""
    return isinstance(value, (Real, Decimal)) and not is_a(bool, value)


MOST_SECONDS = 10**9
MOST_LAYERS = 100
MOST_SAMPLES = 1000
MOST_RETRIES = 100
_MOST = 10**12
"""The largest count of anything: tokens, calls, failures."""


def not_negative(owner: str, **values: float | None) -> None:
    """Raise a RecipeError for what is not a number from 0 to ``MOST_SECONDS``, or infinity; None is none at all."""
    for name, value in values.items():
        holds = value is None or (is_number(value) and value >= 0)
        require(holds, f"{owner}.{name}", value, "must be a number, and cannot be negative")
        _not_too_large(f"{owner}.{name}", value, MOST_SECONDS)


def whole(owner: str, least: int, most: int = _MOST, **values: int) -> None:
    """Raise a RecipeError for what is not a whole number from ``least`` to ``most``."""
    for name, value in values.items():
        holds = is_number(value) and is_a(Integral, value) and value >= least
        field_name = f"{owner}.{name}" if owner else name
        require(holds, field_name, value, f"must be a whole number, at least {least}")
        _not_too_large(field_name, value, most)


def _not_too_large(field_name: str, value: float | None, most: int) -> None:
    if value is not None and most < value != inf:
        given = value if value < 10**18 else "a number of more than 18 digits"
        raise RecipeError(field_name, given, f"must be at most {most:,}")


def bound(owner: str, **values: int | None) -> None:
    """Raise a RecipeError for a value that is not a whole number of at least 1. None passes: no bound."""
    for name, value in values.items():
        if value is not None:
            whole(owner, 1, **{name: value})


def one_of(field_name: str, value: object, *allowed: str) -> None:
    """Raise a RecipeError unless a value is one of those allowed."""
    require(value in allowed, field_name, value, f"is {' or '.join(map(repr, allowed))}")


def positive(owner: str, **values: float | None) -> None:
    """Raise a RecipeError for what is not a number above 0, to ``MOST_SECONDS``; None and infinity are no bound."""
    for name, value in values.items():
        holds = value is None or (is_number(value) and value > 0)
        require(holds, f"{owner}.{name}", value, "must be a number above 0")
        _not_too_large(f"{owner}.{name}", value, MOST_SECONDS)


def changed(thing: Any, but: Collection[str] = (), always: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, by name.

    Args:
        thing: the dataclass instance.
        but: names of fields to leave out.
        always: names of fields to include even at their defaults.
    """
    held = {one.name: (one, getattr(thing, one.name)) for one in fields(thing)}
    return {
        name: value
        for name, (one, value) in held.items()
        if name not in but and (name in always or value != _default(one))
    }


def _default(one: Field[Any]) -> Any:
    """A field's default; ``MISSING``, which equals nothing else, where it has none."""
    return one.default if one.default_factory is MISSING else one.default_factory()
