"""Reply: what does each frame mean, and when has the agent said all of its reply?

A reply is complete when the platform sent `agent_response` and nothing after it promises more: no text part is
open, no tool of ours is running, and no tool was called or answered since. A tool that the agent calls in the
middle of its turn reopens the reply, because what it says about the result comes in another `agent_response`.
Our own platform sends one `agent_response` when a turn is over; elsewhere a short pause follows, in which a tool
call may still come. Where `agent_response` never comes, a closed stream of parts stands for it after a pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.workspace.events import AgentText, AgentTurn, SessionEvent, ToolAnswered, ToolCalled

GRACE_SECS = 0.8
"""On a platform that is not ours: how long after a complete answer a tool call may still follow."""
PARTS_ONLY_SECS = 2.0
"""How long after the last part the complete answer may be missing before the parts count as the answer."""
DOUBT_SECS = 5.0
"""How long to wait for more words when a tool elsewhere answered after what looked like the whole reply."""
REPLY_FRAMES = frozenset(
    {
        "agent_chat_response_part",
        "agent_response",
        "agent_tool_request",
        "agent_tool_response",
        "agent_tool_response_full_payload",
    }
)
"""The frames that `ReplyTracker` learns from."""
END_CALL = "end_call"
SILENT_TOOLS = frozenset({"skip_turn", END_CALL})
"""System tools after which the agent says nothing more in this turn."""


class ReplyTracker:
    """Follows the frames of one conversation, one reply after the other."""

    def __init__(self, *, grace_secs: float = 0.0) -> None:
        self._grace_secs = grace_secs
        self._finished: tuple[Any, str] | None = None
        self._last: tuple[Any, str] | None = None
        self._named: set[str] = set()
        self._running: set[str] = set()
        self._held: tuple[str, str, bool] | None = None
        self.begin()

    def begin(self) -> None:
        """Forget the reply before: what comes now belongs to a new one."""
        self._finished = self._last or self._finished
        self._answers: list[str] = []
        self._parts: list[str] = []
        self._is_open = False
        self._is_answered = False
        self._is_doubtful = False
        self._is_ending = False

    @property
    def text(self) -> str:
        """Return what the agent said in this reply."""
        return " ".join(filter(None, (*self._answers, "".join(self._parts).strip())))

    @property
    def waits_for_us(self) -> bool:
        """Say whether a tool of ours is running, so that the platform may be silent for as long as it likes."""
        return bool(self._running)

    @property
    def patience_secs(self) -> float | None:
        """Return how long to wait for more before the reply counts as complete; None means: it is not complete."""
        if self._running or self._is_open:
            return None
        if self._is_answered:
            return DOUBT_SECS if self._is_doubtful or self._is_ending else self._grace_secs
        return PARTS_ONLY_SECS if self._parts else None

    def take(self, frame: Mapping[str, Any]) -> list[SessionEvent]:
        """Learn from a frame, and return what there is to tell about it; unknown frames are passed over."""
        kind = frame.get("type")
        if kind == "agent_tool_response_full_payload":
            return self._tool_told(_inner(frame, "agent_tool_response_full_payload"))
        events = self.rest()
        if kind == "agent_chat_response_part":
            events += self._part(_inner(frame, "text_response_part"))
        elif kind == "agent_response":
            events += self._response(_inner(frame, "agent_response_event"))
        elif kind == "agent_tool_request":
            events += self._tool_requested(_inner(frame, "agent_tool_request"))
        elif kind == "agent_tool_response":
            self._tool_responded(_inner(frame, "agent_tool_response"))
        return events

    def rest(self) -> list[SessionEvent]:
        """Return what was held back because the next frame might have told more about it."""
        held, self._held = self._held, None
        return [] if held is None else [ToolAnswered(held[1], "", held[2])]

    def tool_called(self, call_id: str, name: str, arguments: Mapping[str, Any], *, answers: bool) -> SessionEvent:
        """Learn that a tool of ours was called; `answers` says whether the model waits for its result."""
        self._named.add(call_id)
        self._running.add(call_id)
        if answers:
            self._more_to_come()
        return ToolCalled(name, arguments)

    def tool_answered(self, call_id: str, name: str, value: str, *, is_error: bool, answers: bool) -> SessionEvent:
        """Learn that a tool of ours is done, so that the agent can go on."""
        self._running.discard(call_id)
        if answers:
            self._more_to_come()
        return ToolAnswered(name, value, is_error)

    def flush(self) -> list[SessionEvent]:
        """Take the parts as the answer, when no complete answer came; return what there is to tell."""
        text = "".join(self._parts).strip()
        self._is_open = False
        return self.rest() + (self._complete(text) if text else [])

    def _more_to_come(self) -> None:
        self._is_answered = False

    def _part(self, part: Mapping[str, Any]) -> list[SessionEvent]:
        kind, text = part.get("type", "delta"), _text(part, "text")
        self._is_open = kind != "stop"
        if kind in ("start", "delta"):
            self._more_to_come()
        if not text:
            return []
        self._parts.append(text)
        return [AgentText(text)]

    def _response(self, event: Mapping[str, Any]) -> list[SessionEvent]:
        text = _text(event, "agent_response").strip()
        this = (event.get("event_id"), text)
        if self._is_repeated(this):
            return []
        self._last = this
        self._is_open = False
        return self._complete(text)

    def _is_repeated(self, this: tuple[Any, str]) -> bool:
        """Say whether an answer is one we had: the same in this reply, or one of the reply before."""
        if type(this[0]) is not int:
            return False
        if this == self._last and self._answers:
            return True
        before = self._finished
        if before is None or type(before[0]) is not int:
            return False
        return this == before or this[0] < before[0]

    def _complete(self, text: str) -> list[SessionEvent]:
        self._parts = []
        self._is_answered, self._is_doubtful = True, False
        if not text:
            return []
        self._answers.append(text)
        return [AgentTurn(text)]

    def _tool_requested(self, call: Mapping[str, Any]) -> list[SessionEvent]:
        name, call_id = _text(call, "tool_name"), str(call.get("tool_call_id"))
        if call.get("tool_type") == "client" or call_id in self._named:
            return []  # a call of ours comes as a frame of its own, with its arguments
        self._named.add(call_id)
        self._is_ending |= name == END_CALL
        if name not in SILENT_TOOLS:
            self._more_to_come()
        return [ToolCalled(name)]

    def _tool_responded(self, call: Mapping[str, Any]) -> None:
        """Hold the answer back for a moment: what the tool said may come in a frame of its own."""
        name, is_error = _text(call, "tool_name"), bool(call.get("is_error"))
        if call.get("tool_type") == "client":
            return  # its result was told when it was sent
        if name in SILENT_TOOLS and not is_error:
            self._is_answered = True
        self._is_ending &= not (name == END_CALL and is_error)
        self._is_doubtful = self._is_answered and name not in SILENT_TOOLS
        self._held = (str(call.get("tool_call_id")), name, is_error)

    def _tool_told(self, call: Mapping[str, Any]) -> list[SessionEvent]:
        call_id, name = str(call.get("tool_call_id")), _text(call, "tool_name")
        if call.get("tool_type") == "client":
            return []
        if self._held is None or self._held[0] != call_id:
            return self.rest()
        self._held = None
        return [ToolAnswered(name, _text(call, "full_tool_result"), bool(call.get("is_error")))]


def _inner(frame: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = frame.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _text(inner: Mapping[str, Any], name: str) -> str:
    value = inner.get(name)
    return value if isinstance(value, str) else ""
