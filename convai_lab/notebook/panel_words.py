"""Panel words: how is each thing that the voice panel shows said?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from convai_lab.agents.agent import Agent
from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.turn_view import as_code, as_test
from convai_lab.workspace.live_events import EngineNames

STATES = {
    "ready": "Ready: press “Start talking”, or just type",
    "connecting": "Connecting",
    "listening": "Listening to you",
    "thinking": "Thinking",
    "speaking": "The agent is speaking",
}
KINDS = {
    "": "not chosen yet",
    "webrtc": "WebRTC, straight to the platform",
    "comm": "through the notebook (no WebRTC here)",
    "push_to_talk": "push to talk, one clip at a time",
    "text": "typing only",
}
PAUSES = "; a busy cell pauses it, because this JupyterLab answers nothing meanwhile"


class Trouble(NamedTuple):
    """What went wrong, and what to do about it."""

    what: str
    instead: str


TYPE_ON = "The session goes on: type below."
PROBLEMS: Mapping[str, Trouble] = {
    "refused": Trouble(
        "The browser did not let this page use the microphone.",
        f"Allow it at the microphone sign in the address bar, then try again. {TYPE_ON}",
    ),
    "no_device": Trouble("There is no microphone.", f"Plug one in, then try again. {TYPE_ON}"),
    "device_busy": Trouble("Another program holds the microphone.", f"Close it there, then try again. {TYPE_ON}"),
    "microphone": Trouble("The microphone could not be opened.", f"Try again. {TYPE_ON}"),
    "insecure": Trouble(
        "Browsers give the microphone only to pages opened with https:// or from localhost.",
        f"Open Jupyter that way (an SSH tunnel to localhost will do). {TYPE_ON}",
    ),
    "extension": Trouble(
        "The ipywebrtc extension is not installed where JupyterLab runs; the sound goes through the notebook.",
        "For WebRTC: pip install 'convai-lab[lab]' there, then reload the page.",
    ),
    "no_call": Trouble("The sound did not get through.", f"Try again. {TYPE_ON}"),
    "no_webrtc": Trouble(
        "The page and the platform have no call between them.", "The sound goes through the notebook instead."
    ),
    "page": Trouble("Something went wrong with the sound in this page.", f"Try again. {TYPE_ON}"),
    "no_panel": Trouble(
        "The panel did not appear.",
        "Install it where JupyterLab runs: pip install 'convai-lab[lab]', and reload the page; "
        "or talk in a page of its own: %talk AGENT --window.",
    ),
    "gone": Trouble(
        "The platform process is gone; what was said is kept.", "Run the cell again: it starts a new session."
    ),
    "platform": Trouble("The platform refused something.", "The session goes on."),
}


def problem(code: str, detail: str = "") -> dict[str, str]:
    """Return a problem for the panel: its code, what happened, and what to do instead."""
    found = PROBLEMS.get(code) or PROBLEMS["page"]
    shown = words.shortened(words.clean(detail), 300)
    what = (
        f"{found.what} ({shown})" if shown and code in ("page", "microphone", "platform", "no_webrtc") else found.what
    )
    return {"code": code, "what": what, "instead": found.instead}


def state(name: str, reason: str | None = None) -> str:
    """Say what the session is doing."""
    if name == "ended":
        return "Ended by you" if reason == "user" else f"Ended: {words.clean(reason)}" if reason else "Ended"
    return STATES.get(name, name)


def agent_label(agent: Agent) -> str:
    """Return the agent's name with its version."""
    return words.clean(agent.name if agent.version is None else f"{agent.name}@{agent.version}")


def facts(
    *, platform: str, engines: EngineNames, kind: str, is_pausing: bool, conversation: Conversation
) -> list[list[str]]:
    """Return what always stays in sight: name and value."""
    is_answered = any(turn.role == "user" for turn in conversation.turns)
    transport = KINDS.get(kind, kind) + (PAUSES if is_pausing else "")
    return [
        ["platform", words.clean(platform)],
        ["model", words.clean(engines.llm) or "not known yet"],
        ["hears with", words.clean(engines.asr) or "not known yet"],
        ["speaks with", words.clean(engines.tts) or "not known yet"],
        ["sound", transport],
        ["cost", words.cost(conversation).removeprefix("cost ") if is_answered else "none yet"],
    ]


def finished(conversation: Conversation) -> dict[str, Any]:
    """Return what the panel offers when the session is over."""
    return {
        "id": conversation.id,
        "has_audio": conversation.has_audio,
        "audio_problem": words.clean(conversation.audio_problem or ""),
        "code": as_code(conversation),
        "test": as_test(conversation),
    }
