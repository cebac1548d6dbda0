"""Session routes: how does a notebook, or a page of ours, hold a live voice session?

Two private websockets, both for the holder of the API key (``xi-api-key``):

- ``/v1/local/session?agent_id=...`` holds a conversation with an agent of this platform.
- ``/v1/local/cloud_session`` holds one on another platform: its first message is ``live_cloud``, and this process
  carries sound and events between the two.

They speak the vendor's conversation events (``conversation_initiation_metadata`` first; the client sends its
``conversation_initiation_client_data`` at once), all of them but ``vad_score``, and these messages besides. The user's
sound is ``pcm_16000``; the metadata says what the agent's is. Every private frame is JSON whose first key is ``type``.

From the client::

    {"type": "live_choose", "kind": "webrtc" | "comm" | "push_to_talk" | "text"}
        How the sound travels. The agent begins once the first choice is ready (WebRTC: once it is connected); a
        ``user_message`` begins too. May change at any time: what was sent and not heard yet is sent again.
    {"type": "live_signal", "message": {...}}    a message of the page's WebRTC room: join, sdp, candidate
    {"user_audio_chunk": "<base64>"}             the user's sound at 16 kHz (comm)
    {"type": "live_sound", "pcm": "<base64>", "rate_hz": 48000}    the same at another rate
    {"type": "live_clip", "data": "<base64>", "mime": "audio/webm"}    a recorded clip, up to 8 MB and two minutes
    {"type": "live_mute", "on": true}            the agent hears silence
    {"type": "live_sound_takes", "to_agent_ms": 12.5, "to_user_ms": 80, "number": 7,
     "is_at_start": true, "heard_at": 512.25}
        How long sound takes each way, as measured at the user's end (null: not known): about once a second, and when
        the agent begins to be heard (``is_at_start``; ``heard_at``: when, by the platform's clock). It is part of the
        wait that a turn's metrics tell; answered
    {"type": "live_use_agent", "agent": {...}}   an agent document: it speaks from its next turn on; answered
    {"type": "live_cloud", "url": "wss://...", "who": "ElevenLabs"}    first, on ``cloud_session`` only
    {"type": "live_window", "agent": "Sam", "version": 3, "platform": "local"}
        Let a page of ours take part (`window_share`): it gets the sound, and a view of everything; answered
    {"type": "live_printed", "name": "...", "text": "..."}    what a tool printed, for that page

From the platform::

    {"type": "live_state", "state": "connecting" | "listening" | "thinking" | "speaking" | "ended"}
    {"type": "live_engines", "engines": {"llm": "...", "asr": "...", "tts": "...", "vad": "..."}}
    {"type": "live_media", "kind": "webrtc", "is_connected": false, "reason": null}
        What was chosen, and whether it works; ``reason`` is a sentence when it failed.
    {"type": "live_signal", "message": {...}}    for the page's room, as it is
    {"type": "live_turn_stored", "index": 3, "turn": {...}}    a turn as the record of a conversation has it
    {"type": "live_flush", "event_id": 7}        play nothing more of ``audio`` with this number or a smaller one
    {"type": "live_level", "user": 0.4, "agent": 0.0}    ten times a second while something changes
    {"type": "live_refused", "message": "..."}   something was not taken; the session goes on
    {"type": "live_window_ready", "token": "..."}    goes into the page's address: ``/window#token``; works once
    {"type": "live_sound_timed", "number": 7, "at": 512.5}    the answer to ``live_sound_takes``, with our clock
    {"type": "live_agent_used", "error": null}   the answer to ``live_use_agent``

The agent's sound comes as ``audio`` events unless it travels by WebRTC. Drop what waits of it on ``interruption`` and
on ``live_flush``. Whoever closes the socket ends the session; errors come as an ``error`` event and a close code.
"""

from __future__ import annotations

from functools import partial

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from convai_lab.server.admission import Admitted, admit_owner
from convai_lab.server.answers import Refusal
from convai_lab.server.audio_files import has_recording
from convai_lab.server.context import Platform
from convai_lab.server.conversation_socket import deny
from convai_lab.server.current_reply import crash
from convai_lab.server.live_frames import read_bridge_frame, read_live_frame
from convai_lab.server.socket_events import REFUSED, Problem
from convai_lab.server.socket_wire import Inbox, Outbox

SESSION_PATH = "/v1/local/session"
CLOUD_PATH = "/v1/local/cloud_session"


async def session_socket(websocket: WebSocket) -> None:
    """Hold a live session with an agent of this platform."""
    await _serve(websocket, is_cloud=False)


async def cloud_socket(websocket: WebSocket) -> None:
    """Hold a live session on another platform."""
    await _serve(websocket, is_cloud=True)


async def _serve(websocket: WebSocket, *, is_cloud: bool) -> None:
    from convai_lab.server.window_share import SharedOutbox, WindowShare

    platform: Platform = websocket.app.state.platform
    try:
        check_owner(platform, websocket)
    except Refusal as refusal:
        return await deny(websocket, refusal)
    await websocket.accept()
    outbox = SharedOutbox(websocket)
    read = read_bridge_frame if is_cloud else read_live_frame
    is_recorded = partial(has_recording, platform.home) if not is_cloud else lambda _: False  # elsewhere, not here
    share = WindowShare(websocket.app.state.window_links, outbox, platform.clock, read, is_recorded)
    try:
        await (_bridge if is_cloud else _hold)(platform, websocket, outbox, share.new_inbox(websocket))
    except Problem as problem:
        await outbox.fail(problem)
    except Refusal as refusal:
        await outbox.fail(Problem(REFUSED, refusal.word, refusal.message))
    except Exception as error:  # the edge: one socket
        await outbox.fail(crash(error))
    finally:
        share.close()


def check_owner(platform: Platform, websocket: WebSocket) -> None:
    """Refuse everybody but programs with the API key.

    Raises:
        Refusal: It is a page, or has no key or a wrong one.
    """
    headers = websocket.headers
    platform.door.check_origin(headers)
    if not platform.door.has_key(headers):
        platform.rates.wrong_key()
    platform.door.require_key(headers)


async def _hold(platform: Platform, websocket: WebSocket, outbox: Outbox, inbox: Inbox) -> None:
    from convai_lab.server.live_conversation import LiveSession

    admitted: Admitted = admit_owner(platform, websocket.query_params)
    with platform.live.socket(), platform.live.hold(admitted.conversation_id):
        inbox.open()
        try:
            await LiveSession(platform, admitted, inbox, outbox).run()
        finally:
            await inbox.close()


async def _bridge(platform: Platform, _: WebSocket, outbox: Outbox, inbox: Inbox) -> None:
    from convai_lab.server.cloud_bridge import CloudBridge

    with platform.live.socket():
        inbox.open()
        try:
            await CloudBridge(platform, inbox, outbox).run()
        finally:
            await inbox.close()


ROUTES = [WebSocketRoute(SESSION_PATH, session_socket), WebSocketRoute(CLOUD_PATH, cloud_socket)]
