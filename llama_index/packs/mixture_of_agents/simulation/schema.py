"""Makes a value for a JSON schema. The schema accepts it, and it is always the same."""

from __future__ import annotations

from typing import Any, cast

from .conversation import Json

_FORMATS = {
    "date": "2024-06-07",
    "date-time": "2024-06-07T12:00:00Z",
    "time": "12:00:00Z",
    "email": "simulated@example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.org/",
}


def example(schema: Json, name: str = "value") -> Any:
    """Make a value for a JSON schema, as pydantic and the providers' APIs write schemas.

    Strings name their property, numbers are the smallest allowed, and lists are as short as
    allowed but not empty. If a schema refers to itself, the value ends as soon as possible.
    """
    return _Example(schema).of(schema, name, ("#",))


class _Example:
    """Walks through one schema. `above` holds the references on the way to the current place."""

    def __init__(self, root: Json) -> None:
        self._root = root

    def of(self, schema: Json, name: str, above: tuple[str, ...]) -> Any:
        schema, above = self._resolved(schema, above)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.of(_choice(schema[key], above), name, above)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((k for k in cast("list[str]", kind) if k != "null"), "null")
        if kind == "object" or "properties" in schema:
            return self._object(schema, above)
        if kind == "array":
            return self._array(schema, name, above)
        return _plain(schema, str(kind), name)

    def _object(self, schema: Json, above: tuple[str, ...]) -> Json:
        required = schema.get("required", ())
        return {
            key: self.of(value, key, above)
            for key, value in schema.get("properties", {}).items()
            if key in required or value.get("$ref") not in above
        }

    def _array(self, schema: Json, name: str, above: tuple[str, ...]) -> list[Any]:
        if "prefixItems" in schema:
            return [self.of(item, name, above) for item in schema["prefixItems"]]
        items: Json = schema.get("items", {})
        number = max(schema.get("minItems", 0), items.get("$ref") not in above)
        return [self.of(items, name, above) for _ in range(number)]

    def _resolved(self, schema: Json, above: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
        while True:
            if "$ref" in schema:
                reference = schema["$ref"]
                found: Any = self._root
                for part in reference.split("/")[1:]:
                    found = found[part]
                rest = {k: v for k, v in schema.items() if k != "$ref"}
                schema, above = {**found, **rest}, (*above, reference)
            elif len(schema.get("allOf", ())) == 1:
                rest = {k: v for k, v in schema.items() if k != "allOf"}
                schema = {**schema["allOf"][0], **rest}
            else:
                return schema, above


def _choice(options: list[Json], above: tuple[str, ...]) -> Json:
    """Choose the first option that is not null and does not lead back; else "null"; else the first."""
    onward = [option for option in options if option.get("$ref") not in above]
    values = [option for option in onward if option.get("type") != "null"]
    return (values or onward or options)[0]


def _plain(schema: Json, kind: str, name: str) -> Any:
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    text = _FORMATS.get(schema.get("format", ""), f"simulated {name}")
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _number(schema: Json) -> float:
    if "minimum" in schema:
        return schema["minimum"]
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is None:
        return min(1, schema.get("maximum", 1), 1 if below is None else below - 1)
    if below is not None and below <= above + 1:
        return (above + below) / 2
    return above + min(1, schema.get("maximum", above + 1) - above)
