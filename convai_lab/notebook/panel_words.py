"""Panel words: how is each thing that the voice panel shows said?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convai_lab.agents.agent import Agent
from convai_lab.conversations import session_view
from convai_lab.conversations import transcript_words as words
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.session_view import PAGE_TROUBLES, TYPE_ON, Trouble
from convai_lab.conversations.turn_view import as_code, as_test
from convai_lab.workspace.live_core import ENDED_HERE
from convai_lab.workspace.live_events import EngineNames

KINDS = {
    "": session_view.NOT_CHOSEN,
    "webrtc": "WebRTC, straight to the platform",
    "comm": "through the notebook (no WebRTC here)",
    "push_to_talk": session_view.PUSH_TO_TALK,
    "text": session_view.TYPING,
}
PAUSES = "; a busy cell pauses it, because this JupyterLab answers nothing meanwhile"
PROBLEMS: Mapping[str, Trouble] = {
    **PAGE_TROUBLES,
    "insecure": session_view.insecure("Open Jupyter that way (an SSH tunnel to localhost will do)."),
    "extension": Trouble(
        "The ipywebrtc extension is not installed where JupyterLab runs; the sound goes through the notebook.",
        "For WebRTC: pip install 'convai-lab[lab]' there, then reload the page.",
    ),
    "no_call": Trouble("The sound did not get through.", f"Try again. {TYPE_ON}"),
    "no_webrtc": Trouble(
        "The page and the platform have no call between them.", "The sound goes through the notebook instead."
    ),
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
        return session_view.ended(reason, by_user=reason in ("user", ENDED_HERE))
    return session_view.STATES.get(name, name)


def agent_label(agent: Agent) -> str:
    """Return the agent's name with its version."""
    return session_view.agent_label(agent.name, agent.version)


def facts(
    *, platform: str, engines: EngineNames, kind: str, is_pausing: bool, conversation: Conversation
) -> list[list[str]]:
    """Return what always stays in sight: name and value."""
    return session_view.facts(
        platform=platform,
        llm=engines.llm,
        asr=engines.asr,
        tts=engines.tts,
        sound=KINDS.get(kind, kind) + (PAUSES if is_pausing else ""),
        conversation=conversation,
    )


def finished(conversation: Conversation) -> dict[str, Any]:
    """Return what the panel offers when the session is over."""
    return {
        "id": conversation.id,
        "has_audio": conversation.has_audio,
        "audio_problem": words.clean(conversation.audio_problem or ""),
        "code": as_code(conversation),
        "test": as_test(conversation),
    }
