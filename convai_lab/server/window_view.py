"""Window view: what does the page of a live session show?

The events of the session become the values that the panel's own JavaScript shows; all of them are text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convai_lab.clock import Clock
from convai_lab.conversations import session_view
from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.session_view import NAME_CHARS, STATES, Trouble
from convai_lab.conversations.turn_view import as_code, as_test, newest_turns, text_view
from convai_lab.conversations.wire_format import turn_from_wire
from convai_lab.server.socket_events import Event

SOUND = {
    "comm": "through this page's websocket",
    "push_to_talk": session_view.PUSH_TO_TALK,
    "text": session_view.TYPING,
}
PROBLEMS: Mapping[str, Trouble] = {
    **session_view.PAGE_TROUBLES,
    "insecure": session_view.insecure("Reach the platform under localhost (an SSH tunnel will do), with a new link."),
    "too_long": Trouble(
        "The clip is too long: nothing of it was sent.", "Speak shorter, or type: the session goes on."
    ),
}
"""What may go wrong in the page itself, which is told the words for it."""
GOES_ON = "The session goes on."
OWNER_LEFT = "the notebook or program that made this link ended it, or is gone"


class WindowView:
    """What is shown; every change returns only what has changed."""

    def __init__(
        self, clock: Clock, *, agent: str = "", agent_id: str = "", version: int | None = None, platform: str = ""
    ) -> None:
        self._clock, self._platform = clock, platform[:NAME_CHARS]
        name = agent[:NAME_CHARS]
        self._conversation = Conversation(
            id="",
            agent_id=agent_id[:NAME_CHARS],
            agent_name=name,
            first_version=version,
            last_version=version,
            platform=self._platform,
            channel="voice",
            status="in-progress",
        )
        self._engines: Mapping[str, Any] = {}
        self._kind, self._generated = "", ""
        self._began_at: float | None = None
        self._is_over = False
        self.shown: dict[str, Any] = {
            "agent": session_view.agent_label(name, version),
            "status": _status("ready"),
            "facts": [],
            "turns": [],
            "partial": "",
            "printed": "",
            "problem": {},
            "problems": {code: trouble._asdict() for code, trouble in PROBLEMS.items()},
            "finished": {},
            "elapsed": {"secs": 0, "running": False},
        }
        self.shown.update(self._facts())

    @property
    def conversation_id(self) -> str:
        """Return under which id this is recorded; "" until it is known."""
        return self._conversation.id

    def begin(self) -> dict[str, Any]:
        """Show that the user has begun."""
        if self._began_at is not None or self._is_over:
            return {}
        self._began_at = self._clock.now()
        return self._change(
            status=_status("connecting"), elapsed={"secs": 0, "running": True}, problem={}, **self._facts()
        )

    def hear(self, event: Event) -> dict[str, Any]:
        """Show what an event says."""
        reader = _READERS.get(str(event.get("type")))
        return self._change(**reader(self, event)) if reader and not self._is_over else {}

    def end(self, reason: str, *, by_page: bool, recording: str = "") -> dict[str, Any]:
        """Show that it is over, and what remains of it; `recording` is the token with which the page may fetch that."""
        if self._is_over:
            return {}
        self._is_over = True
        secs = 0.0 if self._began_at is None else self._clock.now() - self._began_at
        record = self._conversation = self._conversation.with_changes(status="done")
        finished: dict[str, Any] = {"id": record.id, "code": as_code(record), "test": as_test(record)}
        finished |= {"has_audio": bool(recording), "recording": recording}
        return self._change(
            status={"state": "ended", "words": session_view.ended(reason, by_user=by_page)},
            elapsed={"secs": secs, "running": False},
            partial="",
            problem=session_view.why_ended(None if by_page else reason) or self.shown["problem"],
            finished=finished if record.turns else {},
        )

    def _change(self, **values: Any) -> dict[str, Any]:
        changed = {name: value for name, value in values.items() if self.shown.get(name) != value}
        self.shown.update(changed)
        return changed

    # What events say

    def _metadata(self, event: Event) -> dict[str, Any]:
        told = _inner(event, "conversation_initiation_metadata_event")
        self._conversation = self._conversation.with_changes(id=str(told.get("conversation_id") or ""))
        return {}

    def _state(self, event: Event) -> dict[str, Any]:
        state = str(event.get("state"))
        return {"status": _status(state)} if self._began_at is not None and state in STATES else {}

    def _known_engines(self, event: Event) -> dict[str, Any]:
        self._engines = _inner(event, "engines")
        return self._facts()

    def _media(self, event: Event) -> dict[str, Any]:
        self._kind = str(event.get("kind") or "")
        return self._facts()

    def _partial(self, event: Event) -> dict[str, Any]:
        text = _inner(event, "tentative_user_transcription_event").get("user_transcript")
        return {"partial": text_view(f"you: {text}") if text else ""}

    def _user(self, event: Event) -> dict[str, Any]:
        self._generated = ""
        text = _inner(event, "user_transcription_event").get("user_transcript")
        return {"partial": text_view(f"you: {text}") if text else ""}

    def _part(self, event: Event) -> dict[str, Any]:
        part = _inner(event, "text_response_part")
        self._generated = ("" if part.get("type") == "start" else self._generated) + str(part.get("text") or "")
        return {"partial": text_view(f"agent: {self._generated}")} if self._generated else {}

    def _response(self, _: Event) -> dict[str, Any]:
        self._generated = ""
        return {"partial": ""}

    def _turn(self, event: Event) -> dict[str, Any]:
        index, turn = event.get("index"), turn_from_wire(_inner(event, "turn"))
        at = index if isinstance(index, int) else len(self._conversation.turns)
        turns = self._conversation.turns
        self._conversation = self._conversation.with_changes(
            turns=(*turns[:at], turn, *turns[at + 1 :]),
            last_version=turn.agent_version or self._conversation.last_version,
        )
        return {"turns": newest_turns(self._conversation), "partial": "", **self._facts()}

    def _printed(self, event: Event) -> dict[str, Any]:
        name, text = words.clean(str(event.get("name") or ""))[:NAME_CHARS], words.clean(str(event.get("text") or ""))
        return {"printed": session_view.with_printed(str(self.shown["printed"]), name, text)}

    def _refused(self, event: Event) -> dict[str, Any]:
        return {"problem": _problem(str(event.get("message") or ""), GOES_ON)}

    def _error(self, event: Event) -> dict[str, Any]:
        return {"problem": _problem(str(_inner(event, "error_event").get("message") or ""), "")}

    def _facts(self) -> dict[str, Any]:
        names = {part: str(self._engines.get(part) or "") for part in ("llm", "asr", "tts")}
        sound = SOUND.get(self._kind, session_view.NOT_CHOSEN)
        return {
            "facts": session_view.facts(platform=self._platform, sound=sound, conversation=self._conversation, **names)
        }


_READERS: Mapping[str, Callable[[WindowView, Event], dict[str, Any]]] = {
    "conversation_initiation_metadata": WindowView._metadata,
    "live_state": WindowView._state,
    "live_engines": WindowView._known_engines,
    "live_media": WindowView._media,
    "live_turn_stored": WindowView._turn,
    "live_printed": WindowView._printed,
    "live_refused": WindowView._refused,
    "tentative_user_transcript": WindowView._partial,
    "user_transcript": WindowView._user,
    "agent_chat_response_part": WindowView._part,
    "agent_response": WindowView._response,
    "error": WindowView._error,
}


def _status(state: str) -> dict[str, str]:
    return {"state": state, "words": STATES[state]}


def _problem(message: str, instead: str) -> dict[str, str]:
    return {"code": "platform", "what": words.shortened(words.clean(message), NAME_CHARS), "instead": instead}


def _inner(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = event.get(name)
    return inner if isinstance(inner, Mapping) else {}
