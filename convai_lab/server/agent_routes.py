"""Agent routes: create, read, change, list, copy and delete agents over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from convai_lab.agents.store import STORE_KEYS
from convai_lab.agents.wire_rules import merge, normalise, problems_in, with_defaults
from convai_lab.errors import InvalidConfigError, Problem
from convai_lab.server.access import VisitorPolicy, policy_of
from convai_lab.server.answers import InvalidRequest
from convai_lab.server.call import Call, route
from convai_lab.server.paging import MAX_PAGE_SIZE, filtered_page
from convai_lab.server.widget_config import widget_config

BODY_KEYS = ("name", "conversation_config", "platform_settings", "workflow", "tags", "procedures")
"""What a request may set; anything else in it is kept too, but never what only the platform knows."""

PLATFORM_KEYS = frozenset(
    {*STORE_KEYS, "access_info", "branch_id", "main_branch_id", "phone_numbers", "whatsapp_accounts"}
)
MAIN_BRANCH = "agtbrch_main"
MAX_NAME_CHARS = 200

_changing = threading.Lock()


def full_document(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent as the platform's GET shows it: what is stored, and the keys that clients insist on."""
    answer = {
        "phone_numbers": [],
        "whatsapp_accounts": [],
        "access_info": {"is_creator": True, "creator_name": "", "creator_email": "", "role": "admin"},
        "tags": [],
        "workflow": {},
        "platform_settings": {},
        "procedures": {},
        **stored,
        "branch_id": MAIN_BRANCH,
        "main_branch_id": MAIN_BRANCH,
    }
    workflow = answer["workflow"] if isinstance(answer["workflow"], dict) else {}
    answer["workflow"] = {"edges": {}, "nodes": {}, "prevent_subagent_loops": False, **workflow}
    return answer


def checked_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole agent configuration as it is stored: today's shape, checked, and complete.

    Raises:
        InvalidConfigError: Wrong values, each with its path.
    """
    problems = list(problems_in(dict(body)))
    name = body.get("name")
    if isinstance(name, str) and len(name) > MAX_NAME_CHARS:
        problems.append(Problem(("name",), f"must have {MAX_NAME_CHARS} characters at most", "string_too_long"))
    if problems:
        raise InvalidConfigError(problems)
    return with_defaults(dict(body))


def visitors_of_agent(call: Call) -> VisitorPolicy:
    """Return what the agent in the path says about clients without a key."""
    return policy_of(call.platform.agents.get(call.path["agent_id"]))


def create_agent(call: Call) -> Any:
    """POST /v1/convai/agents/create."""
    body = _settable(normalise(call.object_body()))
    if not isinstance(body.get("conversation_config"), dict):
        raise InvalidRequest.at("body", "conversation_config", msg="Field required", kind="missing")
    made = call.platform.agents.create(checked_body(body))
    return {
        "agent_id": made["agent_id"],
        "main_branch_id": MAIN_BRANCH,
        "initial_version_id": made["version_id"],
    }


def get_agent(call: Call) -> Any:
    """GET /v1/convai/agents/{agent_id}."""
    found = call.platform.agents.get(call.path["agent_id"], version_id=call.query.get("version_id") or None)
    return full_document(found)


def change_agent(call: Call) -> Any:
    """PATCH /v1/convai/agents/{agent_id}: objects merge, lists and single values replace."""
    patch = call.object_body()
    about = patch.get("version_description")
    if about is not None and not isinstance(about, str):
        raise InvalidRequest.at("body", "version_description", msg="must be a text", kind="string_type")
    changes = _settable(normalise({key: value for key, value in patch.items() if key != "version_description"}))
    with _changing:
        stored = _settable(call.platform.agents.get(call.path["agent_id"]))
        body = checked_body(merge(stored, changes))
        return full_document(call.platform.agents.update(call.path["agent_id"], body, description=about))


def delete_agent(call: Call) -> Any:
    """DELETE /v1/convai/agents/{agent_id}."""
    call.platform.agents.delete(call.path["agent_id"])


def duplicate_agent(call: Call) -> Any:
    """POST /v1/convai/agents/{agent_id}/duplicate."""
    name = call.object_body().get("name") if call.body is not None else None
    if name is not None and not isinstance(name, str):
        raise InvalidRequest.at("body", "name", msg="must be a text", kind="string_type")
    body = _settable(call.platform.agents.get(call.path["agent_id"]))
    copy = checked_body({**body, "name": name or f"{body.get('name') or 'Agent'} (copy)"[:MAX_NAME_CHARS]})
    return {"agent_id": call.platform.agents.create(copy)["agent_id"]}


def link_of_agent(call: Call) -> Any:
    """GET /v1/convai/agents/{agent_id}/link; there are no share links on a private platform."""
    return {"agent_id": call.platform.agents.get(call.path["agent_id"])["agent_id"], "token": None}


def widget_of_agent(call: Call) -> Any:
    """GET /v1/convai/agents/{agent_id}/widget, asked by web pages without a key."""
    agent = call.platform.agents.get(call.path["agent_id"])
    return {"agent_id": agent["agent_id"], "widget_config": widget_config(agent)}


def list_agents(call: Call) -> Any:
    """GET /v1/convai/agents."""
    archived = call.flag("archived", False)
    direction = call.choice("sort_direction", "desc", among=("asc", "desc"))
    sort_by = call.choice("sort_by", "created_at", among=("name", "created_at", "call_count_7d"))
    search = call.query.get("search") or None

    def page(size: int, cursor: str | None) -> Any:
        return call.platform.agents.list(
            search=search,
            page_size=size,
            cursor=cursor,
            sort_by=sort_by,
            descending=direction == "desc",
            archived=archived,
        )

    found = filtered_page(
        page,
        size=call.integer("page_size", 30, low=1, high=MAX_PAGE_SIZE),
        cursor=call.query.get("cursor") or None,
        wanted=_has_tags(set(call.query.getlist("tags"))),
    )
    return {"agents": list(found.items), "next_cursor": found.next_cursor, "has_more": found.has_more}


def list_versions(call: Call) -> Any:
    """GET /v1/local/agents/{agent_id}/versions: every version, newest first."""
    versions = call.platform.agents.versions(call.path["agent_id"])
    return {"versions": [full_document(version) for version in versions]}


def _settable(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in PLATFORM_KEYS}


def _has_tags(tags: set[str]) -> Callable[[Mapping[str, Any]], bool] | None:
    return (lambda row: bool(tags & set(row.get("tags") or ()))) if tags else None


ROUTES = [
    route("/v1/convai/agents/create", POST=create_agent),
    route("/v1/convai/agents", GET=list_agents),
    route("/v1/convai/agents/{agent_id}", subject="agent", GET=get_agent, PATCH=change_agent, DELETE=delete_agent),
    route("/v1/convai/agents/{agent_id}/duplicate", subject="agent", POST=duplicate_agent),
    route("/v1/convai/agents/{agent_id}/link", subject="agent", GET=link_of_agent),
    route("/v1/convai/agents/{agent_id}/widget", subject="agent", visitors=visitors_of_agent, GET=widget_of_agent),
    route("/v1/local/agents/{agent_id}/versions", subject="agent", GET=list_versions),
]
