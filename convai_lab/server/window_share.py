"""Window share: how is one live session held by two, a notebook that owns it and a page that talks?

The owner's private socket carries the session. It asks for a link with ``live_window``; whoever opens the link gets
the sound and a view of everything, and may speak, type, mute and end. Tools, and all that changes the session, stay
with the owner. The session ends with the owner or the page, whichever goes first.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from convai_lab.clock import Clock
from convai_lab.server import live_frames as live
from convai_lab.server.client_frames import AudioChunk, Unsupported, UserMessage
from convai_lab.server.limits import parse_json
from convai_lab.server.live_conversation import LiveOutbox
from convai_lab.server.socket_events import NORMAL, Event, Problem
from convai_lab.server.socket_wire import Gone, Inbox
from convai_lab.server.window_links import WindowLinks
from convai_lab.server.window_view import OWNER_LEFT, WindowView

MAX_LETTERS = 5_000
DRAIN_SECS = 5.0
OWNER_FRAMES = ('{"type":"live_window', '{"type": "live_window', '{"type":"live_printed', '{"type": "live_printed')
TOLD_FIRST = ("conversation_initiation_metadata", "live_engines")
END = '{"type":"window_end"'
ENDED_IN_PAGE = "the session was ended in its page"

Read = Callable[[str | None], Any]


class SharedOutbox(LiveOutbox):
    """Writes events to the owner and, where there is one, to the page, which alone gets the sound."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self.share: WindowShare | None = None

    async def send(self, event: Event) -> None:
        """Send one event."""
        has_page = self.share is not None and self.share.has_view
        if self.share is not None:
            self.share.show(event)
        if event["type"] != "audio" or not has_page:
            await super().send(event)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the owner's connection, and tell the page why."""
        if self.share is not None:
            self.share.end(reason if self._is_open() else OWNER_LEFT)
            reason = reason or (ENDED_IN_PAGE if self.share.was_left else "")
        await super().close(code, reason)


class WindowShare:
    """The page's half of one session; without a link it does nothing.

    `is_recorded` says whether there is a recording of a conversation, which its page may then fetch.
    """

    def __init__(
        self, links: WindowLinks, outbox: SharedOutbox, clock: Clock, read: Read, is_recorded: Callable[[str], bool]
    ) -> None:
        self._links, self._outbox, self._clock, self._read = links, outbox, clock, read
        self._is_recorded = is_recorded
        self._view: WindowView | None = None
        self._session: Inbox | None = None
        self._letters: deque[dict[str, Any]] = deque()
        self._news, self._over = asyncio.Event(), asyncio.Event()
        self._has_page = self._left = False
        self._rate_hz = 16000
        self._before: list[Event] = []
        self._answers: set[asyncio.Task[None]] = set()
        outbox.share = self

    @property
    def has_view(self) -> bool:
        """Say whether the session has been given a link."""
        return self._view is not None

    @property
    def was_left(self) -> bool:
        """Say whether it was the page that ended the session."""
        return self._left

    def new_inbox(self, socket: WebSocket) -> Inbox:
        """Return the session's inbox; what the owner says of the page is taken out of it."""
        self._session = Inbox(socket, self._clock, read=self._read_owner)
        return self._session

    def close(self) -> None:
        """End the page, if it has not been told yet, and forget its links."""
        self.end("")
        self._links.forget(self)

    # From the owner

    def _read_owner(self, text: str | None) -> Any:
        if text is None or not text.startswith(OWNER_FRAMES):
            return self._read(text)
        try:
            body = parse_json(text[:1_000_000])
        except ValueError as error:
            return Unsupported(what=str(error)[:300])
        if body.get("type") == "live_window":
            return self._open(body)
        if body.get("type") == "live_printed":
            self.show(body)
        return None

    def _open(self, body: Mapping[str, Any]) -> Unsupported | None:
        """Give the session a link, and tell the owner its token."""
        agent, platform, version = body.get("agent"), body.get("platform"), body.get("version")
        if not isinstance(agent, str) or not isinstance(platform, str):
            return Unsupported(what="live_window: agent and platform must be texts")
        if self._view is not None:
            return Unsupported(what="live_window: this session has a link already")
        number = version if isinstance(version, int) else None
        agent_id = str(body.get("agent_id") or "")
        self._view = WindowView(self._clock, agent=agent, agent_id=agent_id, version=number, platform=platform)
        for event in self._before:
            self._view.hear(event)
        token = self._links.new_link(self)
        answer = asyncio.get_running_loop().create_task(
            self._outbox.send({"type": "live_window_ready", "token": token})
        )
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        return None

    # To the page

    def show(self, event: Event) -> None:
        """Show the page what happened; its token is nothing to be shown."""
        if event["type"] == "conversation_initiation_metadata":
            told = event["conversation_initiation_metadata_event"].get("agent_output_audio_format", "")
            rate = str(told).removeprefix("pcm_")
            self._rate_hz = int(rate) if rate.isdigit() else self._rate_hz
        if self._view is None and event["type"] in TOLD_FIRST:
            self._before.append(event)
        if self._view is None or event["type"] == "live_window_ready":
            return
        if event["type"] == "audio":
            sound = event["audio_event"]
            self._tell({"audio": sound["audio_base_64"], "id": sound["event_id"], "rate": self._rate_hz})
        elif event["type"] == "live_sound_timed":
            self._tell({"timed": event["number"], "at": event["at"]})
        elif event["type"] == "live_flush":
            self._flush(event["event_id"])
        elif event["type"] == "interruption":
            self._flush(event["interruption_event"]["event_id"])
        self._set(self._view.hear(event))

    def end(self, reason: str) -> None:
        """Show the page that the session is over, and why."""
        if self._view is not None and not self._over.is_set():
            self._set(self._view.end(reason, by_page=self._left, recording=self._recording()))
        self._over.set()
        self._news.set()

    def _recording(self) -> str:
        """Return the token with which the page may fetch what was recorded; "" where nothing was."""
        conversation_id = self._view.conversation_id if self._view is not None and self._has_page else ""
        return self._links.new_recording(conversation_id) if self._is_recorded(conversation_id) else ""

    def _set(self, changed: Mapping[str, Any]) -> None:
        if changed:
            self._tell({"set": dict(changed)})

    def _flush(self, number: int) -> None:
        """Let the page play nothing more of this; what was not sent yet never is."""
        self._letters = deque(one for one in self._letters if "audio" not in one or one["id"] > number)
        self._tell({"flush": number})

    def _tell(self, letter: dict[str, Any]) -> None:
        if not self._has_page:
            return
        if len(self._letters) >= MAX_LETTERS:  # it does not keep up
            self._letters.clear()
            self._leave(Gone(1008))
        self._letters.append(letter)
        self._news.set()

    # The page

    async def serve(self, page: WebSocket) -> None:
        """Carry everything between the page and the session until one of them is over."""
        assert self._view is not None
        self._has_page = True
        self._tell({"set": self._view.shown})
        inbox = Inbox(page, self._clock, read=self._read_page)
        inbox.open()
        works = (self._write(page), self._forward(inbox), self._after_end())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(Gone(1001))
            self._has_page = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await inbox.close()

    async def _write(self, page: WebSocket) -> None:
        """Send letters until the session is over and everything was sent."""
        try:
            while True:
                while self._letters:
                    await page.send_text(json.dumps(self._letters.popleft(), separators=(",", ":")))
                if self._over.is_set():
                    return await page.close(NORMAL)
                self._news.clear()
                await self._news.wait()
        except (WebSocketDisconnect, RuntimeError):
            return None  # the page is gone, and its inbox says so

    async def _forward(self, inbox: Inbox) -> None:
        """Pass on what the page says; when it is gone, wait until the session is over and shown."""
        assert self._view is not None
        while not isinstance(message := await inbox.get(), Gone | Problem):
            if isinstance(message, live.Choose | UserMessage | live.Passed):
                self._set(self._view.begin())
            if self._session is not None:
                self._session.put(message)
        if isinstance(message, Problem):
            self.show({"type": "error", "error_event": {"message": message.message}})
            message = Gone(1008)
        self._leave(message)
        async with asyncio.timeout(DRAIN_SECS):
            await asyncio.Event().wait()  # once the session is over, `_write` is the one that ends

    async def _after_end(self) -> None:
        """Give a page that takes nothing a while to hear of the end."""
        await self._over.wait()
        await asyncio.sleep(DRAIN_SECS)

    def _leave(self, gone: Gone) -> None:
        """End the session, because the page has left it."""
        if not self._left and not self._over.is_set():
            self._left = True
            if self._session is not None:
                self._session.put(gone)

    def _read_page(self, text: str | None) -> Any:
        """Return what a page may say; anything else of a session's messages is none of its business."""
        if text is not None and text.startswith(END):
            return Gone(NORMAL)
        message = self._read(text)
        match message:
            case live.Choose(kind="comm" | "push_to_talk" | "text") | AudioChunk() | live.Clip() | UserMessage():
                return message
            case live.Mute() | live.SoundTakes() | Unsupported():
                return message
            case live.Passed(frame={"type": "user_message"}):
                return message
            case _:
                return None
