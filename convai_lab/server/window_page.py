"""Window page: how is a page served in which one talks with an agent, to whoever holds its link, and nobody else?

``/window`` is a page without any data of a session: its link carries a token in the fragment, which the page takes
out of its address and exchanges at ``/window/open`` for another one, kept in its memory; with that, it opens
``/window/socket``. When the session is over it gets a third one, for the recording alone. The platform's API key never
reaches it. Only this very origin may do any of it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from convai_lab.server.answers import Refusal, json_answer, refusal_answer
from convai_lab.server.audio_routes import recording_of
from convai_lab.server.context import Platform
from convai_lab.server.conversation_socket import deny
from convai_lab.server.limits import parse_json, read_body
from convai_lab.server.socket_events import REFUSED, close_reason
from convai_lab.server.window_links import WindowLinks

PAGE_PATH = "/window"
MAX_BODY_BYTES = 4_096
HELLO_SECS = 10.0
FOLDER = Path(__file__).parent / "window"
PANEL = Path(__file__).parent.parent / "notebook"
FILES: Mapping[str, tuple[Path, str]] = {
    "": (FOLDER / "window.html", "text/html"),
    "/window.js": (FOLDER / "window.js", "text/javascript"),
    "/window_sound.js": (FOLDER / "window_sound.js", "text/javascript"),
    "/window_worklet.js": (FOLDER / "window_worklet.js", "text/javascript"),
    "/window.css": (FOLDER / "window.css", "text/css"),
    "/icon.svg": (FOLDER / "icon.svg", "image/svg+xml"),
    "/session_panel.js": (PANEL / "session_panel.js", "text/javascript"),
    "/session_panel.css": (PANEL / "session_panel.css", "text/css"),
    "/panel_measures.js": (PANEL / "panel_measures.js", "text/javascript"),
    "/panel_worklet.js": (PANEL / "panel_worklet.js", "text/javascript"),
}
"""The panel, what it measures and the queue that plays are the notebook's own files: one look, and the same words."""
BEFORE: Mapping[str, Path] = {"/session_panel.js": PANEL / "panel_notebook.js"}
"""What is put before a file, as the notebook does, where a widget is one module."""
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
AnswerTo = Callable[[Platform, WindowLinks, Any], Awaitable[Response]]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{}; media-src 'self' blob:; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def page_file(request: Request) -> Response:
    """GET /window and what belongs to it: nothing in it is secret, and nothing of a session is in it."""
    name = request.url.path.removeprefix(PAGE_PATH)
    path, kind = FILES[name]
    parts = [BEFORE[name], path] if name in BEFORE else [path]
    headers = {**HEADERS, "content-security-policy": POLICY.format(_socket_source(request.headers))}
    return Response(b"\n".join(part.read_bytes() for part in parts), media_type=kind, headers=headers)


async def open_page(request: Request) -> Response:
    """POST /window/open: exchange a link's token, once, for the page's own."""
    return await _for_own_page(request, _exchange)


async def window_recording(request: Request) -> Response:
    """POST /window/recording: what was said in a session that is over, for its own page, which shows its token."""
    return await _for_own_page(request, _recording)


async def window_socket(websocket: WebSocket) -> None:
    """Let a page that shows its token take part in its session."""
    platform: Platform = websocket.app.state.platform
    links: WindowLinks = websocket.app.state.window_links
    try:
        check_own_page(websocket.headers)
        platform.rates.visit()
    except Refusal as refusal:
        await deny(websocket, refusal)
        return
    await websocket.accept()
    try:
        with platform.live.socket():
            share = links.admit(await _shown_token(websocket, platform))
            await share.serve(websocket)
    except Refusal as refusal:
        await websocket.close(REFUSED, close_reason(refusal.message))
    except (WebSocketDisconnect, RuntimeError):
        return  # the page left before it had said who it is


def check_own_page(headers: Headers) -> None:
    """Refuse everybody but our own page: its origin is the host that it asks.

    Raises:
        Refusal: It is another page, or none.
    """
    origins, host = headers.getlist("origin"), headers.get("host", "").lower()
    if len(origins) == 1 and origins[0].lower() in (f"http://{host}", f"https://{host}"):
        return
    raise Refusal(403, "forbidden_origin", "only the page of this platform may do this")


async def _for_own_page(request: Request, answer_to: AnswerTo) -> Response:
    """Answer our own page, which shows a token in the body; refuse everybody else in words."""
    platform: Platform = request.app.state.platform
    try:
        check_own_page(request.headers)
        platform.rates.visit()
        token = _token_in(await read_body(request, MAX_BODY_BYTES))
        answer = await answer_to(platform, request.app.state.window_links, token)
    except Refusal as refusal:
        return refusal_answer(refusal.status, refusal.word, refusal.message, {**HEADERS, **refusal.headers})
    answer.headers.update(HEADERS)
    return answer


async def _exchange(_: Platform, links: WindowLinks, token: Any) -> Response:
    return json_answer({"token": links.exchange(token)})


async def _recording(platform: Platform, links: WindowLinks, token: Any) -> Response:
    return await asyncio.to_thread(recording_of, platform, links.recorded(token))


def _token_in(raw: bytes) -> Any:
    try:
        body = parse_json(raw)
    except ValueError as error:
        raise Refusal(400, "bad_request", str(error)[:200]) from None
    return body.get("token") if isinstance(body, dict) else None


async def _shown_token(websocket: WebSocket, platform: Platform) -> Any:
    """Wait for the page's first message, which shows its token."""
    try:
        async with platform.clock.timeout(HELLO_SECS):
            message = await websocket.receive()
    except TimeoutError:
        raise Refusal(408, "no_token", "the page did not say who it is") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text = message.get("text")
    if not isinstance(text, str) or len(text) > MAX_BODY_BYTES:
        return None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body.get("token") if isinstance(body, dict) and body.get("type") == "window" else None


def _socket_source(headers: Headers) -> str:
    """Name our socket's address, for browsers to which 'self' is none of a socket."""
    host = headers.get("host", "")
    return f" ws://{host} wss://{host}" if re.fullmatch(r"[A-Za-z0-9.\-]+(:\d{1,5})?", host) else ""


ROUTES: list[BaseRoute] = [
    *(Route(PAGE_PATH + name, page_file, methods=["GET"]) for name in FILES),
    Route(f"{PAGE_PATH}/open", open_page, methods=["POST"]),
    Route(f"{PAGE_PATH}/recording", window_recording, methods=["POST"]),
    WebSocketRoute(f"{PAGE_PATH}/socket", window_socket),
]
