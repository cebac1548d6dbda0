"""Session view: what do the panel in a notebook and the page of its own say alike of a live session, in words?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation

STATES = {
    "ready": "Ready: press “Start talking”, or just type",
    "connecting": "Connecting",
    "listening": "Listening to you",
    "thinking": "Thinking",
    "speaking": "The agent is speaking",
}
ENDED_BY_USER = "Ended by you"
NOT_KNOWN = "not known yet"
NOT_CHOSEN = "not chosen yet"
PUSH_TO_TALK = "push to talk, one clip at a time"
TYPING = "typing only"
NAME_CHARS = 300
SHORT_REASON_CHARS, REASON_CHARS = 80, 600
PRINTED_CHARS = 4_000


class Trouble(NamedTuple):
    """What went wrong, and what to do about it."""

    what: str
    instead: str


TYPE_ON = "The session goes on: type below."
PAGE_TROUBLES: Mapping[str, Trouble] = {
    "refused": Trouble(
        "The browser did not let this page use the microphone.",
        f"Allow it at the microphone sign in the address bar, then try again. {TYPE_ON}",
    ),
    "no_device": Trouble("There is no microphone.", f"Plug one in, then try again. {TYPE_ON}"),
    "device_busy": Trouble("Another program holds the microphone.", f"Close it there, then try again. {TYPE_ON}"),
    "microphone": Trouble("The microphone could not be opened.", f"Try again. {TYPE_ON}"),
    "page": Trouble("Something went wrong with the sound in this page.", f"Try again. {TYPE_ON}"),
}
"""By the code that the page gives it."""


def insecure(instead: str) -> Trouble:
    """Say that this page gets no microphone, and how one that does is opened."""
    what = "Browsers give the microphone only to pages opened with https:// or from localhost."
    return Trouble(what, f"{instead} {TYPE_ON}")


def ended(reason: str | None, *, by_user: bool) -> str:
    """Say that the session is over, and why where that is short; else see `why_ended`."""
    if by_user:
        return ENDED_BY_USER
    return f"Ended: {words.clean(reason)}" if reason and len(reason) <= SHORT_REASON_CHARS else "Ended"


def why_ended(reason: str | None) -> dict[str, str]:
    """Return a reason that is too long for the head of a panel, as a problem that it shows."""
    said = words.shortened(words.clean(reason or ""), REASON_CHARS)
    if len(said) <= SHORT_REASON_CHARS:
        return {}
    return {"code": "ended", "what": said[0].upper() + said[1:], "instead": ""}


def agent_label(name: str, version: int | None) -> str:
    """Return the agent's name with its version."""
    return words.clean(name if version is None else f"{name}@{version}")


def facts(*, platform: str, llm: str, asr: str, tts: str, sound: str, conversation: Conversation) -> list[list[str]]:
    """Return what always stays in sight: name and value."""
    is_answered = any(turn.role == "user" for turn in conversation.turns)
    return [
        ["platform", words.clean(platform)],
        ["model", _name(llm)],
        ["hears with", _name(asr)],
        ["speaks with", _name(tts)],
        ["sound", sound],
        ["cost", words.cost(conversation).removeprefix("cost ") if is_answered else "none yet"],
    ]


def with_printed(before: str, tool: str, text: str) -> str:
    """Add what a tool printed; it comes in pieces, and each line begins with the tool's name."""
    is_new_line = not before or before.endswith("\n")
    named = text.replace("\n", f"\n{tool}: ", max(0, text.count("\n") - text.endswith("\n")))
    return (before + (f"{tool}: " if is_new_line else "") + named)[-PRINTED_CHARS:]


def _name(engine: str) -> str:
    return words.clean(engine)[:NAME_CHARS] or NOT_KNOWN
