"""The ``[server]`` table of a file: the keys of those who may ask a server, and what each may ask."""

import os
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from llama_index.packs.mixture_of_agents.errors import ConfigError

from ._documents import Document, Place

_AN_EXAMPLE = 'say the environment variable that holds it, as in key = "$ALICE_KEY"'


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class KeyTable(_Table):
    """One ``[server.keys.NAME]`` table.

    Attributes:
        key: The environment variable with the key, after a dollar sign.
        requests_per_minute: The requests in any 60 seconds; None for no limit.
        usd_per_day: The US dollars of a day in UTC; None for no limit.
    """

    key: Annotated[str, StringConstraints(pattern=r"^\$[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description="the environment variable with the key, as in $ALICE_KEY."
    )
    requests_per_minute: int | None = Field(None, ge=1, description="the requests in a minute.")
    usd_per_day: float | None = Field(None, gt=0, description="the US dollars of a day in UTC.")


class ServerTable(_Table):
    """The ``[server]`` table."""

    keys: dict[str, KeyTable] = Field(
        default_factory=dict[str, KeyTable], description="who may ask, by names of your own."
    )


def server_keys(document: Document) -> dict[str, tuple[str, KeyTable]]:
    """The keys that a document's ``[server.keys.NAME]`` tables name, with their tables.

    Args:
        document: The file's content.

    Returns:
        The secret and the table of each key, by the key's name.

    Raises:
        ConfigError: A table is not valid, or a variable is not set. The message never holds a key.
    """
    try:
        table = ServerTable.model_validate(document.data.get("server", {}))
    except ValidationError as error:
        raise _refusal(document, error) from None
    keys: dict[str, tuple[str, KeyTable]] = {}
    for name, one in table.keys.items():
        secret = os.environ.get(one.key[1:], "").strip()
        place = ("server", "keys", name, "key")
        if not secret:
            problem = f"{'.'.join(place)}: the environment variable {one.key[1:]} is not set"
            raise ConfigError(f"{document.where(place)}: {problem}")
        keys[name] = (secret, one)
    return keys


def _refusal(document: Document, error: ValidationError) -> ConfigError:
    first = error.errors(include_input=False)[0]
    place: Place = ("server", *first["loc"])
    problem = _AN_EXAMPLE if place[-1] == "key" else first["msg"]
    if first["type"] == "extra_forbidden":
        problem = "there is no such field"
    return ConfigError(f"{document.where(place)}: {'.'.join(map(str, place))}: {problem}")


def server_schema() -> dict[str, Any]:
    """The table's JSON Schema."""
    whole = ServerTable.model_json_schema()
    (key,) = whole.pop("$defs").values()
    whole["properties"]["keys"]["additionalProperties"] = key
    return whole
