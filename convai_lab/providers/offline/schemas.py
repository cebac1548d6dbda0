"""Schemas: what does a tool want to know? A JSON schema, however odd, becomes a flat list of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from convai_lab.providers.offline.words import listed, name_words

MAX_PARAMETERS = 60
MAX_CHOICES = 200
MAX_DEPTH = 4

Kind = Literal[
    "choice",
    "code",
    "email",
    "phone",
    "url",
    "date",
    "time",
    "datetime",
    "integer",
    "number",
    "boolean",
    "name",
    "place",
    "sentence",
    "list",
    "object",
    "words",
]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool; `choices` are the values it allows, `items` what a list or an object holds."""

    name: str
    kind: Kind
    required: bool = False
    description: str = ""
    choices: tuple[Any, ...] = ()
    items: tuple[Parameter, ...] = ()
    pattern: str = ""
    is_integer: bool = False
    clock_24h: bool = False

    @property
    def label(self) -> str:
        """Return its name in words: ``order number`` for ``order_id``."""
        said = name_words(self.name) or ["value"]
        if self.kind == "code" and said[-1] in ("id", "no", "nr", "num", "ref"):
            said = [*said[:-1], "reference" if said[-1] == "ref" else "number"]
        if said[-1] == "id":
            said = [*said[:-1], "number"]
        return " ".join(said).replace("e mail", "e-mail")


def parameters_of(schema: object) -> tuple[Parameter, ...]:
    """Return the parameters of a JSON schema of type object; anything else has none."""
    if not isinstance(schema, Mapping):
        return ()
    return _properties(schema, schema, 0)


def _properties(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> tuple[Parameter, ...]:
    schema = _resolved(schema, root)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or depth > MAX_DEPTH:
        return ()
    listed = schema.get("required")
    required = {r for r in listed if isinstance(r, str)} if isinstance(listed, (list, tuple)) else set()
    found = []
    for name, entry in list(properties.items())[:MAX_PARAMETERS]:
        if isinstance(name, str) and isinstance(entry, Mapping):
            found.append(_parameter(name, _resolved(entry, root), root, name in required, depth))
        elif isinstance(name, str) and entry is True:
            found.append(Parameter(name, "words", name in required))
    return tuple(found)


def _parameter(name: str, entry: Mapping[str, Any], root: Mapping[str, Any], required: bool, depth: int) -> Parameter:
    description = entry.get("description")
    description = description[:600] if isinstance(description, str) else ""
    choices = _choices(entry)
    kind = _kind(name, entry, description, choices)
    items: tuple[Parameter, ...] = ()
    if kind == "list":
        inner = entry.get("items")
        element = _resolved(inner, root) if isinstance(inner, Mapping) else {}
        if depth < MAX_DEPTH:
            items = (_parameter(name.removesuffix("s") or name, element, root, False, depth + 1),)
    elif kind == "object":
        items = _properties(entry, root, depth + 1)
    pattern = entry.get("pattern")
    return Parameter(
        name=name,
        kind=kind,
        required=required and "default" not in entry,
        description=description,
        choices=choices,
        items=items,
        pattern=pattern if isinstance(pattern, str) else "",
        is_integer=_type_of(entry) == "integer",
        clock_24h=bool(re.search(r"HH:MM|24[- ]?h", description, re.I)) or entry.get("format") == "time",
    )


def _resolved(entry: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """Follow local references, and take the first alternative that is not null."""
    if depth > MAX_DEPTH:
        return {}
    reference = entry.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        target: Any = root
        for step in reference.lstrip("#").strip("/").split("/") if reference != "#" else ():
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        rest = {k: v for k, v in entry.items() if k != "$ref"}
        return {**_resolved(target, root, depth + 1), **rest} if isinstance(target, Mapping) else rest
    for key in ("anyOf", "oneOf"):
        options = entry.get(key)
        if isinstance(options, (list, tuple)):
            usable = [o for o in options[:MAX_CHOICES] if isinstance(o, Mapping) and o.get("type") != "null"]
            rest = {k: v for k, v in entry.items() if k != key}
            consts = [o["const"] for o in usable if "const" in o]
            if usable and len(consts) == len(usable):
                return {**rest, "enum": consts}
            return {**_resolved(usable[0], root, depth + 1), **rest} if usable else rest
    merged = entry.get("allOf")
    if isinstance(merged, (list, tuple)):
        whole: dict[str, Any] = {k: v for k, v in entry.items() if k != "allOf"}
        for part in merged[:20]:
            if isinstance(part, Mapping):
                whole = {**_resolved(part, root, depth + 1), **whole}
        return whole
    return entry


def _choices(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    if "const" in entry:
        return (entry["const"],)
    listed = entry.get("enum")
    if not isinstance(listed, (list, tuple)):
        return ()
    return tuple(v for v in listed[:MAX_CHOICES] if isinstance(v, (str, int, float)) and not isinstance(v, bool))


def _type_of(entry: Mapping[str, Any]) -> str:
    kind = entry.get("type")
    if isinstance(kind, (list, tuple)):
        kind = next((k for k in kind if isinstance(k, str) and k != "null"), None)
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in entry else "array" if "items" in entry else "string"


def _kind(name: str, entry: Mapping[str, Any], description: str, choices: tuple[Any, ...]) -> Kind:
    json_type = _type_of(entry)
    if json_type in ("array", "object", "boolean"):
        return {"array": "list", "object": "object", "boolean": "boolean"}[json_type]  # type: ignore[return-value]
    if choices:
        return "choice"
    said = name_words(name)
    if json_type in ("integer", "number"):
        return "code" if said and said[-1] in ("id", "code") else "integer" if json_type == "integer" else "number"
    by_format = _FORMATS.get(str(entry.get("format")))
    return by_format or _kind_by_name(said, description)


def _kind_by_name(said: list[str], description: str) -> Kind:
    last, named = (said[-1] if said else ""), set(said)
    if last == "name" and not named <= _PERSON:
        return "words"
    for kind, names in _NAMES:
        if last in names or (kind in ("email", "phone", "url") and named & names):
            return kind
    if re.search(r"\b(?:order|booking|account|customer|ticket|reference|tracking|invoice|case)\s+(?:number|id|"
    r"code)\b",
                 description, re.I):  # fmt: skip
        return "code"
    for kind, names in _LOOSE_NAMES:
        if named & names:
            return kind
    return "words"


_FORMATS: dict[str, Kind] = {
    "email": "email", "date": "date", "time": "time", "date-time": "datetime", "uri": "url", "uuid": "code",
    "phone": "phone",
}  # fmt: skip
_NAMES: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("email", frozenset(("email", "mail"))),
    ("phone", frozenset(("phone", "telephone", "mobile", "msisdn"))),
    ("url", frozenset(("url", "link", "website"))),
    ("code", frozenset(listed(
"""
    id number no nr num code ref reference sku zip postcode zipcode isbn serial pin order booking
    reservation ticket invoice account digits iban vin plate confirmation tracking
"""
))),
    ("datetime", frozenset(("datetime", "timestamp", "when"))),
    ("date", frozenset(("date", "day", "birthday", "dob", "birthdate", "checkin", "checkout", "deadline"))),
    ("time", frozenset(("time", "hour"))),
    ("name", frozenset(("name", "firstname", "lastname", "surname", "fullname", "caller"))),
    ("place", frozenset(listed(
"""
    city town location place destination origin country region address street airport
"""
))),
    ("sentence", frozenset(listed(
"""
    reason message note notes description issue problem query question text comment comments complaint
    feedback summary details request topic subject content body instructions
"""
))),
)  # fmt: skip
_PERSON = frozenset(
    listed(
        """
    name customer caller user guest full first last your my patient client contact person booking
    reservation for party family given holder account passenger attendee
"""
    )
)
_LOOSE_NAMES: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("date", frozenset(("date",))),
    ("time", frozenset(("time",))),
    ("place", frozenset(("city", "location", "address"))),
)
