"""Tool schema: which arguments does a Python function take, as a model and a JSON schema see them?

Schemas are written in the part of JSON Schema that the platform knows: references are resolved, optional types
become types, a `Literal` becomes an `enum`.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from convai_lab.errors import InvalidValueError, ToolError

MAX_SCHEMA_DEPTH = 12
SHOWN_CHARS = 80


@dataclass(frozen=True)
class Signature:
    """A function's parameters: their types, defaults and descriptions, and what the function does."""

    function: Callable[..., Any]
    description: str
    hints: Mapping[str, Any]
    docs: Mapping[str, str]
    parameters: Mapping[str, inspect.Parameter]

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        properties = {name: self._property(name) for name in self.parameters}
        required = [name for name, p in self.parameters.items() if p.default is p.empty]
        return {"type": "object", "properties": properties, "required": required}

    def checked(self, arguments: Mapping[str, Any], *, tool: str) -> dict[str, Any]:
        """Return the arguments in the types of the function.

        Raises:
            ToolError: An argument is missing, unknown or of the wrong type; it names the argument.
        """
        if unknown := [name for name in arguments if name not in self.parameters]:
            known = ", ".join(self.parameters) or "no arguments"
            raise ToolError(f"has no argument {str(unknown[0])[:SHOWN_CHARS]!r}; it takes {known}", tool=tool)
        checked = {}
        for name, parameter in self.parameters.items():
            if name in arguments:
                checked[name] = self._value(name, arguments[name], tool)
            elif parameter.default is parameter.empty:
                raise ToolError(f"the argument {name} is missing", tool=tool)
        return checked

    def call(self, checked: Mapping[str, Any]) -> Any:
        """Call the function with checked arguments."""
        positional = [checked[n] for n, p in self.parameters.items() if p.kind is p.POSITIONAL_ONLY and n in checked]
        named = {n: v for n, v in checked.items() if self.parameters[n].kind is not inspect.Parameter.POSITIONAL_ONLY}
        return self.function(*positional, **named)

    def _value(self, name: str, value: Any, tool: str) -> Any:
        import pydantic

        try:
            return _adapter(self.hints[name]).validate_python(value)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join([name, *map(str, first["loc"])])
            given = repr(first.get("input"))
            given = given if len(given) <= SHOWN_CHARS else given[:SHOWN_CHARS] + "…"
            raise ToolError(f"the argument {where}: {_lower(first['msg'])}, got {given}", tool=tool) from None

    def _property(self, name: str) -> dict[str, Any]:
        import pydantic

        try:
            raw = _adapter(self.hints[name]).json_schema()
        except pydantic.errors.PydanticUserError as error:
            reason = str(error).splitlines()[0].split(". ")[0]
            raise _refused(self.function, f"the type of {name} cannot be described to a model: {reason}") from None
        schema: dict[str, Any] = _portable(raw, raw.get("$defs", {}), 0, self.function)
        if not schema.get("description"):
            schema["description"] = self.docs.get(name) or name.replace("_", " ")
        default = self.parameters[name].default
        if default is not inspect.Parameter.empty and default is not None and _is_json(default):
            schema["default"] = default
        return schema


def signature_of(function: Callable[..., Any]) -> Signature:
    """Read a function's signature and docstring.

    Raises:
        InvalidValueError: A parameter has no type, or takes any number of values, or its type cannot be found.
    """
    import docstring_parser

    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise _refused(function, "its parameters cannot be read: write a Python function around it") from None
    hints = _hints(function)
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise _refused(function, f"{stars}{name} is not possible in a tool: name each argument and give it a type")
        if name not in hints:
            raise _refused(function, f"the argument {name} has no type: write {name}: str, int, float, bool, ...")
    doc = docstring_parser.parse(inspect.getdoc(function) or "")
    parts = [part for part in (doc.short_description, doc.long_description) if part]
    docs = {p.arg_name: p.description for p in doc.params if p.description}
    return Signature(function, "\n\n".join(parts), hints, docs, dict(parameters))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if hasattr(function, "__annotations__") else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise _refused(function, f"its types cannot be found ({error}): define them before the tool") from None
    except TypeError as error:
        raise _refused(function, f"its types cannot be read ({error})") from None


def _adapter(hint: Any) -> Any:
    """Return pydantic's reader for a type; models often send 1234 where a text is asked for, so that is taken."""
    import pydantic

    try:
        return pydantic.TypeAdapter(hint, config=pydantic.ConfigDict(coerce_numbers_to_str=True))
    except pydantic.errors.PydanticUserError:
        return pydantic.TypeAdapter(hint)


def _portable(schema: Any, known: Mapping[str, Any], depth: int, function: Callable[..., Any]) -> Any:
    """Rewrite a schema in the part of JSON Schema that the platform knows."""
    if depth > MAX_SCHEMA_DEPTH:
        raise _refused(function, "a type that contains itself cannot be described to a model")
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        target = known.get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        return _portable(schema, known, depth + 1, function)
    alternatives = [inner for inner in schema.get("anyOf", ()) if inner.get("type") != "null"]
    if len(alternatives) == 1:
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return _portable({**alternatives[0], **rest}, known, depth, function)
    kept = {key: value for key, value in schema.items() if key not in ("title", "$defs", "default", "const")}
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = _portable(kept[key], known, depth + 1, function)
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {n: _portable(p, known, depth + 1, function) for n, p in kept["properties"].items()}
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(kept.get(key), list):
            kept[key] = [_portable(inner, known, depth + 1, function) for inner in kept[key]]
    return kept


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _refused(function: Callable[..., Any], message: str) -> InvalidValueError:
    return InvalidValueError(message, field=f"tool {getattr(function, '__name__', type(function).__name__)}")
