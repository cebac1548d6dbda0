"""The card says who an agent is and what changed, in words, without scripts, whatever the text is."""

from __future__ import annotations

import re

import pytest

from convai_lab.agents.agent import Agent, Knowledge
from convai_lab.agents.card import agent_card_html, agent_card_text
from convai_lab.agents.tools import ClientTool, WebhookTool, tool

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' & {name} {0} {{name}}"


@tool
def order_status(order_id: str) -> str:
    """Look up an order."""
    return order_id


SAM = Agent(
    name="Support",
    prompt="# Who\nYou are Sam.\n# Goal\nHelp {{name}}.",
    first_message="Hi {{name}} of {{city}}!",
    llm="offline",
    voice="George",
    temperature=0.3,
    tools=[order_status, "end_call", WebhookTool(name="weather", url="https://x"), ClientTool(name="elsewhere")],
    variables={"city": "Rome"},
).with_changes(version=3, id="agent_1")


def _words(html: str) -> str:
    return re.sub(r"<[^>]*>", " ", html)


def test_the_card_names_what_matters() -> None:
    words = _words(agent_card_html(SAM))
    for part in ("Support", "version 3", "George", "en", "temperature 0.3", "order_status(order_id)", "end_call"):
        assert part in words
    assert "offline: not a language model" in words
    assert "name (to be given), city = Rome" in words
    assert "4 lines" in words
    assert "<details" in agent_card_html(SAM)


def test_the_offline_badge_is_for_the_offline_model_alone() -> None:
    assert "not a language model" not in agent_card_html(SAM.with_changes(llm="gpt-4o-mini"))
    assert "not a language model" not in agent_card_html(SAM.with_changes(llm=None))
    assert "platform&#39;s default model" in agent_card_html(SAM.with_changes(llm=None))


def test_changes_are_told_line_by_line_with_marks() -> None:
    after = SAM.with_changes(
        prompt=SAM.prompt.replace("Sam", "Ada"),
        temperature=0.9,
        tools=[order_status, "skip_turn"],
        turn={"eagerness": "eager"},
        variables={},
    )
    words = _words(agent_card_html(after, diff=after.diff(SAM)))
    assert "- You are Sam." in words
    assert "+ You are Ada." in words
    assert re.search(r"temperature\s+was\s+0.3\s+now\s+0.9", words)
    assert re.search(r"tools.skip_turn\s+added", words)
    assert re.search(r"tools.weather\s+removed\s+GET https://x", words)
    assert re.search(r"turn.eagerness\s+was\s+normal\s+now\s+eager", words)
    assert re.search(r"variables.city\s+removed\s+Rome", words)
    text = agent_card_text(after, diff=after.diff(SAM))
    assert "      - You are Sam." in text
    assert "    temperature: 0.3 -> 0.9" in text


def test_no_changes_are_said_to_be_none() -> None:
    assert "No changes" in agent_card_html(SAM, diff=[])
    assert "No changes" in agent_card_text(SAM, diff=[])
    assert "No changes" not in agent_card_html(SAM)


def test_warnings_are_words() -> None:
    assert "Warning: no key" in _words(agent_card_html(SAM, warnings=["no key"])).replace("  ", " ")
    assert "  Warning: no key" in agent_card_text(SAM, warnings=["no key"])


def test_hostile_text_stays_text_everywhere() -> None:
    agent = Agent(
        name=EVIL[:200],
        prompt=EVIL,
        first_message=EVIL,
        llm=EVIL,
        tools=[ClientTool(name=EVIL[:60], description=EVIL, parameters={"properties": {EVIL: {}}})],
        knowledge=[Knowledge(name=EVIL, text=EVIL)],
        variables={EVIL: EVIL},
        tags=[EVIL],
    )
    html = agent_card_html(agent, diff=agent.diff(SAM), warnings=[EVIL])
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"<[a-z]+[^>]*\son\w+=", html)


@pytest.mark.parametrize("prompt", ["x" * 1_900_000, "line\n" * 300_000])
def test_a_huge_prompt_makes_a_small_card(prompt: str) -> None:
    agent = Agent(prompt=prompt)
    html = agent_card_html(agent, diff=agent.diff(Agent(prompt="a\nb")))
    assert len(html) < 100_000
    assert "more characters" in html
    assert len(agent_card_text(agent, diff=agent.diff(Agent(prompt="a\nb")))) < 20_000


def test_many_tools_and_many_changes_are_cut_off() -> None:
    agent = Agent(tools=[ClientTool(name=f"tool_{i}") for i in range(200)])
    html = agent_card_html(agent, diff=agent.diff(Agent()))
    assert "and 170 more" in html
    assert "and 160 more changes" in html
