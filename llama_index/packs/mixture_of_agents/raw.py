"""Looking into a provider's own response, whatever its type: a dict, a pydantic model, any object."""

from typing import Any


def get(thing: Any, *path: str) -> Any:
    """What stands at the end of a path of names; None where there is nothing."""
    for name in path:
        is_mapping = isinstance(thing, dict)
        thing = thing.get(name) if is_mapping else getattr(thing, name, None)
    return thing
