"""What the offline model says and does when something is booked, asked for step by step, or handled on the phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convai_lab.testing.dialogue_script import CALLS_NOTHING, Line, Talk, calls, hold, line, never_says, says

DIALOGUES: dict[str, tuple[str, list[Line]]] = {
    "a table is looked up, offered and booked": (
        "bistro",
        [
            line(
                "Is a table free for four on 12 May 2026 at 7 pm?",
                calls("check_availability", date="2026-05-12", time="19:00", party_size=4),
                says("available"),
                says("would you like me to book a table?"),
            ),
            line("Yes please", CALLS_NOTHING, says("name")),
            line("Ada Lovelace", CALLS_NOTHING, says("confirm"), says("2026-05-12"), says("shall i go ahead")),
            line(
                "yes",
                calls("book_table", date="2026-05-12", time="19:00", party_size=4, name="Ada Lovelace"),
                says("BV-42"),
            ),
            line("great, thanks", CALLS_NOTHING),
        ],
    ),
    "what is missing is asked one by one": (
        "bistro",
        [
            line("I'd like to book a table", CALLS_NOTHING, says("date")),
            line("tomorrow", CALLS_NOTHING, says("time")),
            line("half past seven in the evening", CALLS_NOTHING, says("how many people")),
            line("six", CALLS_NOTHING, says("name")),
            line("my name is Grace", CALLS_NOTHING, says("go ahead")),
            line("go ahead", calls("book_table", date="tomorrow", time="19:30", party_size=6, name="Grace")),
        ],
    ),
    "several things are said at once": (
        "bistro",
        [
            line("A table for two on Friday at 8 pm, under the name Turing please", CALLS_NOTHING, says("go ahead")),
            line("correct", calls("book_table", date="Friday", time="20:00", party_size=2, name="Turing")),
        ],
    ),
    "the caller changes a detail before it is done": (
        "bistro",
        [
            line("Book a table for two on Friday at 8 pm for Turing", says("party size 2"), says("go ahead")),
            line("no, make it four people", CALLS_NOTHING, says("party size 4"), says("go ahead")),
            line("yes", calls("book_table", party_size=4)),
        ],
    ),
    "the caller changes their mind": (
        "bistro",
        [
            line("Book a table for two on Friday at 8 pm for Turing", says("go ahead")),
            line("no, never mind", CALLS_NOTHING, says("won't|leave it")),
        ],
    ),
    "a booking is cancelled once": (
        "bistro",
        [
            line("Please cancel my booking BV-42", CALLS_NOTHING, says("cancel a booking"), says("go ahead")),
            line("yes", calls("cancel_booking", booking_reference="BV-42"), says("done")),
            line("cancel booking BV-42", CALLS_NOTHING, says("already done")),
        ],
    ),
    "a change that no tool can make is declined": (
        "bistro",
        [line("Can I move my booking to Saturday?", CALLS_NOTHING, says("can't"), says("colleagues"))],
    ),
    "questions about the place are answered from plain text": (
        "bistro",
        [
            line("Are dogs allowed?", CALLS_NOTHING, says("terrace")),
            line("Do you have vegan food?", says("vegan dishes")),
            line("When are you open?", says("noon to eleven")),
            line("Who are you?", says("I'm Luca, the host of Bistro Verde")),
        ],
    ),
    "a value alone says which tool is meant": (
        "streaming",
        [
            line("Hi Alex", says("I'm Alex, a customer service agent")),
            line("What plan do I have?", CALLS_NOTHING, says("e-mail address")),
            line("ada@example.com", calls("get_subscription", email="ada@example.com"), says("Premium")),
            line("when does it renew?", CALLS_NOTHING, says("renews on 2026-06-01")),
            line(
                "I want to cancel my subscription", calls("cancel_subscription", email="ada@example.com"), says("done")
            ),
        ],
    ),
    "what was said to one tool is not used for another": (
        "bank",
        [
            line("What's my balance?", CALLS_NOTHING, says("account number")),
            line("it's 0012 3456", calls("get_account_balance", account_number="00123456")),
            line("I lost my card", CALLS_NOTHING, says("last four digits")),
            line("9 8 7 6", calls("block_card", last_four_digits="9876")),
            line(
                "transfer 250.50 dollars to account 778899", calls("transfer_money", amount=250.5, to_account="778899")
            ),
        ],
    ),
    "a lamp is switched": (
        "home",
        [
            line("Turn on the light in the kitchen", calls("set_light", room="kitchen", on=True)),
            line("and turn off the living room light", calls("set_light", room="living_room", on=False)),
            line("play some jazz", calls("play_music", query="jazz")),
        ],
    ),
    "the weather goes from place to place": (
        "weather",
        [
            line("What's the weather like in Paris?", calls("get_weather", city="Paris")),
            line("and in new york?", calls("get_weather", city="new york")),
        ],
    ),
    "a goal without tools is worked through": (
        "intake",
        [
            line("Hello", says("Ida")),
            line("I need to see a doctor", CALLS_NOTHING, says("your name")),
            line("Ada Lovelace", says("date of birth")),
            line("10 December 1990", says("reason for the call")),
            line("my knee hurts", says("noted")),
        ],
    ),
    "the call is ended after a goodbye": (
        "sam on the phone",
        [line("That's all, bye!", calls("end_call"), says("goodbye"))],
    ),
    "no more wishes end the call": (
        "sam on the phone",
        [line("thank you", says("else")), line("no thanks", calls("end_call"), says("goodbye"))],
    ),
    "a person is asked for": (
        "sam on the phone",
        [line("I want to talk to a real person", calls("transfer_to_number", transfer_number="+15550100"))],
    ),
    "a person is offered and accepted": (
        "sam on the phone",
        [
            line("Can you change my delivery address?", CALLS_NOTHING, says("put you through")),
            line("yes please", calls("transfer_to_number", transfer_number="+15550100")),
        ],
    ),
    "another desk takes its topic": (
        "sam on the phone",
        [line("I have a question about an invoice", calls("transfer_to_agent", agent_number=1))],
    ),
    "waiting": ("sam on the phone", [line("hold on a second", calls("skip_turn"))]),
    "waiting without the tool": ("sam", [line("one moment please", CALLS_NOTHING, says("time|wait"))]),
    "the language is switched only when that is asked for": (
        "sam on the phone",
        [
            line("Hola, ¿dónde está mi pedido?", never_says("switch"), CALLS_NOTHING),
            line("Can we speak Spanish?", calls("language_detection", language="es"), says("only understand English")),
        ],
    ),
    "silence does not end the call": ("sam on the phone", [line("", CALLS_NOTHING, says("still there"))]),
}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_the_dialogue_goes_as_written(name: str, talk_to: Callable[..., Talk]) -> None:
    agent, lines = DIALOGUES[name]
    assert await hold(talk_to(agent), lines) == ""
