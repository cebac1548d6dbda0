"""A system prompt is sorted into facts, limits and instructions, and answers come from the facts alone."""

from __future__ import annotations

import pytest

from convai_lab.providers.offline.brief import narrowed, read_brief
from convai_lab.providers.offline.retrieval import answer_from, limit_on

PROMPT = """# Personality
You are Sam, a calm and friendly support agent for Acme Books. Calm, warm, brief.

# Goal
1. Find the order. 2. Say when it arrives.
3. If the caller asks about gift wrapping, say that gift wrapping costs 3 euros.
4. If somebody is hurt, tell them to call 112.

# Guardrails
Never promise refunds.
Do not change the customer's address.

# Knowledge
- Standard delivery takes 3 days.
- Express delivery costs 9 euros.
We open at nine, and on Sundays
at eleven.
Customers can return items within 30 days.
Always greet the caller.
The customer must show the receipt.
Q: Do you ship abroad?
A: We ship to all of Europe.
**Do you have a shop?**
Yes, at 5 Main Street.
| Size | Price |
|---|---|
| Small | 5 euros |

## Contact
Write to [help](mailto:help@acme.example) or call `0800 123`.
"""

NAMES = [
    ("You are Sam, a calm support agent.", "Sam", "a support agent"),
    ("You are a helpful assistant.", "", "an assistant"),
    ("You're Ana from Acme. Be kind.", "Ana", ""),
    ("Your name is Zoë.", "Zoë", ""),
    ("You are Max, virtual banking assistant at Northwind.", "Max", "a banking assistant at Northwind"),
    ("Act as Grace Hopper, the receptionist of Hill Clinic.", "Grace Hopper", "the receptionist of Hill Clinic"),
    ("You are Łucja, an experienced nurse who listens.", "Łucja", "a nurse"),
    ("You are now speaking to a customer.", "", ""),
    ("Be brief.", "", ""),
    ("", "", ""),
]


@pytest.mark.parametrize(("prompt", "name", "role"), NAMES, ids=[n[0] for n in NAMES])
def test_the_prompt_says_who_speaks(prompt: str, name: str, role: str) -> None:
    brief = read_brief(prompt)
    assert brief.name == name
    if role:
        assert brief.role == role


def test_instructions_are_no_facts() -> None:
    told = " ".join(fact.text for fact in read_brief(PROMPT).facts)
    for instruction in ("Find the order", "Say when", "Calm, warm", "Never", "You are Sam", "Always greet"):
        assert instruction not in told


ANSWERS = [
    ("How long does delivery take?", "Standard delivery takes 3 days."),
    ("What does express delivery cost?", "Express delivery costs 9 euros."),
    ("when do you open on sundays", "We open at nine, and on Sundays at eleven."),
    ("can I return something", "You can return items within 30 days."),
    ("do I need the receipt", "You must show the receipt."),
    ("Do you deliver to other countries?", "We ship to all of Europe."),
    ("where is your shop", "Yes, at 5 Main Street."),
    ("how much is gift wrapping", "Gift wrapping costs 3 euros."),
    ("somebody is hurt", "Please call 112."),
    ("how much is a small one", "Small: 5 euros."),
    ("What is the capital of France?", None),
    ("can I change the opening hours", None),
    ("who wrote Hamlet", None),
    ("", None),
    ("the of and", None),
]


@pytest.mark.parametrize(("question", "expected"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_questions_are_answered_from_the_facts_or_not_at_all(question: str, expected: str | None) -> None:
    found = answer_from(PROMPT, question)
    assert (found.text if found else None) == expected


def test_what_is_forbidden_is_known_in_the_agents_words() -> None:
    assert limit_on(PROMPT, "I want a refund") == "promise refunds"
    assert limit_on(PROMPT, "please change my address") == "change your address"
    assert limit_on(PROMPT, "when do you open") is None


def test_a_confirmation_is_wanted_only_when_the_prompt_says_so() -> None:
    assert read_brief("Confirm the details before you book.").confirms_first
    assert read_brief("Before you cancel anything, repeat the number back to the caller.").confirms_first
    assert not read_brief("Confirm that you heard the caller.").confirms_first


def test_things_to_ask_are_found_in_the_goal() -> None:
    brief = read_brief("# Goal\nAsk for the caller's name and phone number, then collect their address.")
    assert brief.asks == ["your name", "your phone number", "your address"]


@pytest.mark.parametrize(
    "heading", ["# Knowledge", "## FAQ", "Knowledge:", "**Knowledge**", "<knowledge>", "KNOWLEDGE:"]
)
def test_headings_of_every_kind_are_understood(heading: str) -> None:
    assert [f.text for f in read_brief(f"{heading}\nTea is served at four").facts] == ["Tea is served at four."]


def test_a_long_prompt_keeps_its_beginning_and_the_lines_that_matter() -> None:
    prompt = (
        "You are Sam.\n"
        + "Filler without meaning.\n" * 20_000
        + "Q: Is there tea?\nA: Yes, at four.\n"
        + "More.\n" * 9000
    )
    short = narrowed(prompt, frozenset({"tea"}))
    assert len(short) < 40_000
    assert short.startswith("You are Sam.")
    assert "Yes, at four." in short
    found = answer_from(prompt, "Do you have tea?")
    assert found is not None
    assert found.text == "Yes, at four."
