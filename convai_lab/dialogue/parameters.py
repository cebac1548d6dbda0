"""Parameters: which parameters of a tool does the model fill, and where do the others come from?

A described value may be fixed by the agent's author (``constant_value``), taken from the conversation
(``dynamic_variable``) or left out (``is_omitted``). The model never sees those and cannot change them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.outside_text import MAX_ERROR_CHARS, cut
from convai_lab.dialogue.validator import load_validator

AUTHOR_KEYS = frozenset(
    {
        "dynamic_variable",
        "constant_value",
        "is_omitted",
        "is_system_provided",
        "property_kind",
        "allowed_values",
        "allowed_values_dynamic_variable",
        "required_constraints",
    }
)
"""Keys of a described value that are for the platform, not for the model."""

Schema = Mapping[str, Any]

_NOT_A_SCHEMA = (TypeError, ValueError, AttributeError, KeyError)
"""What the validator raises when a keyword of the schema has a value of the wrong type."""


def schema_for_model(schema: Schema, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of what the model fills."""
    shown = {key: value for key, value in schema.items() if key not in AUTHOR_KEYS and value is not None}
    if (allowed := _allowed_values(schema, variables)) is not None:
        shown["enum"] = allowed
    if isinstance(items := schema.get("items"), Mapping):
        shown["items"] = schema_for_model(items, variables)
    if isinstance(properties := schema.get("properties"), Mapping):
        shown["properties"] = {
            name: schema_for_model(value, variables) if isinstance(value, Mapping) else value
            for name, value in properties.items()
            if not is_supplied(value)
        }
        if isinstance(required := schema.get("required"), (list, tuple)):
            shown["required"] = [name for name in required if name in shown["properties"]]
    return shown


def is_supplied(schema: Any) -> bool:
    """Say whether the value comes from the author or the conversation, so that the model does not fill it."""
    if not isinstance(schema, Mapping):
        return False
    flags = (schema.get("is_omitted") is True, schema.get("is_system_provided") is True)
    return any(flags) or _has_constant(schema) or bool(schema.get("dynamic_variable"))


def completed(schema: Schema, arguments: Any, variables: Mapping[str, Any]) -> Any:
    """Return the model's `arguments` with the supplied values put in; what the author fixed always wins.

    Raises:
        ToolFault: A dynamic variable that the schema names has no value.
    """
    if isinstance(arguments, list) and isinstance(items := schema.get("items"), Mapping):
        return [completed(items, item, variables) for item in arguments]
    properties = schema.get("properties")
    if not isinstance(arguments, Mapping) or not isinstance(properties, Mapping):
        return arguments
    whole = dict(arguments)
    for name, value in properties.items():
        if not isinstance(value, Mapping):
            continue
        if is_supplied(value):
            whole.pop(name, None)
            whole.update(_supplied(name, value, variables))
        elif name in whole:
            whole[name] = completed(value, whole[name], variables)
        elif _supplies_something(value):
            whole[name] = completed(value, {}, variables)
    return whole


def check_arguments(schema: Schema, arguments: Any) -> None:
    """Check the model's arguments against the schema it saw.

    Raises:
        ToolFault: They do not fit; one sentence names the argument.
    """
    load_validator()
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = jsonschema.Draft202012Validator(schema, registry=Registry())
    try:
        error = jsonschema.exceptions.best_match(validator.iter_errors(arguments))
    except (jsonschema.exceptions.UnknownType, Unresolvable, re.error, *_NOT_A_SCHEMA) as problem:
        raise ToolFault(f"the tool's own parameter schema is not valid: {problem}", "tool_error") from problem
    if error is not None:
        path = ".".join(str(part) for part in error.absolute_path)
        message = f"{path}: {error.message}" if path else error.message
        raise ToolFault(f"wrong arguments: {cut(message, MAX_ERROR_CHARS)}", "bad_arguments")


def _supplied(name: str, schema: Schema, variables: Mapping[str, Any]) -> dict[str, Any]:
    if schema.get("is_omitted") is True:
        return {}
    if _has_constant(schema):
        return {name: schema["constant_value"]}
    variable = schema.get("dynamic_variable")
    if not variable:
        return {}
    if variable not in variables:
        raise ToolFault(f"{name} comes from the variable {variable}, which has no value", "missing_variable")
    return {name: _of_type(variables[variable], schema.get("type"))}


def _supplies_something(schema: Schema) -> bool:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return False
    return any(
        is_supplied(value) or _supplies_something(value) for value in properties.values() if isinstance(value, Mapping)
    )


def _has_constant(schema: Schema) -> bool:
    value = schema.get("constant_value")
    return value is not None and value != ""


def _allowed_values(schema: Schema, variables: Mapping[str, Any]) -> list[Any] | None:
    allowed = schema.get("allowed_values")
    name = allowed.get("dynamic_variable") if isinstance(allowed, Mapping) else None
    value = variables.get(name or schema.get("allowed_values_dynamic_variable") or "")
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, (list, tuple)) and value else None


def _of_type(value: Any, wanted: Any) -> Any:
    """Turn a variable, which is often text, into the type that the schema asks for, if it can be."""
    if wanted == "string":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and wanted in ("integer", "number", "boolean", "array", "object"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
