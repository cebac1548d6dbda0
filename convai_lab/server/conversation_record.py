"""Conversation record: what is kept of a session, from the moment its id is known?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from convai_lab.conversations.conversation import Conversation
from convai_lab.providers.cassette import cassette_name
from convai_lab.server import socket_events as events
from convai_lab.server.admission import Admitted
from convai_lab.server.audio_files import has_recording, start_recording, what_is_missing
from convai_lab.server.client_frames import Initiation
from convai_lab.server.context import Platform
from convai_lab.server.initiation import Tailored
from convai_lab.server.socket_events import Event

if TYPE_CHECKING:
    from convai_lab.dialogue.conversation_loop import ConversationLoop
    from convai_lab.voice.recording import Recording

DEFAULT_FORMAT = "pcm_16000"


class ConversationRecord:
    """The stored conversation of one session."""

    def __init__(self, platform: Platform, admitted: Admitted) -> None:
        self._platform, self._admitted = platform, admitted
        self._store = platform.conversations
        self._turn_of_event: dict[int, int] = {}
        self._recording: Recording | None = None
        self._no_sound: str | None = None
        self.conversation = self._new()

    @property
    def formats(self) -> tuple[str, str]:
        """Return the names of the user's and of the agent's sound format, as the client is told them."""
        config = self._admitted.agent.get("conversation_config")
        user = _format(config, "asr", "user_input_audio_format")
        return user, _format(config, "tts", "agent_output_audio_format")

    def first_event(self) -> Event:
        """Return the event that tells the client the conversation's id and its sound formats."""
        user, agent = self.formats
        return events.metadata(self._admitted.conversation_id, agent_format=agent, user_format=user)

    def new_recording(self) -> Recording | None:
        """Start to record the sound, unless the agent's privacy settings or the disk forbid it."""
        if _at(self._admitted.agent, "platform_settings", "privacy").get("record_voice") is False:
            self._no_sound = "its agent's privacy settings forbid it"
            return None
        self._recording = start_recording(self._platform.home, self._admitted.conversation_id)
        self._no_sound = None if self._recording is not None else "the disk did not take it"
        return self._recording

    def begin(self) -> None:
        """Store the conversation, or take it up again."""
        if self._admitted.resumed is None:
            self._store.start(self.conversation, owner=self._platform.owner)
        else:
            self._store.claim(self.conversation.id, owner=self._platform.owner)
            self._store.update(self.conversation)

    def tailored(self, wishes: Initiation, tailored: Tailored) -> Conversation:
        """Add what the client said about itself, and return the conversation as it starts."""
        before = self.conversation
        told = {"source": wishes.source, "version": wishes.source_version}
        self.conversation = before.with_changes(
            variables={**before.variables, **tailored.variables},
            user_id=wishes.user_id or before.user_id,
            language=tailored.agent.language,
            channel="text" if tailored.agent.text_only else "voice",
            has_audio=before.has_audio or self._recording is not None,
            audio_problem=self._no_sound,
            extra=_with_metadata(before.extra, self._metadata({k: v for k, v in told.items() if v})),
        )
        self._store.update(self.conversation)
        return self.conversation

    def said(self, event_id: int, turn_index: int) -> None:
        """Remember which turn an event id stands for, so that feedback finds it."""
        self._turn_of_event[event_id] = turn_index

    def rated(self, loop: ConversationLoop, score: Literal["like", "dislike"] | None, event_id: int) -> None:
        """Keep what the user thinks of a turn, also while it is spoken; an event id that no turn has says nothing."""
        conversation, index = loop.conversation, self._turn_of_event.get(event_id)
        if index is None or not 0 <= index < len(conversation.turns):
            return
        at = int(self._platform.clock.wall() - (conversation.started_at or 0))
        feedback = None if score is None else {"score": score, "time_in_call_secs": at}
        loop.amend(index, extra={**conversation.turns[index].extra, "feedback": feedback})

    def sound_is_over(self, conversation: Conversation) -> Conversation:
        """Keep what is true of the recording, now that nothing more comes to it."""
        if self._recording is None or (missing := what_is_missing(self._recording)) is None:
            return conversation
        has_audio = has_recording(self._platform.home, conversation.id)
        kept = conversation.with_changes(has_audio=has_audio, audio_problem=missing)
        self._store.update(kept)
        return kept

    def failed(self, conversation: Conversation, problem: events.Problem) -> None:
        """Keep what went wrong beside the conversation."""
        error = {"error": {"code": problem.code, "reason": problem.message}}
        extra = _with_metadata(conversation.extra, error)
        self._store.update(conversation.with_changes(status="failed", extra=extra))

    def never_began(self, reason: str, by: str, *, failed: bool) -> Conversation:
        """Close a conversation in which nobody said anything, not even hello."""
        took = self._platform.clock.wall() - (self.conversation.started_at or 0)
        self.conversation = self.conversation.with_changes(
            status="failed" if failed else "done", end_reason=reason, ended_by=by, duration_secs=max(0.0, took)
        )
        self._store.update(self.conversation)
        return self.conversation

    def _new(self) -> Conversation:
        admitted, agent = self._admitted, self._admitted.agent
        if admitted.resumed is not None:
            return admitted.resumed.with_changes(status="in-progress", end_reason=None, ended_by=None)
        version = _at(agent, "metadata").get("version")
        return Conversation(
            id=admitted.conversation_id,
            agent_id=agent["agent_id"],
            agent_name=agent.get("name"),
            first_version=version,
            last_version=version,
            status="in-progress",
            started_at=self._platform.clock.wall(),
            cassette=cassette_name(),
            extra=_with_metadata({"version_id": agent.get("version_id")}, self._metadata({})),
        )

    def _metadata(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return who opened the conversation, in the vendor's words; what the client told itself comes first."""
        return {
            "authorization_method": self._admitted.authorization,
            "conversation_initiation_source": told.get("source") or self._admitted.source,
            "conversation_initiation_source_version": told.get("version") or self._admitted.source_version,
        }


def _with_metadata(extra: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {**extra, "metadata": {**_at(extra, "metadata"), **metadata}}


def _at(document: Any, *path: str) -> Mapping[str, Any]:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}


def _format(config: Any, section: str, name: str) -> str:
    value = _at(config, section).get(name)
    return value if isinstance(value, str) else DEFAULT_FORMAT
