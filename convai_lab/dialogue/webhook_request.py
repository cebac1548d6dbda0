"""Webhook request: which URL, headers and body come of a webhook tool, the model's arguments and the variables?

The model and the caller fill values, never structure: what they give is percent-encoded into one path segment or
one query value, and the scheme, the host and the port are the author's alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote, urlencode

from convai_lab.agents.prompt import SECRET_PREFIX, fill
from convai_lab.agents.tools import WebhookTool
from convai_lab.dialogue.fault import ToolFault
from convai_lab.dialogue.outside_text import as_text
from convai_lab.dialogue.parameters import Schema, completed, is_supplied, schema_for_model

FORM = "application/x-www-form-urlencoded"
MAX_URL_CHARS = 8_000
MIN_SECRET_CHARS = 6

Section = Literal["path", "query", "header", "body"]

_TEMPLATE = re.compile(r"(https?://[^/?#\\@\s{}]+)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.I | re.S)
_HOLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}|\{([^{}]+)\}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_NO_SECRETS = frozenset({"content-type", "accept", "accept-language", "user-agent", "accept-encoding"})


class WebhookRequest(NamedTuple):
    """What is sent; `secrets` are the texts that must not appear in what is stored."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None
    secrets: tuple[str, ...]


class _Slot(NamedTuple):
    """One value of the request: where it goes, and its name there and before the model."""

    section: Section
    name: str
    shown: str
    schema: Schema
    required: bool


def webhook_parameters(tool: WebhookTool, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of what the model fills, over path, query, headers and body."""
    slots = [slot for slot in _slots(tool) if not is_supplied(slot.schema)]
    return {
        "type": "object",
        "properties": {slot.shown: schema_for_model(slot.schema, variables) for slot in slots},
        "required": [slot.shown for slot in slots if slot.required],
    }


def webhook_request(tool: WebhookTool, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> WebhookRequest:
    """Put the model's arguments, the author's constants and the variables into one request.

    Raises:
        ToolFault: A value does not fit where it belongs.
        MissingVariableError: A header names a variable that has no value.
    """
    values: dict[Section, dict[str, Any]] = {"path": {}, "query": {}, "header": {}, "body": {}}
    for slot in _slots(tool):
        given = {slot.name: arguments[slot.shown]} if slot.shown in arguments else {}
        values[slot.section] |= completed({"properties": {slot.name: slot.schema}}, given, variables)
    headers = _headers(tool, values["header"], variables)
    body = _body(tool, values["body"])
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["content-type"] = tool.content_type
    url = _url(tool.url, values["path"], values["query"], variables)
    return WebhookRequest(url, headers, body, tuple(_secrets(headers, variables)))


def _slots(tool: WebhookTool) -> list[_Slot]:
    """List every described value; a name that stands twice is shown with its section."""
    slots: list[_Slot] = []
    taken: set[str] = set()
    for section, name, schema, required in _described(tool):
        shown = f"{section}_{name}" if name in taken else name or section
        taken.add(shown)
        slots.append(_Slot(section, name, shown, schema, required))
    return slots


def _described(tool: WebhookTool) -> Iterator[tuple[Section, str, Schema, bool]]:
    path = _properties(tool.path_schema)
    for name in _holes(tool.url):
        yield "path", name, path.get(name, {"type": "string"}), True
    query = tool.query_schema or {}
    for name, schema in _properties(query).items():
        yield "query", name, schema, name in (query.get("required") or ())
    for name, value in tool.headers.items():
        if isinstance(value, Mapping) and "type" in value:
            yield "header", name, value, False
    yield from _described_body(tool.body_schema or {})


def _described_body(body: Schema) -> Iterator[tuple[Section, str, Schema, bool]]:
    properties = body.get("properties")
    if isinstance(properties, Mapping) and properties and not is_supplied(body):
        for name, schema in _properties(body).items():
            yield "body", name, schema, name in (body.get("required") or ())
    elif body:
        yield "body", "", body, False


def _properties(schema: Schema) -> dict[str, Schema]:
    """Return the described values of a section: its ``properties``, or (for a path) the section itself."""
    inner = schema.get("properties")
    wrapped = isinstance(inner, Mapping) and all(isinstance(value, Mapping) for value in inner.values())
    listed = inner if wrapped and isinstance(inner, Mapping) else schema
    return {name: value for name, value in listed.items() if isinstance(value, Mapping)}


def _holes(url: str) -> list[str]:
    return list(dict.fromkeys(match[2] for match in _HOLE.finditer(url) if match[2]))


def _url(template: str, path: Mapping[str, Any], query: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    parts = _TEMPLATE.fullmatch(template.strip())
    if parts is None:
        raise ToolFault(
            "the tool's URL must begin with http:// or https:// and a host without placeholders or credentials",
            "webhook_error",
        )
    filled = "/".join(_segment(segment, path, variables) for segment in parts[2].split("/"))
    pairs = [pair for pair in (_filled(parts[3] or "", path, variables), _query(query)) if pair]
    url = parts[1] + filled + ("?" + "&".join(pairs) if pairs else "")
    if len(url) > MAX_URL_CHARS:
        raise ToolFault(f"the filled URL is longer than {MAX_URL_CHARS:,} characters", "bad_arguments")
    return url


def _segment(template: str, path: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    filled = _filled(template, path, variables)
    if filled != template and unquote(filled) in ("", ".", ".."):
        raise ToolFault(f"the value for {template} must not be empty or dots alone", "bad_arguments")
    return filled


def _filled(template: str, path: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            if variables.get(match[1]) is None or match[1].startswith(SECRET_PREFIX):
                raise ToolFault(f"the URL uses the variable {match[1]}, which has no value here", "missing_variable")
            return _encoded(match[1], variables[match[1]])
        if path.get(match[2]) is None:
            raise ToolFault(f"{match[2]} is needed for the URL", "bad_arguments")
        return _encoded(match[2], path[match[2]])

    return _HOLE.sub(value, template)


def _encoded(name: str, value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        raise ToolFault(f"{name}: must be a text or a number, to stand in the URL", "bad_arguments")
    text = as_text(value)
    if _CONTROL.search(str(value)) or any(part in (".", "..") for part in re.split(r"[/\\]", text)):
        raise ToolFault(f"{name}: must not hold control characters or dot segments", "bad_arguments")
    return quote(text, safe="")


def _query(values: Mapping[str, Any]) -> str:
    pairs = [
        (name, as_text(item))
        for name, value in values.items()
        for item in (value if isinstance(value, (list, tuple)) else (value,))
        if item is not None
    ]
    return urlencode(pairs, quote_via=quote, safe="")


def _headers(tool: WebhookTool, described: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in tool.headers.items():
        if name in described:
            headers[name] = as_text(described[name])
        elif not (isinstance(value, Mapping) and "type" in value):
            headers[name] = _header_value(name, value, variables)
    for name, text in headers.items():
        _check_header(name, text)
    return headers


def _header_value(name: str, value: Any, variables: Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        variable = value.get("variable_name")
        if not isinstance(variable, str):
            raise ToolFault(f"header {name}: stored secrets are not available on this platform", "webhook_error")
        value = "{{" + variable + "}}"
    return fill(as_text(value), variables, where=f"header {name}", secrets=True)


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name) or name.lower() in _NOT_OURS:
        raise ToolFault(f"header {name[:40]!r} cannot be set by a tool", "webhook_error")
    if _CONTROL.search(value) or not value.isascii():
        raise ToolFault(f"header {name}: the value holds characters that a header cannot carry", "webhook_error")


def _body(tool: WebhookTool, values: Mapping[str, Any]) -> bytes | None:
    if not tool.body_schema:
        return None
    document = values.get("", {}) if set(values) <= {""} else values
    if tool.content_type == FORM:
        pairs = document if isinstance(document, Mapping) else {}
        return _query({name: _form_value(value) for name, value in pairs.items()}).encode()
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolFault(f"the body cannot be written as JSON: {error}", "bad_arguments") from error


def _form_value(value: Any) -> Any:
    return as_text(value) if isinstance(value, Mapping) else value


def _secrets(headers: Mapping[str, str], variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a header or a secret variable holds, whole and after its scheme ("Bearer ...")."""
    texts = [value for name, value in headers.items() if name.lower() not in _NO_SECRETS]
    texts += [as_text(value) for name, value in variables.items() if name.startswith(SECRET_PREFIX)]
    for text in texts:
        for secret in (text, text.partition(" ")[2].strip()):
            if len(secret) >= MIN_SECRET_CHARS:
                yield secret
