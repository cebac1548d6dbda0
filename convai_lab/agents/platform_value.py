"""Platform value: when are two values the same, although a platform has filled in its defaults?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from convai_lab.agents.wire_defaults import section_without_defaults

_SCHEMA_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "description": ("",),
    "dynamic_variable": ("",),
    "constant_value": ("", None),
    "is_omitted": (False,),
    "is_system_provided": (False,),
    "enum": (None,),
    "allowed_values": (None,),
    "allowed_values_dynamic_variable": ("",),
    "required": ([],),
    "required_constraints": (None,),
    "property_kind": ("object", "array"),
}


class PlatformValue:
    """A value that keeps the rest of the platform's JSON in `extra`; defaults in there make no difference.

    It may be used as a key: the hash is that of the name, which every value has or goes without.
    """

    _section: ClassVar[str | None] = None

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            self.bare(f.name) == other.bare(f.name)
            for f in fields(self)  # type: ignore[arg-type]
            if f.compare
        )

    def __hash__(self) -> int:
        return hash((type(self).__name__, getattr(self, "name", None)))

    def bare(self, name: str) -> Any:
        """Return a field as it counts in a comparison."""
        value = getattr(self, name)
        if name == "extra" and self._section is not None:
            return section_without_defaults(value, self._section)
        return bare_schema(value) if name == "parameters" or name.endswith("_schema") else value


def bare_schema(schema: Any) -> Any:
    """Return a JSON schema without what the platform adds to each property by itself."""
    if not isinstance(schema, Mapping):
        return schema
    bare = {name: value for name, value in schema.items() if not _is_filled_in(name, value)}
    for name in ("properties", "path_schema"):
        if isinstance(inner := bare.get(name), Mapping):
            bare[name] = {key: bare_schema(value) for key, value in inner.items()}
    if isinstance(items := bare.get("items"), Mapping):
        bare["items"] = bare_schema(items)
    return bare


def _is_filled_in(name: str, value: Any) -> bool:
    if name not in _SCHEMA_DEFAULTS:
        return False
    return any(
        value is default or (value == default and not isinstance(value, int)) for default in _SCHEMA_DEFAULTS[name]
    )
