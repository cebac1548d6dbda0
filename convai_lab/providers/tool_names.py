"""Tool names: how do our tools and tool calls fit into what vendors accept, and come back unchanged?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall
from convai_lab.providers.base import ChatRequest, ToolSpec

LONGEST_NAME = 64
LONGEST_ID = 40
"""OpenAI refuses longer ids of tool calls."""

RAW_ARGUMENTS = "raw_arguments"

_SURROGATE = re.compile("[\ud800-\udfff]")
_ALLOWED_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ALLOWED_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")


class ToolNames:
    """Maps the names of a request's tools to names every vendor takes, and back.

    Example:
        >>> names = ToolNames(["bestellung prüfen", "end_call"])
        >>> names.out("bestellung prüfen"), names.out("end_call")
        ('bestellung_pr_fen', 'end_call')
        >>> names.back("bestellung_pr_fen")
        'bestellung prüfen'
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._out: dict[str, str] = {}
        self._back: dict[str, str] = {}
        ordered = list(dict.fromkeys(names))
        for name in sorted(ordered, key=lambda n: _ALLOWED_NAME.fullmatch(n) is None):
            safe = self._free(_safe_name(name))
            self._out[name], self._back[safe] = safe, name

    @classmethod
    def of(cls, request: ChatRequest) -> ToolNames:
        """Return the names of a request: those of its tools and of the calls in its messages."""
        names = [tool.name for tool in request.tools]
        for message in request.messages:
            names += [call.name for call in message.tool_calls]
            if message.role == "tool" and message.name:
                names.append(message.name)
        return cls(names)

    def out(self, name: str) -> str:
        """Return the name to send."""
        return self._out.get(name) or _safe_name(name)

    def back(self, name: str) -> str:
        """Return our name for a name that the vendor sent; one that we did not send stays as it is."""
        return self._back.get(name, name)

    def _free(self, name: str) -> str:
        candidate, n = name, 2
        while candidate in self._back:
            ending = f"_{n}"
            candidate, n = name[: LONGEST_NAME - len(ending)] + ending, n + 1
        return candidate


def described(tool: ToolSpec) -> dict[str, str]:
    """Return the description as a field, or nothing when there is none: some vendors refuse an empty one."""
    return {"description": tool.description} if tool.description.strip() else {}


def object_schema(tool: ToolSpec) -> dict[str, Any]:
    """Return the tool's parameters as the schema of an object, which vendors insist on."""
    return {"type": "object", "properties": {}, **tool.parameters}


def safe_id(call_id: str) -> str:
    """Return an id of a tool call that every vendor takes; the same id always gives the same."""
    if _ALLOWED_ID.fullmatch(call_id):
        return call_id
    return "call_" + hashlib.blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def new_call(
    clock: Clock, names: ToolNames, *, id: str, name: str, arguments: str, extra: Mapping[str, Any] | None = None
) -> ToolCall:
    """Return the tool call that a vendor asked for; an empty id is made up.

    Arguments that are not a JSON object are kept as ``extra["raw_arguments"]``, for the loop to show to the model.
    """
    parsed = _parse(arguments)
    more = {} if parsed is not None else {RAW_ARGUMENTS: whole_text(arguments)}
    return ToolCall(
        id=whole_text(id) or clock.new_id("call_"),
        name=names.back(whole_text(name)),
        arguments=parsed or {},
        extra={**(extra or {}), **more},
    )


def sent_arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of an earlier call as they go back to the model, also when they were no JSON."""
    if not call.arguments and RAW_ARGUMENTS in call.extra:
        return {RAW_ARGUMENTS: call.extra[RAW_ARGUMENTS]}
    return dict(call.arguments)


def whole_text(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone surrogates replaced: JSON allows them, UTF-8 does not."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TextPieces:
    """Joins characters that a vendor cut in two between pieces of text (surrogate pairs in JSON escapes)."""

    def __init__(self) -> None:
        self._half = ""

    def take(self, piece: Any) -> str:
        """Return the text that is whole so far; anything but text counts as nothing."""
        if not isinstance(piece, str) or not piece:
            return ""
        if piece.isascii() and not self._half:
            return piece
        text, self._half = self._half + piece, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return whole_text(text)


def _parse(arguments: str) -> dict[str, Any] | None:
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments, parse_constant=_refuse_constant)
        if isinstance(value, dict) and "\\ud" in arguments.lower():
            value = json.loads(whole_text(json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _safe_name(name: str) -> str:
    safe = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:LONGEST_NAME]
    return safe or "tool"
