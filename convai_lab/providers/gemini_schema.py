"""Gemini schema: which part of a JSON schema does Gemini take for a function's parameters?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEEPEST = 16
"""Levels of nesting; what is deeper (or refers to itself) becomes a plain object."""
MOST_SCHEMAS = 2000
"""Schemas inside one schema, references unfolded; what comes after becomes a plain object."""

_TEXTS = frozenset({"title", "description", "pattern"})
_KEPT = (*sorted(_TEXTS), "minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength")
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
    result = _Converter(schema).convert(schema, 0)
    return result if result.get("properties") else None


class _Converter:
    """Converts one document: the references in it point into its root."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._left = root, MOST_SCHEMAS

    def convert(self, schema: Any, depth: int) -> dict[str, Any]:
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return {"type": "object"}
        if not isinstance(schema, Mapping):
            return {}
        schema = self._resolved(schema)
        result = {name: schema[name] for name in _KEPT if _fits(name, schema.get(name))}
        kind = _kind(schema, result)
        if kind:
            result["type"] = kind
        self._choices(schema, result, depth)
        if kind == "object":
            self._properties(schema, result, depth)
        if kind == "array":
            result["items"] = self.convert(schema.get("items"), depth + 1) or {"type": "string"}
        if isinstance(schema.get("format"), str) and schema["format"] in _FORMATS.get(kind, ()):
            result["format"] = schema["format"]
        _enum(schema, result, kind)
        return result

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow ``$ref`` inside the document and merge ``allOf``."""
        merged = dict(schema)
        for _ in range(DEEPEST):
            parts = [self._target(merged.pop("$ref"))] if "$ref" in merged else []
            parts += [part for part in _list(merged.pop("allOf", None)) if isinstance(part, Mapping)]
            if not parts:
                break
            for part in parts[:MOST_SCHEMAS]:
                properties = {**_mapping(part.get("properties")), **_mapping(merged.get("properties"))}
                merged = {**part, **merged, **({"properties": properties} if properties else {})}
        return merged

    def _target(self, reference: Any) -> Mapping[str, Any]:
        found: Any = self._root
        for step in str(reference).removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {"type": "object"}

    def _choices(self, schema: Mapping[str, Any], result: dict[str, Any], depth: int) -> None:
        found = _list(schema.get("anyOf")) or _list(schema.get("oneOf"))
        real = [one for one in found if not (isinstance(one, Mapping) and one.get("type") == "null")]
        if len(real) < len(found):
            result["nullable"] = True
        converted = [one for one in (self.convert(one, depth + 1) for one in real) if one]
        if len(converted) == 1:
            result |= {**converted[0], **result}
        elif converted:
            result["anyOf"] = converted
            result.pop("type", None)

    def _properties(self, schema: Mapping[str, Any], result: dict[str, Any], depth: int) -> None:
        found = _mapping(schema.get("properties"))
        if not found:
            return
        result["properties"] = {
            str(name): self.convert(one, depth + 1) or {"type": "string"} for name, one in found.items()
        }
        known = [name for name in _list(schema.get("required")) if isinstance(name, str) and name in found]
        if known:
            result["required"] = list(dict.fromkeys(known))


def _fits(name: str, value: Any) -> bool:
    """Say whether a keyword has a value of the kind it must have: text, or a number."""
    if name in _TEXTS:
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(schema: Mapping[str, Any], result: dict[str, Any]) -> str:
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if (len(kinds) > 1 and "null" in kinds) or schema.get("nullable") is True:
        result["nullable"] = True
    for kind in kinds:
        if isinstance(kind, str) and kind in _TYPES:
            return kind
    if _mapping(schema.get("properties")):
        return "object"
    values = [schema["const"]] if "const" in schema else _list(schema.get("enum"))
    return _kind_of(values[0]) if values else ""


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _enum(schema: Mapping[str, Any], result: dict[str, Any], kind: str) -> None:
    """Keep an enumeration of strings; of other values only the description can speak."""
    values = _list(schema.get("enum")) or ([schema["const"]] if "const" in schema else [])
    if None in values:
        result["nullable"] = True
    real = [value for value in values if value is not None]
    if kind == "string" and real and all(isinstance(value, str) and value for value in real):
        result["enum"] = real
    elif real:
        words = "One of: " + ", ".join(str(value) for value in real) + "."
        result["description"] = f"{result['description']} {words}" if result.get("description") else words


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
