"""Cloud record: what are the turns of a conversation on another platform, as far as its events tell?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from convai_lab.clock import Clock
from convai_lab.conversations.turn import ToolCall, ToolKind, ToolResult, Turn

MAX_TURNS = 10_000


class CloudRecord:
    """Makes turns of events, and tells of each that is new or corrected. What is not told is not measured."""

    def __init__(self, clock: Clock, tell: Callable[[int, Turn], None]) -> None:
        self._clock, self._tell, self._began = clock, tell, clock.now()
        self._turns: list[Turn] = []
        self._agent_events: dict[Any, int] = {}
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []

    def take(self, frame: Mapping[str, Any]) -> None:
        """Learn from an event."""
        match frame.get("type"):
            case "user_transcript":
                text = _text(_inner(frame, "user_transcription_event"), "user_transcript")
                self._add(Turn(role="user", text=text))
            case "agent_response":
                self._said(_inner(frame, "agent_response_event"))
            case "agent_response_correction":
                self._corrected(_inner(frame, "agent_response_correction_event"))
            case "client_tool_call":
                self._called(_inner(frame, "client_tool_call"), "client")
            case "agent_tool_request":
                request = _inner(frame, "agent_tool_request")
                self._called(request, _kind(request))
            case "agent_tool_response" | "agent_tool_response_full_payload" as kind:
                self._answered(_inner(frame, kind))

    def typed(self, text: str) -> None:
        """Note what the user typed: no event tells it."""
        self._add(Turn(role="user", text=text))

    def answered_here(self, frame: Mapping[str, Any]) -> None:
        """Note what a client tool answered: it ran in the notebook."""
        call_id = str(frame.get("tool_call_id"))
        name = next((call.name for call in self._calls if call.id == call_id), None)
        if name is not None:
            result = {"tool_call_id": call_id, "tool_name": name, "tool_type": "client"}
            value = frame.get("result")
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            self._answered({**result, "full_tool_result": shown, "is_error": frame.get("is_error")})

    def _said(self, event: Mapping[str, Any]) -> None:
        text, event_id = _text(event, "agent_response").strip(), event.get("event_id")
        if not text:
            return
        index = self._agent_events.get(event_id) if isinstance(event_id, int) else None
        if index is not None:
            self._replace(index, replace(self._turns[index], text=text))
            return
        if isinstance(event_id, int):
            self._agent_events[event_id] = len(self._turns)
        turn = Turn(role="agent", text=text, tool_calls=tuple(self._calls), tool_results=tuple(self._results))
        self._calls, self._results = [], []
        self._add(turn)

    def _corrected(self, event: Mapping[str, Any]) -> None:
        index = next((at for at in reversed(range(len(self._turns))) if self._turns[at].role == "agent"), None)
        if index is not None:
            heard = _text(event, "corrected_agent_response")
            changed = replace(self._turns[index], text_heard=heard, interrupted=True, interrupted_at_secs=self._secs())
            self._replace(index, changed)

    def _called(self, call: Mapping[str, Any], kind: ToolKind) -> None:
        call_id, name = str(call.get("tool_call_id")), _text(call, "tool_name")
        made = ToolCall(id=call_id, name=name, arguments=_inner(call, "parameters"), kind=kind)
        known = [one for one in self._calls if one.id == call_id]
        if not known:
            self._calls.append(made)
        elif made.arguments:  # a tool of the notebook is told twice, once with its arguments
            self._calls[self._calls.index(known[0])] = made

    def _answered(self, answer: Mapping[str, Any]) -> None:
        call_id, before = str(answer.get("tool_call_id")), self._results
        if "full_tool_result" not in answer and any(known.call_id == call_id for known in before):
            return  # what it said is known already
        self._results = [known for known in self._results if known.call_id != call_id]
        self._results.append(
            ToolResult(
                call_id=call_id,
                name=_text(answer, "tool_name"),
                value=_text(answer, "full_tool_result"),
                is_error=answer.get("is_error") is True,
                kind=_kind(answer),
            )
        )

    def _add(self, turn: Turn) -> None:
        if len(self._turns) < MAX_TURNS:
            self._turns.append(replace(turn, start_secs=self._secs(), started_at=self._clock.wall()))
            self._tell(len(self._turns) - 1, self._turns[-1])

    def _replace(self, index: int, turn: Turn) -> None:
        self._turns[index] = turn
        self._tell(index, turn)

    def _secs(self) -> float:
        return round(self._clock.now() - self._began, 3)


def _kind(told: Mapping[str, Any]) -> ToolKind:
    kind = told.get("tool_type")
    if kind == "client":
        return "client"
    return "webhook" if kind == "webhook" else "system"


def _inner(frame: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = frame.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _text(inner: Mapping[str, Any], name: str) -> str:
    value = inner.get(name)
    return value if isinstance(value, str) else ""
