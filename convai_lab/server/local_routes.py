"""Local routes: what the notebook asks its own platform, beyond the vendor's API."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

from anyio import from_thread
from starlette.responses import Response, StreamingResponse

from convai_lab import settings
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.wire_format import conversation_from_wire, conversation_to_wire
from convai_lab.server.answers import InvalidRequest
from convai_lab.server.audio_files import as_it_lies
from convai_lab.server.call import Call, route
from convai_lab.server.conversation_routes import SOURCES

MAX_SETTING_CHARS = 4_096
MAX_DOCUMENTS = 1_000_000
MAX_ADDED = 1_000
ADDED_SOURCES = ("simulated", "replay", "import")


def put_settings(call: Call) -> Any:
    """PUT /v1/local/settings: provider keys and base URLs, kept in memory only."""
    given = call.object_body().get("settings")
    if not isinstance(given, dict):
        raise InvalidRequest.at("body", "settings", msg="an object of names and values is needed", kind="dict_type")
    allowed = settings.SENT_SETTINGS
    for name, value in given.items():
        if name not in allowed:  # the name is not repeated: it may be a key in the wrong place
            raise InvalidRequest.at("body", "settings", msg=f"the names are {', '.join(allowed)}")
        if not isinstance(value, str) or len(value) > MAX_SETTING_CHARS or not value.isprintable():
            raise InvalidRequest.at("body", "settings", name, msg="must be one line of text", kind="string_type")
    settings.use_provider_settings(given)


def get_status(call: Call) -> Any:
    """GET /v1/local/status: who is running, and which keys are present."""
    return {
        "version": importlib.import_module("convai_lab").__version__,
        "pid": os.getpid(),
        "home": str(call.platform.home),
        "started_at_unix_secs": int(call.platform.started_at),
        "open_conversations": len(call.platform.live),
        "tasks": from_thread.run_sync(_tasks),
        "keys": settings.key_status(),
    }


def _tasks() -> int:
    """Count what goes on in this process's event loop."""
    return len(asyncio.all_tasks())


def stream_conversations(call: Call) -> Response:
    """GET /v1/local/conversations.ndjson: whole conversation documents, one a line, newest first."""
    source = call.choice("source", "live", among=(*SOURCES, "all"))
    limit = call.number("limit", low=0, high=MAX_DOCUMENTS, whole=True)
    documents = call.platform.conversations.documents(
        agent_id=call.query.get("agent_id") or None,
        conversation_id=call.query.get("conversation_id") or None,
        since=call.number("since_unix"),
        until=call.number("until_unix"),
        source=None if source == "all" else source,
        limit=None if limit is None else int(limit),
    )
    documents = (as_it_lies(call.platform.home, document) for document in documents)
    first = next(documents, None)  # what is wrong with the request shows here, while it can still be answered
    found = documents if first is None else itertools.chain((first,), documents)
    return StreamingResponse(_lines(found), media_type="application/x-ndjson")


def add_conversations(call: Call) -> Any:
    """POST /v1/local/conversations: keep conversations that were held elsewhere, such as those of comparisons."""
    given = call.object_body().get("conversations")
    if not isinstance(given, list) or len(given) > MAX_ADDED:
        msg = f"a list of at most {MAX_ADDED} conversations is needed"
        raise InvalidRequest.at("body", "conversations", msg=msg, kind="list_type")
    return {"stored": call.platform.conversations.add_finished([_finished(doc, at) for at, doc in enumerate(given)])}


def _finished(doc: Any, at: int) -> Conversation:
    """Return a conversation from outside: over, and never one that somebody held live on this platform."""
    conversation = conversation_from_wire(doc)
    if conversation.source not in ADDED_SOURCES:
        msg = f"only conversations of source {', '.join(ADDED_SOURCES)} can be added, not {conversation.source}"
        raise InvalidRequest.at("body", "conversations", at, "source", msg=msg, kind="enum")
    if conversation.status not in ("done", "failed") or not conversation.id:
        msg = "must have an id and be over (done or failed)"
        raise InvalidRequest.at("body", "conversations", at, "status", msg=msg, kind="enum")
    return conversation


def undo_last_exchange(call: Call) -> Any:
    """POST /v1/local/conversations/{conversation_id}/undo: take back the last user turn and what followed."""
    conversation_id = call.path["conversation_id"]
    store = call.platform.conversations
    call.platform.live.check_free(conversation_id)
    removed = store.undo(conversation_id)
    return {"removed": removed, "conversation": conversation_to_wire(store.get(conversation_id))}


def _lines(documents: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for document in documents:
        yield json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


ROUTES = [
    route("/v1/local/settings", PUT=put_settings),
    route("/v1/local/status", GET=get_status),
    route("/v1/local/conversations", POST=add_conversations),
    route("/v1/local/conversations.ndjson", GET=stream_conversations),
    route("/v1/local/conversations/{conversation_id}/undo", subject="conversation", POST=undo_last_exchange),
]
