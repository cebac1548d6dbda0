"""The agents that the offline model is tried as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from convai_lab.providers.base import ToolSpec
from convai_lab.providers.offline_llm import OfflineLLM
from convai_lab.testing.dialogue_script import Talk

TEXT = {"type": "string"}


def spec(tool: str, description: str, required: tuple[str, ...] = (), /, **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required or properties)}
    return ToolSpec(name=tool, description=description, parameters=schema)


ORDER_STATUS = spec("order_status", "Look up an order by its number.", order_id=TEXT)
END_CALL = spec("end_call", "End the conversation when the user is done or says goodbye.", ("",), reason=TEXT)
SKIP_TURN = spec("skip_turn", "Say nothing and wait, when the user asks for a moment.", ("",), reason=TEXT)
LANGUAGE = spec("language_detection", "Go on in another language.", ("language",), reason=TEXT, language=TEXT)
TO_NUMBER = spec(
    "transfer_to_number",
    "Transfer the call to a person when a condition holds.\n- +15550100: the caller asks for a person",
    ("transfer_number", "client_message", "agent_message"),
    reason=TEXT,
    transfer_number={"type": "string", "enum": ["+15550100"]},
    client_message=TEXT,
    agent_message=TEXT,
)
TO_AGENT = spec(
    "transfer_to_agent",
    "Hand the conversation to another agent when its condition holds.\n"
    "- agent_number 0: questions about hiring and jobs\n- agent_number 1: invoices and billing questions",
    ("agent_number",),
    reason=TEXT,
    agent_number={"type": "integer"},
)

SAM = """# Personality
You are Sam, a calm support agent.
# Goal
1. Find the order. 2. Say when it arrives.
"""

BOOKSHOP = """# Personality
You are Nora, a friendly and patient assistant for Blue Door Books. You keep answers short.

# Goal
Help callers with their orders.
If the caller asks about gift wrapping, say that gift wrapping costs three euros.

# Guardrails
Never promise refunds.
Do not give legal advice.

# Knowledge
- Standard delivery takes 3 days; express delivery takes one day and costs 9 euros.
- We open at nine and close at six from Monday to Saturday.
Customers can return books within 30 days.

Q: Do you ship abroad?
A: We ship to all of Europe.

**Do you have a shop?**
Yes, at 5 Mill Lane in York.
"""

BISTRO = """You are Luca, the host of Bistro Verde. You take table bookings by phone.
Check that a table is free before you book. Confirm the booking before you make it.
Bistro Verde is open from noon to eleven every day except Monday.
The kitchen has vegan dishes, and dogs are welcome on the terrace.
"""
BOOKING_TOOLS = (
    spec(
        "check_availability",
        "Check whether a table is free.",
        date=TEXT,
        time={"type": "string", "description": "24-hour time, HH:MM"},
        party_size={"type": "integer"},
    ),
    spec(
        "book_table",
        "Book a table.",
        date=TEXT,
        time={"type": "string", "description": "24-hour time, HH:MM"},
        party_size={"type": "integer"},
        name=TEXT,
    ),
    spec("cancel_booking", "Cancel a booking by its reference.", booking_reference=TEXT),
)

INTAKE = """# Personality
You are Ida from the Hill Clinic.
# Goal
1. Ask for the caller's name.
2. Ask for their date of birth and the reason for the call.
3. Say that somebody calls back within a day.
"""


STREAMING = """# Personality
You are a customer service agent named Alex. You are friendly and proactive.
# Goal
1. Greet the caller and ask how you can help.
2. Ask for the e-mail address of the account.
3. Look up the subscription with get_subscription.
"""
STREAMING_TOOLS = (
    spec("get_subscription", "Use this tool to look up a customer's subscription plan by e-mail.", email=TEXT),
    spec("cancel_subscription", "Cancel the customer's subscription.", ("email",), email=TEXT, reason=TEXT),
)
BANK_TOOLS = (
    spec("get_account_balance", "Get the balance of an account.", account_number=TEXT),
    spec("block_card", "Block a lost or stolen card.", last_four_digits=TEXT),
    spec("transfer_money", "Transfer money between accounts.", amount={"type": "number"}, to_account=TEXT),
)
HOME_TOOLS = (
    spec(
        "set_light",
        "Turn a light on or off.",
        room={"type": "string", "enum": ["kitchen", "living_room"]},
        on={"type": "boolean"},
    ),
    spec("play_music", "Play music by artist or genre.", query=TEXT),
)
WEATHER_TOOLS = (spec("get_weather", "Get the current weather for a city.", city=TEXT),)


def shop_answer(name: str, arguments: Mapping[str, Any]) -> Any:
    """What the tools of the shops answer."""
    if name == "order_status":
        if str(arguments.get("order_id")) == "999":
            raise LookupError("order 999 was not found")
        if str(arguments.get("order_id")) == "500":
            raise ValueError("the database is down")
        return {"order_id": arguments.get("order_id"), "status": "shipped", "eta": "tomorrow"}
    if name == "check_availability":
        return {"available": True}
    if name == "get_subscription":
        return {"plan": "Premium", "renews_on": "2026-06-01"}
    if name == "book_table":
        return {"confirmation": "BV-42"}
    return {"ok": True}


AGENTS: dict[str, tuple[str, tuple[ToolSpec, ...]]] = {
    "sam": (SAM, (ORDER_STATUS,)),
    "sam on the phone": (SAM, (ORDER_STATUS, END_CALL, SKIP_TURN, LANGUAGE, TO_NUMBER, TO_AGENT)),
    "bookshop": (BOOKSHOP, (ORDER_STATUS,)),
    "bookshop without tools": (BOOKSHOP, ()),
    "bistro": (BISTRO, BOOKING_TOOLS),
    "intake": (INTAKE, ()),
    "streaming": (STREAMING, STREAMING_TOOLS),
    "bank": ("You are Max, a banking assistant.", BANK_TOOLS),
    "home": ("You control a smart home.", HOME_TOOLS),
    "weather": ("You are a helpful weather assistant.", WEATHER_TOOLS),
    "nobody": ("", ()),
}


@pytest.fixture
def talk_to() -> Callable[..., Talk]:
    """Start a conversation with one of the agents; another prompt, tools or answers replace its own."""

    def start(agent: str, **changes: Any) -> Talk:
        prompt, tools = AGENTS[agent]
        options = {"tools": tools, "answer": shop_answer, **changes}
        return Talk(OfflineLLM(), options.pop("prompt", prompt), **options)

    return start
