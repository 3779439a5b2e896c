"""A value for a JSON schema: always the same one, and one that the schema accepts."""

from __future__ import annotations

from typing import Any, cast

Json = dict[str, Any]
DEEPEST = 12


def example(schema: Json, name: str = "value") -> Any:
    """The value of a JSON schema (as pydantic and the providers' APIs write them).

    Strings are named after their property; numbers are the smallest allowed, lists as short
    as allowed but not empty.
    """
    return _example(schema, name, schema, 0)


def _example(schema: Json, name: str, root: Json, depth: int) -> Any:
    schema = _resolve(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            options = [_resolve(option, root) for option in schema[key]]
            if depth > DEEPEST and any(option.get("type") == "null" for option in options):
                return None
            chosen = next((o for o in options if o.get("type") != "null"), options[0])
            return _example(chosen, name, root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in cast("list[str]", kind) if k != "null"), "null")
    if kind == "object" or "properties" in schema:
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, name, root, depth)
    return _plain(schema, str(kind), name)


def _object(schema: Json, root: Json, depth: int) -> Json:
    properties: Json = schema.get("properties", {})
    if depth > DEEPEST:
        properties = {key: properties[key] for key in schema.get("required", ())}
    return {key: _example(value, key, root, depth + 1) for key, value in properties.items()}


def _array(schema: Json, name: str, root: Json, depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [_example(item, name, root, depth + 1) for item in schema["prefixItems"]]
    least = schema.get("minItems", 0)
    number = least if depth > DEEPEST else max(least, 1)
    return [_example(schema.get("items", {}), name, root, depth + 1) for _ in range(number)]


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


def _resolve(schema: Json, root: Json) -> Json:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].lstrip("#/").split("/"):
            found = found[part]
        schema = {**found, **{k: v for k, v in schema.items() if k != "$ref"}}
    if len(schema.get("allOf", ())) == 1:
        rest = {k: v for k, v in schema.items() if k != "allOf"}
        return _resolve({**schema["allOf"][0], **rest}, root)
    return schema


_FORMATS = {
    "date": "2024-06-07",
    "date-time": "2024-06-07T12:00:00Z",
    "time": "12:00:00Z",
    "email": "simulated@example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.org/",
}
