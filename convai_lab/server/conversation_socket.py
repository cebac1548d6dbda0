"""Conversation socket: how does a connection become a conversation?"""

from __future__ import annotations

from starlette.responses import Response
from starlette.websockets import WebSocket

from convai_lab.server.admission import Admitted, admit, check_page
from convai_lab.server.answers import Refusal, refusal_answer
from convai_lab.server.context import Platform
from convai_lab.server.conversation_session import ConversationSession
from convai_lab.server.current_reply import crash
from convai_lab.server.socket_events import REFUSED, Problem
from convai_lab.server.socket_wire import Inbox, Outbox

SUBPROTOCOL = "convai"


async def conversation_socket(websocket: WebSocket) -> None:
    """Serve ``/v1/convai/conversation``.

    Pages that may not call are turned away before the connection stands. Everything else that is wrong is told on
    the open connection, where every client can read it: an error event, then close code 1008.
    """
    platform: Platform = websocket.app.state.platform
    try:
        check_page(platform, websocket.headers, websocket.query_params)
    except Refusal as refusal:
        return await deny(websocket, refusal)
    offered = websocket.scope.get("subprotocols") or ()
    await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    outbox = Outbox(websocket)
    try:
        await _hold(platform, websocket, outbox)
    except Problem as problem:
        await outbox.fail(problem)
    except Refusal as refusal:
        await outbox.fail(Problem(REFUSED, refusal.word, refusal.message))
    except Exception as error:  # the edge: one socket
        await outbox.fail(crash(error))


async def deny(websocket: WebSocket, refusal: Refusal) -> None:
    """Turn a connection away with an HTTP answer."""
    answer: Response = refusal_answer(refusal.status, refusal.word, refusal.message, refusal.headers)
    if "websocket.http.response" in (websocket.scope.get("extensions") or {}):
        await websocket.send_denial_response(answer)
    else:
        await websocket.close(REFUSED)


async def _hold(platform: Platform, websocket: WebSocket, outbox: Outbox) -> None:
    if resumed_id := websocket.query_params.get("continue"):
        await platform.live.freed(resumed_id, platform.clock)
    admitted: Admitted = admit(platform, websocket.headers, websocket.query_params)
    with platform.live.socket(), platform.live.hold(admitted.conversation_id):
        inbox = Inbox(websocket, platform.clock)
        inbox.open()
        try:
            await ConversationSession(platform, admitted, inbox, outbox).run()
        finally:
            await inbox.close()
