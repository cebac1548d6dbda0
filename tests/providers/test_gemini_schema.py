"""Any JSON schema becomes one that Gemini takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convai_lab.providers.gemini_schema import gemini_schema

TAKEN = {
    "type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties",
    "required", "minimum", "maximum", "minLength", "maxLength", "pattern", "anyOf",
}  # fmt: skip


def one(schema: Any, **root: Any) -> Any:
    """Convert a schema as the only parameter."""
    converted = gemini_schema({"type": "object", "properties": {"a": schema}, **root})
    assert converted is not None
    return converted["properties"]["a"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "default": "x", "examples": ["y"], "$comment": "z"}, {"type": "string"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "integer", "nullable": True}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": ["a", "b", None]}, {"type": "string", "enum": ["a", "b"], "nullable": True}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "description": "One of: 1, 2."}),
        ({"enum": ["a", 1], "description": "D"}, {"type": "string", "description": "D One of: a, 1."}),
        ({"type": "string", "format": "email"}, {"type": "string"}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "array", "items": {"type": "number"}, "contains": 1}, {"type": "array", "items": {"type": "number"}}),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object"}),
        ({"allOf": [{"type": "string"}, {"description": "D"}]}, {"type": "string", "description": "D"}),
        ({"$ref": "#/$defs/B"}, {"type": "string", "description": "B"}),
        ({"$ref": "#/$defs/missing"}, {"type": "object"}),
        ({}, {"type": "string"}),
        (True, {"type": "string"}),
        ({"type": "sausage"}, {"type": "string"}),
    ],
)  # fmt: skip
def test_keywords_are_translated_or_left_out(schema: Any, expected: dict[str, Any]) -> None:
    assert one(schema, **{"$defs": {"B": {"type": "string", "description": "B"}}}) == expected


def test_only_known_properties_are_required() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]}
    assert gemini_schema(schema) == {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}, {"type": "string"}])
def test_no_parameters_are_none(schema: dict[str, Any]) -> None:
    assert gemini_schema(schema) is None


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#/$defs/T"}}}
    assert one({"$ref": "#/$defs/T"}, **{"$defs": {"T": tree}})["type"] == "object"
    assert one({"$ref": "#/$defs/L"}, **{"$defs": {"L": {"$ref": "#/$defs/L"}}})


def test_references_that_unfold_without_end_stop_early() -> None:
    levels = {f"L{n}": {"properties": {f"p{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(10)}} for n in range(20)}
    assert len(str(one({"$ref": "#/$defs/L0"}, **{"$defs": levels}))) < 200_000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "anyOf", "allOf", "$ref", "enum", "const", "required", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "properties", "$ref", "allOf", "anyOf", "required"]), values))
def test_nothing_breaks_it_and_nothing_unknown_gets_through(schema: dict[str, Any]) -> None:
    def check(converted: Any) -> None:
        assert set(converted) <= TAKEN
        for part in [*converted.get("properties", {}).values(), *converted.get("anyOf", [])]:
            check(part)

    if (converted := gemini_schema(schema)) is not None:
        check(converted)
