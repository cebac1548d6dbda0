"""Arguments are found in the caller's words, by type, name, format and enum."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.providers.offline.schemas import parameters_of
from convai_lab.providers.offline.slots import Heard, codes_for, fill

TEXT = {"type": "string"}
CODE = {"order_id": TEXT}
TABLE = {
    "name": TEXT,
    "date": TEXT,
    "time": {"type": "string", "description": "24-hour HH:MM"},
    "party_size": {"type": "integer"},
}
PIZZA = {
    "size": {"enum": ["small", "large"]},
    "toppings": {"type": "array", "items": {"enum": ["cheese", "ham", "olives"]}},
    "gift_wrap": {"type": "boolean"},
}

SAID: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    # codes
    (CODE, "Where is my order 1234?", {"order_id": "1234"}),
    (CODE, "my order number is ORD-99-X.", {"order_id": "ORD-99-X"}),
    (CODE, "it's #77, please", {"order_id": "77"}),
    (CODE, "one two three four", {"order_id": "1234"}),
    (CODE, "double five three two", {"order_id": "5532"}),
    (CODE, "order twelve thirty four", {"order_id": "1234"}),
    (CODE, "not 1234 but 4321", {"order_id": "4321"}),
    (CODE, "1243, sorry, 1234", {"order_id": "1234"}),
    (CODE, "order number 0012 3456", {"order_id": "00123456"}),
    (CODE, "I ordered 3 days ago for 25 euros", {}),
    (CODE, "it should come at 7 pm on 12 May 2026", {}),
    ({"order_id": {"type": "integer"}}, "order 1234", {"order_id": 1234}),
    ({"order_id": {"type": "string", "pattern": "^[A-Z]{2}\\d{4}$"}}, "is it 12 or AB1234", {"order_id": "AB1234"}),
    ({"order_id": TEXT, "customer_id": TEXT}, "order 77123 of customer 99", {"order_id": "77123", "customer_id": "99"}),
    # bookings
    (
        TABLE,
        "A table for four tomorrow at 7 pm, my name is Ada Lovelace",
        {"name": "Ada Lovelace", "date": "tomorrow", "time": "19:00", "party_size": 4},
    ),
    (
        TABLE,
        "for two on 12 May 2026 at half past seven in the evening under Smith",
        {"name": "Smith", "date": "2026-05-12", "time": "19:30", "party_size": 2},
    ),
    (TABLE, "the fifth of june at 19:30 for 6 people", {"date": "fifth of june", "time": "19:30", "party_size": 6}),
    (TABLE, "Saturday at eight, we are five", {"date": "Saturday", "time": "eight", "party_size": 5}),
    (TABLE, "may 5th 2026, noon, twenty five people", {"date": "2026-05-05", "time": "12:00", "party_size": 25}),
    (TABLE, "05/06/2026 at 7:30 pm, just me", {"date": "05/06/2026", "time": "19:30", "party_size": 1}),
    (TABLE, "31 February 2026", {"date": "2026-02-31"}),
    (TABLE, "I'm not sure", {}),
    # other kinds
    (PIZZA, "a large one with olives and cheese, not ham, without gift wrap",
     {"size": "large", "toppings": ["olives", "cheese"], "gift_wrap": False}),
    (PIZZA, "not large, small please, and gift wrap it", {"size": "small", "gift_wrap": True}),
    ({"email": TEXT}, "ada@example.com", {"email": "ada@example.com"}),
    ({"email": TEXT}, "ada dot lovelace at example dot com", {"email": "ada.lovelace@example.com"}),
    ({"phone": TEXT}, "call +44 20 7946 0958", {"phone": "+44 20 7946 0958"}),
    ({"phone": TEXT, "order_id": TEXT}, "order 1234, phone 0207 9460 958",
     {"phone": "0207 9460 958", "order_id": "1234"}),
    ({"city": TEXT}, "what's the weather in new york today?", {"city": "new york"}),
    ({"origin": TEXT, "destination": TEXT}, "from Berlin to Hamburg", {"origin": "Berlin", "destination": "Hamburg"}),
    ({"new_address": TEXT}, "to 5 Main Street, Springfield please", {"new_address": "5 Main Street, Springfield"}),
    ({"on": {"type": "boolean"}}, "switch the lamp off", {"on": False}),
    ({"amount": {"type": "number"}, "to_account": TEXT}, "250.50 dollars to account 778899",
     {"amount": 250.5, "to_account": "778899"}),
    ({"reason": TEXT}, "cancel it because it is too late", {"reason": "it is too late"}),
    ({"colour": {"type": "string", "description": "e.g. red, dark green or blue"}}, "the dark green one",
     {"colour": "dark green"}),
    ({"product_name": TEXT}, "please order some blue socks for me", {"product_name": "blue socks"}),
    ({"start": {"type": "string", "format": "date-time"}}, "tomorrow at 7 pm", {"start": "tomorrow at 7 pm"}),
    ({"guest": {"type": "object", "properties": {"name": TEXT}}}, "my name is Ada", {"guest": {"name": "Ada"}}),
    ({"rating": {"enum": [1, 2, 3]}}, "I give it three", {"rating": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("properties", "text", "expected"), SAID, ids=[text for _, text, _ in SAID])
def test_arguments_are_found_in_words(properties: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    parameters = parameters_of({"type": "object", "properties": properties, "required": list(properties)})
    assert fill(parameters, [Heard(text)], tool_stems=["order"]) == expected


ASKED = [
    ("name", TEXT, "Ada", "Ada"),
    ("name", TEXT, "ada lovelace", "Ada Lovelace"),
    ("name", TEXT, "what for?", None),
    ("order_id", TEXT, "77 12", "7712"),
    ("order_id", TEXT, "um, it's 7 please", "7"),
    ("order_id", TEXT, "XKQZPL", "XKQZPL"),
    ("gift_wrap", {"type": "boolean"}, "yes please", True),
    ("gift_wrap", {"type": "boolean"}, "nope", False),
    ("party_size", {"type": "integer"}, "six", 6),
    ("colour", TEXT, "well, the blue one please", "blue one"),
    ("note", TEXT, "please ring twice", "please ring twice"),
    ("city", TEXT, "Paris", "Paris"),
    ("tags", {"type": "array", "items": TEXT}, "red, green and blue", ["red", "green", "blue"]),
    ("order_id", TEXT, "I don't know", None),
]


@pytest.mark.parametrize(("name", "schema", "text", "expected"), ASKED, ids=[f"{a[0]}: {a[2]}" for a in ASKED])
def test_a_bare_answer_is_understood_after_a_question(name: str, schema: Any, text: str, expected: Any) -> None:
    parameters = parameters_of({"properties": {name: schema}, "required": [name]})
    assert fill(parameters, [Heard(text, asked=name)]).get(name) == expected


def test_the_newest_words_win() -> None:
    parameters = parameters_of({"properties": TABLE})
    heard = [Heard("no, for five people"), Heard("a table for four tomorrow")]
    assert fill(parameters, heard) == {"date": "tomorrow", "party_size": 5}


def test_every_code_of_a_sentence_is_found_once() -> None:
    (parameter,) = parameters_of({"properties": CODE})
    assert codes_for(parameter, "orders A-12, 1234 and 1234") == ["A-12", "1234"]
