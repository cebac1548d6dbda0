"""Gemini schema: which part of a JSON schema does Gemini take for a function's parameters?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEEPEST = 16
"""Levels of nesting; what is deeper (or refers to itself) becomes a plain object."""

_KEPT = frozenset(
    {"title", "description", "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength", "pattern"}
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_FORMATS = {
    "string": frozenset({"date-time", "enum"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}


def gemini_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the subset of a JSON schema that Gemini takes, None when it describes no parameters.

    References are resolved in place, ``type: [x, null]`` and ``anyOf`` with null become ``nullable``, ``const``
    becomes an ``enum``, ``oneOf`` an ``anyOf``, ``allOf`` is merged; everything else unknown is left out.
    """
    result = _convert(schema, schema, 0)
    return result if result.get("properties") else None


def _convert(schema: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return {"type": "object"} if depth > DEEPEST else {}
    schema = _resolved(schema, root)
    result = {name: schema[name] for name in _KEPT if schema.get(name) is not None}
    kind = _kind(schema, result)
    if kind:
        result["type"] = kind
    _choices(schema, result, root, depth)
    if kind == "object":
        _properties(schema, result, root, depth)
    if kind == "array":
        result["items"] = _convert(schema.get("items") or {}, root, depth + 1) or {"type": "string"}
    if schema.get("format") in _FORMATS.get(kind, ()):
        result["format"] = schema["format"]
    _enum(schema, result, kind)
    return result


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow ``$ref`` inside the document and merge ``allOf``."""
    merged = dict(schema)
    for _ in range(DEEPEST):
        parts = [_target(merged.pop("$ref"), root)] if "$ref" in merged else []
        found = merged.pop("allOf", None)
        parts += [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else []
        if not parts:
            break
        for part in parts:
            both = {**part.get("properties", {}), **merged.get("properties", {})} if "properties" in part else None
            merged = {**part, **merged, **({"properties": both} if both else {})}
    return merged


def _target(reference: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {"type": "object"}


def _kind(schema: Mapping[str, Any], result: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        if "null" in kind:
            result["nullable"] = True
        kind = next((one for one in kind if one != "null"), None)
    if schema.get("nullable") is True:
        result["nullable"] = True
    if kind in _TYPES:
        return str(kind)
    if "properties" in schema:
        return "object"
    if "enum" in schema or "const" in schema:
        return _kind_of(schema.get("const", next(iter(schema.get("enum") or ()), "")))
    return ""


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _choices(schema: Mapping[str, Any], result: dict[str, Any], root: Mapping[str, Any], depth: int) -> None:
    found = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(found, list):
        return
    real = [one for one in found if not (isinstance(one, Mapping) and one.get("type") == "null")]
    if len(real) < len(found):
        result["nullable"] = True
    converted = [one for one in (_convert(one, root, depth + 1) for one in real) if one]
    if len(converted) == 1:
        result |= {**converted[0], **result}
    elif converted:
        result["anyOf"] = converted
        result.pop("type", None)


def _properties(schema: Mapping[str, Any], result: dict[str, Any], root: Mapping[str, Any], depth: int) -> None:
    found = schema.get("properties")
    if not isinstance(found, Mapping) or not found:
        return
    result["properties"] = {
        str(name): _convert(one, root, depth + 1) or {"type": "string"} for name, one in found.items()
    }
    required = schema.get("required")
    known = [name for name in required if name in result["properties"]] if isinstance(required, list) else []
    if known:
        result["required"] = known


def _enum(schema: Mapping[str, Any], result: dict[str, Any], kind: str) -> None:
    """Keep an enumeration of strings; of other values only the description can speak."""
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if not isinstance(values, list):
        return
    if None in values:
        result["nullable"] = True
    real = [value for value in values if value is not None]
    if kind == "string" and all(isinstance(value, str) and value for value in real) and real:
        result["enum"] = real
    elif real:
        words = "One of: " + ", ".join(str(value) for value in real) + "."
        result["description"] = f"{result['description']} {words}" if result.get("description") else words
