"""Cassette redaction: what of a recording must not leave with a comparison that is handed on?

What is hidden here reads as it does in the redacted scenarios, so that they still find the answers to their requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from convai_lab import settings
from convai_lab.experiments.redaction import Hide, hide_in, hide_in_text


def taped_line(line: bytes, hide_variables: Hide, *, redact: bool) -> bytes:
    """Return a line of a cassette without what must not leave; sound, and what is no text, stay as they are."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return line
    if not redact:
        return settings.scrub(text).encode()
    try:
        hidden = json.dumps(_hidden(json.loads(text), hide_variables), separators=(",", ":")) + "\n"
    except (ValueError, RecursionError):
        return hide_in_text(text, hide_variables).encode()
    return settings.scrub(hidden).encode()


def _hidden(read: Any, hide: Hide) -> Any:
    """Return what a line holds: a call, or a message, a tool or a sound that calls share."""
    if not isinstance(read, Mapping):
        return hide_in(read, hide)
    if "part" in read and isinstance(read.get("value"), str):
        return read  # sound in base64
    hidden: dict[str, Any] = hide_in({name: value for name, value in read.items() if name != "answer"}, hide)
    if "answer" in read:
        hidden["answer"] = _answer(read["answer"], hide, is_content=read.get("kind") == "tool")
    return hidden


def _answer(answer: Any, hide: Hide, *, is_content: bool) -> Any:
    """Return an answer; a tool's is content, and a model's is looked at as a whole: a name comes in several pieces."""
    if is_content and isinstance(answer, Mapping) and "value" in answer:
        return {**hide_in(answer, hide), "value": hide_in(answer["value"], hide, is_content=True)}
    if isinstance(answer, Mapping) and isinstance(answer.get("events"), list):
        return hide_in({**answer, "events": _together(answer["events"], hide)}, hide)
    return hide_in(answer, hide)


def _together(events: list[Any], hide: Hide) -> list[Any]:
    """Return the events of an answer; its text is one piece where something in it is to be hidden."""
    pieces = [event for event in events if _is_text(event)]
    text = "".join(piece[2] for piece in pieces)
    if hide_in(text, hide) == text:
        return events
    whole = [*pieces[0][:2], text]
    return [whole if event is pieces[0] else event for event in events if event is pieces[0] or not _is_text(event)]


def _is_text(event: Any) -> bool:
    return isinstance(event, list) and len(event) == 3 and event[1] == "text" and isinstance(event[2], str)
