"""Results of tools are said in words, whatever their shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convai_lab.providers.base import ToolSpec
from convai_lab.providers.offline.telling import tell
from convai_lab.providers.offline.tool_choice import Tool

LOOK_UP = Tool(
    ToolSpec(
        name="order_status",
        description="Look up an order.",
        parameters={"properties": {"order_id": {"type": "string"}}},
    )
)
CANCEL = Tool(
    ToolSpec(
        name="cancel_order", description="Cancel an order.", parameters={"properties": {"order_id": {"type": "string"}}}
    )
)
WEATHER = Tool(ToolSpec(name="get_weather", parameters={"properties": {"city": {"type": "string"}}}))

TOLD: list[tuple[Tool, Any, str]] = [
    (LOOK_UP, {"status": "shipped", "eta": "tomorrow"}, "Order 1234 is shipped and it should arrive tomorrow."),
    (LOOK_UP, {"order_id": "1234", "status": "in_transit"}, "Order 1234 is in transit."),
    (LOOK_UP, {"order": {"status": "late", "eta": "2 days"}}, "Order 1234 is late and it should arrive in 2 days."),
    (LOOK_UP, {"eta": "2026-05-12"}, "Order 1234 should arrive on 2026-05-12."),
    (LOOK_UP, {"delivered_on": "Tuesday", "renews_at": "noon"},
     "Order 1234 was delivered on Tuesday and it renews at noon."),
    (LOOK_UP, {"total": 12.5, "currency": "EUR"}, "The total of order 1234 is 12.5 EUR."),
    (LOOK_UP, {"items": ["tea", "cups"]}, "The items of order 1234 are tea and cups."),
    (LOOK_UP, {"status": "paid", "tracking_url": "https://x.example/1"}, "Order 1234 is paid."),
    (LOOK_UP, {"message": "Your order is on the van. It comes today. And more."},
     "Your order is on the van. It comes today."),
    (LOOK_UP, [{"name": "Tea", "status": "sent"}, {"name": "Cups"}], "I found 2 for order 1234: Tea (sent) and Cups."),
    (LOOK_UP, list(range(9)), "I found 9 for order 1234: 0, 1, 2, 3 and 5 more."),
    (LOOK_UP, [], "I could not find anything on order 1234."),
    (LOOK_UP, {"found": False}, "I'm sorry, I could not find order 1234."),
    (LOOK_UP, {"error": "not found"}, "I'm sorry, I could not find order 1234."),
    (LOOK_UP, {"error": "db down"}, "I'm sorry, that did not work just now with order 1234."),
    (LOOK_UP, "The parcel is at the post office.", "The parcel is at the post office."),
    (CANCEL, {"success": True}, "That's done."),
    (CANCEL, {"status": "ok"}, "That's done."),
    (CANCEL, {"refund": 5}, "That's done. The refund of order 1234 is 5."),
    (CANCEL, {"success": False, "message": "It cannot be cancelled any more"},
     "I'm sorry, that did not work with order 1234: it cannot be cancelled any more."),
    (CANCEL, None, "That's done."),
    (WEATHER, {"temperature": 21, "condition": "partly_cloudy"},
     "The temperature is 21 and the condition is partly cloudy."),
    (WEATHER, {"available": True}, "It is available."),
    (WEATHER, {"available": False}, "It is not available."),
    (WEATHER, 21, "The answer is 21."),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "result", "expected"), TOLD, ids=[str(t[1])[:60] for t in TOLD])
def test_a_result_is_said_in_words(tool: Tool, result: Any, expected: str) -> None:
    value = result if isinstance(result, str) else json.dumps(result)
    assert tell(tool, {"order_id": "1234"}, value, is_error=False, asked=()).text == expected


def test_what_was_asked_for_comes_first() -> None:
    value = json.dumps({"status": "paid", "a": 1, "b": 2, "c": 3, "d": 4, "weight": "2 kg"})
    assert "weight" in tell(LOOK_UP, {}, value, is_error=False, asked=["weight"]).text


def test_json_that_was_cut_is_read_as_far_as_it_goes() -> None:
    told = tell(
        LOOK_UP, {"order_id": "1234"}, '{"status": "shipped", "eta": "tomorrow", "log": "aaa', is_error=False, asked=()
    )
    assert told.text == "Order 1234 is shipped and it should arrive tomorrow."


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("tool order_status: order_id: must be a string", "invalid"),
        ("There is no order with this number.", "missing"),
        ("The order cannot be cancelled any more.", "refused"),
        ("Traceback (most recent call last): KeyError", "failed"),
        ("", "failed"),
    ],
)
def test_an_error_is_apologised_for_and_sorted(error: str, outcome: str) -> None:
    told = tell(CANCEL, {"order_id": "1234"}, error, is_error=True, asked=())
    assert told.outcome == outcome
    assert told.text.startswith("I'm sorry")
    assert "Traceback" not in told.text
