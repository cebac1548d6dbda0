"""Conversation routes: list, read, delete and rate conversations over HTTP, and get a signed URL to start one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from convai_lab.conversations.store_filters import Filters
from convai_lab.conversations.wire_format import conversation_to_wire
from convai_lab.errors import NotFoundError
from convai_lab.server.access import VisitorPolicy, policy_of
from convai_lab.server.admission import CONVERSATION_PREFIX
from convai_lab.server.answers import InvalidRequest, Refusal
from convai_lab.server.audio_files import as_it_lies, delete_recording
from convai_lab.server.auth import SIGNED_URL_SECS, Signed
from convai_lab.server.call import Call, route
from convai_lab.server.paging import MAX_PAGE_SIZE, filtered_page

MAX_COMMENT_CHARS = 10_000
STATUSES = ("initiated", "in-progress", "processing", "done", "failed")
SOURCES = ("live", "simulated", "replay", "import")
OUTCOMES = ("success", "failure", "unknown")
SOCKET_PATH = "/v1/convai/conversation"

Row = Mapping[str, Any]

FILTERS_OF_ROWS: dict[str, Callable[[Row, list[str]], bool]] = {
    "tool_names": lambda row, wanted: not set(wanted).isdisjoint(row["tool_names"]),
    "main_languages": lambda row, wanted: row["main_language"] in wanted,
    "termination_reasons": lambda row, wanted: row["termination_reason"] in wanted,
    "tag_ids": lambda row, wanted: not set(wanted).isdisjoint(row["tag_ids"]),
    "version_id": lambda row, wanted: row["version_id"] in wanted,
    "conversation_initiation_source": lambda row, wanted: row["conversation_initiation_source"] in wanted,
    "rating_min": lambda row, wanted: (row["rating"] or 0) >= _rating(wanted),
    "rating_max": lambda row, wanted: row["rating"] is not None and row["rating"] <= _rating(wanted),
}
"""Filters that are answered from the rows of the list."""

NOT_FILTERED = (
    "visited_agent_ids",
    "visited_agent_branch_ids",
    "triggered_procedure_ids",
    "has_feedback_comment",
    "evaluation_params",
    "data_collection_params",
    "dynamic_variable_params",
    "data_collection_ids",
    "evaluation_criteria_ids",
    "tool_names_successful",
    "tool_names_errored",
    "topic_ids",
    "workflow_node_entered_id",
    "guardrail_types",
    "custom_guardrail_names",
)
"""Filters of the vendor's that we refuse: to leave them out in silence would show wrong lists."""


def list_conversations(call: Call) -> Any:
    """GET /v1/convai/conversations."""
    for name in NOT_FILTERED:
        if call.query.get(name):
            raise InvalidRequest.at("query", name, msg="the local platform does not know this filter", kind="unknown")
    filters = _filters(call)
    descending = call.choice("sort_direction", "desc", among=("asc", "desc")) == "desc"
    with_summary = call.choice("summary_mode", "exclude", among=("exclude", "include")) == "include"
    page = filtered_page(
        lambda size, cursor: call.platform.conversations.list(
            page_size=size, cursor=cursor, descending=descending, **filters
        ),
        size=call.integer("page_size", 30, low=1, high=MAX_PAGE_SIZE),
        cursor=call.query.get("cursor") or None,
        wanted=_row_filter(call),
    )
    rows = [row if with_summary else {**row, "transcript_summary": None} for row in page.items]
    return {"conversations": rows, "next_cursor": page.next_cursor, "has_more": page.has_more}


def get_conversation(call: Call) -> Any:
    """GET /v1/convai/conversations/{conversation_id}."""
    document = conversation_to_wire(call.platform.conversations.get(call.path["conversation_id"]))
    return as_it_lies(call.platform.home, document)


def delete_conversation(call: Call) -> Any:
    """DELETE /v1/convai/conversations/{conversation_id}."""
    conversation_id = call.path["conversation_id"]
    call.platform.live.check_free(conversation_id)
    call.platform.conversations.get(conversation_id)
    delete_recording(call.platform.home, conversation_id)  # first: a record without its sound can be deleted again
    call.platform.conversations.delete(conversation_id)
    return {}


def rate_conversation(call: Call) -> Any:
    """POST /v1/convai/conversations/{conversation_id}/feedback, sent by web pages without a key."""
    feedback = _feedback(call.object_body())
    store, conversation_id = call.platform.conversations, call.path["conversation_id"]
    call.platform.live.check_free(conversation_id)
    conversation = store.get(conversation_id)
    metadata = conversation.extra.get("metadata")
    metadata = {**metadata} if isinstance(metadata, Mapping) else {}
    store.update(
        conversation.with_changes(extra={**conversation.extra, "metadata": {**metadata, "feedback": feedback}})
    )
    return {}


def get_signed_url(call: Call) -> Any:
    """GET /v1/convai/conversation/get-signed-url."""
    version_id = call.query.get("version_id") or ""
    agent = call.platform.agents.get(call.needed("agent_id"), version_id=version_id or None)
    with_id = call.flag("include_conversation_id", False)
    conversation_id = call.platform.clock.new_id(CONVERSATION_PREFIX) if with_id else ""
    expires_at = int(call.platform.clock.wall()) + SIGNED_URL_SECS
    signature = call.platform.door.signer.sign(agent["agent_id"], Signed(expires_at, conversation_id, version_id))
    query = {"agent_id": agent["agent_id"], "conversation_signature": signature}
    if conversation_id:
        query["conversation_id"] = conversation_id
    base = call.base_url.replace("http", "ws", 1).rstrip("/")
    return {"signed_url": f"{base}{SOCKET_PATH}?{urlencode(query)}"}


def get_token(call: Call) -> Any:
    """GET /v1/convai/conversation/token: what browsers ask for before they use WebRTC."""
    call.platform.agents.get(call.needed("agent_id"))
    raise Refusal(
        400, "not_supported", "this platform speaks WebSocket: use connectionType 'websocket', or a signed URL"
    )


def visitors_of_conversation(call: Call) -> VisitorPolicy:
    """Return what the agent of the conversation in the path says about clients without a key."""
    agent_id = call.platform.conversations.get(call.path["conversation_id"]).agent_id
    try:
        return policy_of(call.platform.agents.get(agent_id))
    except NotFoundError:
        return VisitorPolicy(agent_id=agent_id, enable_auth=True)  # its agent is deleted: nobody opens it any more


def visitors_of_asked_agent(call: Call) -> VisitorPolicy:
    """Return what the agent in the query says about clients without a key."""
    return policy_of(call.platform.agents.get(call.needed("agent_id")))


def _filters(call: Call) -> Filters:
    """Return the filters that the store knows."""
    text_only = call.flag("text_only")
    success = call.query.get("call_successful")
    if success and success not in (*OUTCOMES, "error"):
        raise InvalidRequest.at("query", "call_successful", msg=f"must be one of {', '.join(OUTCOMES)}", kind="enum")
    source = call.choice("source", "live", among=(*SOURCES, "all"))  # ours: the vendor has only live conversations
    filters = Filters(
        source=None if source == "all" else source,
        agent_id=call.query.get("agent_id") or None,
        since=call.number("call_start_after_unix"),
        until=call.number("call_start_before_unix"),
        min_duration_secs=call.number("call_duration_min_secs"),
        max_duration_secs=call.number("call_duration_max_secs"),
        search=call.query.get("search") or None,
        user_id=call.query.get("user_id") or None,
        parent_id=call.query.get("parent_conversation_id") or None,
        channel=None if text_only is None else ("text" if text_only else ("voice", "phone")),
    )
    excluded = call.query.getlist("exclude_statuses")
    if wrong := [status for status in excluded if status not in STATUSES]:
        raise InvalidRequest.at("query", "exclude_statuses", msg=f"there is no status {wrong[0][:40]}", kind="enum")
    if excluded or success == "error":
        kept = ("failed",) if success == "error" else STATUSES
        filters["status"] = tuple(status for status in kept if status not in excluded) or ("none",)
    elif success:
        filters["success"] = success
    if status := call.query.get("status"):
        if status not in STATUSES:
            raise InvalidRequest.at("query", "status", msg=f"must be one of {', '.join(STATUSES)}", kind="enum")
        filters["status"] = status
    return filters


def _row_filter(call: Call) -> Callable[[Row], bool] | None:
    asked = {name: found for name in FILTERS_OF_ROWS if (found := [v for v in call.query.getlist(name) if v])}
    for name in ("rating_min", "rating_max"):
        call.integer(name, 1, low=1, high=5)
    if not asked:
        return None
    return lambda row: all(FILTERS_OF_ROWS[name](row, wanted) for name, wanted in asked.items())


def _rating(wanted: list[str]) -> int:
    return int(wanted[0])


def _feedback(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return feedback as the vendor keeps it with a conversation: a thumb, or a rating with a comment."""
    score, rating, comment = body.get("feedback"), body.get("rating"), body.get("comment")
    if score not in ("like", "dislike", None):
        raise InvalidRequest.at("body", "feedback", msg="must be like, dislike or null", kind="enum")
    if rating is not None and (isinstance(rating, bool) or not isinstance(rating, int) or not 1 <= rating <= 5):
        raise InvalidRequest.at("body", "rating", msg="must be a whole number from 1 to 5", kind="range")
    if comment is not None and (not isinstance(comment, str) or len(comment) > MAX_COMMENT_CHARS):
        raise InvalidRequest.at("body", "comment", msg=f"must be a text of {MAX_COMMENT_CHARS} characters at most")
    return {
        "type": "thumbs" if rating is None else "rating",
        "overall_score": score,
        "likes": int(score == "like"),
        "dislikes": int(score == "dislike"),
        "rating": rating,
        "comment": comment,
    }


_ONE = "/v1/convai/conversations/{conversation_id}"

ROUTES = [
    route("/v1/convai/conversations", GET=list_conversations),
    route(_ONE, subject="conversation", GET=get_conversation, DELETE=delete_conversation),
    route(f"{_ONE}/feedback", subject="conversation", visitors=visitors_of_conversation, POST=rate_conversation),
    route("/v1/convai/conversation/get-signed-url", subject="agent", GET=get_signed_url),
    route("/v1/convai/conversation/get_signed_url", subject="agent", GET=get_signed_url),
    route("/v1/convai/conversation/token", subject="agent", visitors=visitors_of_asked_agent, GET=get_token),
]
