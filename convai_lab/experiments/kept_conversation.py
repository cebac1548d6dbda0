"""Kept conversation: how is a conversation written into a journal, hundreds of times a second?

As JSON of its own fields, without what is as it would be anyway; the platform's JSON, which says everything, takes ten
times as long to make. What a later version adds is left out by an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from convai_lab.conversations.conversation import Analysis, Conversation, CriterionResult
from convai_lab.conversations.turn import ToolCall, ToolResult, Turn, TurnMetrics

_KINDS = (Conversation, Turn, TurnMetrics, ToolCall, ToolResult, Analysis, CriterionResult)
_NOTHING = object()


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return _NOTHING if field.default_factory is MISSING else field.default_factory()


_DEFAULTS: Mapping[type, Mapping[str, Any]] = {kind: {f.name: _default(f) for f in fields(kind)} for kind in _KINDS}


def written(conversation: Conversation) -> str:
    """Return a conversation as compact JSON."""
    return _encode(conversation)


def read(text: str | bytes) -> Conversation:
    """Return the conversation that `written` wrote.

    Raises:
        ValueError, TypeError, AttributeError: It is something else.
    """
    doc = json.loads(text)
    turns = tuple(_turn(turn) for turn in doc.pop("turns", ()))
    analysis = doc.pop("analysis", {})
    criteria, data = (_results(analysis.pop(name, {})) for name in ("criteria", "data"))
    doc["tags"] = tuple(doc.get("tags", ()))
    found = Analysis(**_known(Analysis, analysis), criteria=criteria, data=data)
    return Conversation(**_known(Conversation, doc), turns=turns, analysis=found)


def _plain(value: Any) -> Any:
    """Return one of our objects as a dict of what is not as it would be anyway."""
    defaults = _DEFAULTS.get(type(value))
    if defaults is None:
        if isinstance(value, Mapping):
            return dict(value)
        return list(value) if isinstance(value, set | frozenset) else str(value)
    return {
        name: held
        for name, held in vars(value).items()
        if held is not (default := defaults.get(name, held)) and held != default
    }


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode


def _turn(doc: dict[str, Any]) -> Turn:
    return Turn(
        **_known(Turn, doc)
        | {
            "metrics": TurnMetrics(**_known(TurnMetrics, doc.get("metrics", {}))),
            "tool_calls": tuple(ToolCall(**_known(ToolCall, call)) for call in doc.get("tool_calls", ())),
            "tool_results": tuple(ToolResult(**_known(ToolResult, one)) for one in doc.get("tool_results", ())),
            "marks": tuple(doc.get("marks", ())),
        }
    )


def _results(doc: Mapping[str, Any]) -> dict[str, CriterionResult]:
    return {name: CriterionResult(**_known(CriterionResult, result)) for name, result in doc.items()}


def _known(kind: type, doc: Mapping[str, Any]) -> dict[str, Any]:
    names = _DEFAULTS[kind]
    return {name: value for name, value in doc.items() if name in names}
