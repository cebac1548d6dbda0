"""App: the local platform as an ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from convai_lab.server import (
    agent_routes,
    audio_routes,
    catalogue_routes,
    conversation_routes,
    local_routes,
    phone_routes,
    session_routes,
    window_page,
)
from convai_lab.server.access import Door
from convai_lab.server.answers import Refusal, http_error_answer, refusal_answer
from convai_lab.server.context import Platform
from convai_lab.server.conversation_routes import SOCKET_PATH
from convai_lab.server.conversation_socket import conversation_socket, deny
from convai_lab.server.window_links import WindowLinks


def build_app(platform: Platform) -> Starlette:
    """Return the application that serves one platform."""
    app = Starlette(
        routes=[
            *agent_routes.ROUTES,
            *conversation_routes.ROUTES,
            *audio_routes.ROUTES,
            *phone_routes.ROUTES,
            *catalogue_routes.ROUTES,
            *local_routes.ROUTES,
            *session_routes.ROUTES,
            *window_page.ROUTES,
            WebSocketRoute(SOCKET_PATH, conversation_socket),
        ],
        middleware=[Middleware(HostCheck, door=platform.door)],
        exception_handlers={HTTPException: http_error_answer},
    )
    app.router.redirect_slashes = False
    app.state.platform = platform
    app.state.window_links = WindowLinks(platform.clock)
    return app


class HostCheck:
    """Turns away every request that names another host, before anything else looks at it."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (an ASGI application)."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        try:
            self._door.check_host(Headers(scope=scope))
        except Refusal as refusal:
            if scope["type"] == "websocket":
                return await deny(WebSocket(scope, receive, send), refusal)
            answer = refusal_answer(refusal.status, refusal.word, refusal.message)
            return await answer(scope, receive, send)
        return await self._app(scope, receive, send)
