"""Phone routes: what does a platform answer about telephones before it has any?"""

from __future__ import annotations

from typing import Any

from convai_lab.errors import Problem
from convai_lab.server.answers import InvalidRequest, Refusal
from convai_lab.server.call import Call, route

NEEDED = ("agent_id", "agent_phone_number_id", "to_number")


def call_out(call: Call) -> Any:
    """POST /v1/convai/twilio/outbound-call."""
    body = call.object_body()
    problems = [Problem(("body", name), "Field required", "missing") for name in NEEDED if name not in body]
    problems += [
        Problem(("body", name), "must be a text", "string_type")
        for name in NEEDED
        if name in body and not isinstance(body[name], str)
    ]
    if problems:
        raise InvalidRequest(problems)
    call.platform.agents.get(body["agent_id"])
    number = body["agent_phone_number_id"][:80]
    raise Refusal(
        404,
        "phone_number_not_found",
        f"there is no phone number {number} on this platform: telephone calls need a number of Twilio's, "
        "which the local platform cannot keep yet",
    )


def list_phone_numbers(_: Call) -> Any:
    """GET /v1/convai/phone-numbers: a bare list, and so far always an empty one."""
    return []


ROUTES = [
    route("/v1/convai/twilio/outbound-call", subject="agent", POST=call_out),
    route("/v1/convai/phone-numbers", GET=list_phone_numbers),
]
