"""Live call: a voice conversation on a private session socket, and what each of its frames means."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from convai_lab.agents.agent import Agent
from convai_lab.conversations.wire_format import turn_from_wire
from convai_lab.errors import ConvaiLabError, ConversationClosedError, InvalidValueError
from convai_lab.settings import scrub
from convai_lab.workspace import live_events as live
from convai_lab.workspace.events import AgentCutShort, SessionEvent, Started, UserTurn
from convai_lab.workspace.live import FOLLOWED, LiveConversation
from convai_lab.workspace.socket import SocketClosed
from convai_lab.workspace.tool_prints import prints_heard_by

T = TypeVar("T")

SPOKEN = frozenset(
    {"audio", "interruption", "user_transcript", "tentative_user_transcript", "agent_response_correction"}
)
ANSWER_SECS = 20.0
"""How long the platform may take to say whether another agent may speak."""

_tool: ContextVar[str] = ContextVar("convai_lab_tool", default="")


class LiveCaller:
    """Tells a live session's subscribers, and runs its tools in threads, listening to what they print."""

    def __init__(self, tell: Callable[[live.LiveEvent], None]) -> None:
        self._tell = tell

    async def tell(self, event: SessionEvent) -> None:
        """Tell the subscribers."""
        self._tell(event)

    async def work(self, function: Callable[[], T]) -> T:
        """Run a tool in a thread."""
        name, loop = _tool.get(), asyncio.get_running_loop()

        def heard(text: str) -> None:
            loop.call_soon_threadsafe(self._tell, live.ToolPrinted(name, text))

        def run() -> T:
            with prints_heard_by(heard):
                return function()

        return await asyncio.to_thread(run)


class LiveCall(LiveConversation):
    """Talks over a private session socket; `watch` hears what it means, `over` waits for its end."""

    def __init__(self, *args: Any, watch: Callable[[live.LiveEvent], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._watch = watch
        self._rate_hz = 16000
        self._agent_used: asyncio.Future[str | None] | None = None

    @classmethod
    def check(cls, agent: Agent) -> None:
        """Refuse an agent that takes no voice.

        Raises:
            InvalidValueError: It is held in text.
        """
        if agent.text_only:
            raise InvalidValueError(
                f"{agent.name} takes no voice: chat with it, or set this to false", field="text_only"
            )

    async def over(self) -> str:
        """Wait until the other side ended it, and return why; a failure is a reason too."""
        while self.closed is None:
            self._changed.clear()
            await self._changed.wait()
        if self._crash is not None:
            return scrub(str(self._crash))
        return self._ending(self.closed)

    async def begun(self, limit_secs: float) -> None:
        """Wait until the platform has given the conversation its id, or ended it."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(limit_secs):
                while self.conversation_id is None and self.closed is None:
                    self._changed.clear()
                    await self._changed.wait()

    @property
    def was_lost(self) -> bool:
        """Say whether the connection was cut without a word."""
        return self.closed is not None and self.closed.code == 1006 and self._failure is None

    async def post(self, frame: Mapping[str, Any]) -> None:
        """Send a frame; one that comes too late is nobody's. What is typed is told as the user's turn."""
        if frame.get("type") == "user_message":
            self._reply.begin()
            self._watch(UserTurn(_text(frame, "text")))
        try:
            await self._socket.send(frame)
        except SocketClosed:
            return

    async def use_agent(self, agent: Agent, document: Mapping[str, Any]) -> None:
        """Let another agent speak from its next turn on.

        Raises:
            ConvaiLabError: The platform says why it may not.
        """
        self._agent_used = asyncio.get_running_loop().create_future()
        await self.post({"type": "live_use_agent", "agent": dict(document)})
        try:
            async with asyncio.timeout(ANSWER_SECS):
                error = await self._agent_used
        except TimeoutError:
            raise ConversationClosedError("the platform did not answer; the session keeps its agent") from None
        finally:
            self._agent_used = None
        if error:
            raise ConvaiLabError(error)
        self._desk.use(agent)

    async def open(self, initiation: Mapping[str, Any], *, has_first_message: bool, note: str | None = None) -> None:  # noqa: ARG002
        """Start the conversation; that it has begun is told later, and the first message comes when it is heard."""
        self._start(self._read())
        self._start(self._follow())
        await self.post(initiation)

    def _begun(self, frame: Mapping[str, Any]) -> None:
        told = _inner(frame, "conversation_initiation_metadata_event")
        name = str(told.get("agent_output_audio_format") or "")
        rate = name.removeprefix("pcm_")
        self._rate_hz = int(rate) if rate.isdigit() else 16000
        super()._begun(frame)
        self._frames.put_nowait(dict(frame))

    def _arrived(self, frame: dict[str, Any]) -> None:
        kind = frame.get("type")
        if kind == "live_agent_used":
            if self._agent_used is not None and not self._agent_used.done():
                self._agent_used.set_result(frame.get("error"))
        elif kind in SPOKEN or kind in FOLLOWED or str(kind).startswith("live_"):
            self._frames.put_nowait(frame)

    async def _take(self, frame: Mapping[str, Any]) -> None:
        kind = str(frame.get("type"))
        if kind in _READERS:
            if (event := _READERS[kind](frame, self._rate_hz)) is not None:
                self._watch(event)
        elif kind == "conversation_initiation_metadata":
            await self._tell(Started(self.conversation_id or ""))
        elif kind == "user_transcript":
            self._reply.begin()
            await self._tell(UserTurn(_text(_inner(frame, "user_transcription_event"), "user_transcript")))
        elif kind == "agent_response_correction":
            event_of = _inner(frame, "agent_response_correction_event")
            await self._tell(AgentCutShort(_text(event_of, "corrected_agent_response")))
        else:
            await super()._take(frame)
        if kind == "interruption":
            self._watch(live.Interrupted())

    async def _run_tool(self, call_id: Any, name: str, arguments: Mapping[str, Any], *, answers: bool) -> None:
        _tool.set(name)  # of this task alone
        await super()._run_tool(call_id, name, arguments, answers=answers)


def _audio(frame: Mapping[str, Any], rate_hz: int) -> live.LiveEvent | None:
    event = _inner(frame, "audio_event")
    try:
        pcm = base64.b64decode(event.get("audio_base_64") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ConversationClosedError("the platform sent audio that is not base64") from None
    return live.AgentAudio(pcm, rate_hz, _number(event.get("event_id"))) if pcm else None


def _turn(frame: Mapping[str, Any], _: int) -> live.LiveEvent:
    return live.TurnStored(_number(frame.get("index")), turn_from_wire(_inner(frame, "turn")))


def _state(frame: Mapping[str, Any], _: int) -> live.LiveEvent | None:
    state = frame.get("state")
    return live.StateChanged(state) if state in live.LIVE_STATES and state != "ended" else None


def _media(frame: Mapping[str, Any], _: int) -> live.LiveEvent | None:
    kind, reason = frame.get("kind"), frame.get("reason")
    if kind not in live.MEDIA_KINDS:
        return None
    return live.MediaChanged(kind, frame.get("is_connected") is True, reason if isinstance(reason, str) else None)


def _engines(frame: Mapping[str, Any], _: int) -> live.LiveEvent:
    names = _inner(frame, "engines")
    return live.EnginesKnown(live.EngineNames(**{part: _text(names, part) for part in ("llm", "asr", "tts", "vad")}))


def _sound_timed(frame: Mapping[str, Any], _: int) -> live.LiveEvent | None:
    at = frame.get("at")
    return live.SoundTimed(_number(frame.get("number")), float(at)) if isinstance(at, int | float) else None


def _level(frame: Mapping[str, Any], _: int) -> live.LiveEvent:
    user, agent = (value if isinstance(value := frame.get(side), int | float) else 0 for side in ("user", "agent"))
    return live.Level(float(user), float(agent))


_READERS: Mapping[str, Callable[[Mapping[str, Any], int], live.LiveEvent | None]] = {
    "audio": _audio,
    "interruption": lambda frame, _: live.Flush(_number(_inner(frame, "interruption_event").get("event_id"))),
    "tentative_user_transcript": lambda frame, _: live.UserPartial(
        _text(_inner(frame, "tentative_user_transcription_event"), "user_transcript")
    ),
    "live_flush": lambda frame, _: live.Flush(_number(frame.get("event_id"))),
    "live_state": _state,
    "live_engines": _engines,
    "live_media": _media,
    "live_signal": lambda frame, _: live.Signal(dict(_inner(frame, "message"))),
    "live_turn_stored": _turn,
    "live_level": _level,
    "live_window_ready": lambda frame, _: live.WindowReady(_text(frame, "token")),
    "live_sound_timed": _sound_timed,
    "live_refused": lambda frame, _: live.Refused(_text(frame, "message")),
}


def _inner(frame: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = frame.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _text(inner: Mapping[str, Any], name: str) -> str:
    value = inner.get(name)
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
