"""Templates make the agents that the vendor's command line makes."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.agents.templates import TEMPLATES, from_template
from convai_lab.agents.wire_format import agent_from_wire, agent_to_wire
from convai_lab.agents.wire_rules import problems_in
from convai_lab.errors import InvalidValueError


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_makes_an_agent_the_platform_takes(template: str) -> None:
    agent = from_template("Ada", template)
    agent.check()
    assert agent.name == "Ada"
    assert "Ada" in agent.prompt
    assert problems_in(agent_to_wire(agent), creating=True) == []
    assert agent_from_wire(agent_to_wire(agent)) == agent
    assert agent.llm is None, "the platform chooses: nobody should need a key to try a template"
    assert from_template("Ada", template, llm="gpt-4o-mini").llm == "gpt-4o-mini"


def test_complete_is_another_name_of_default() -> None:
    assert from_template("Ada", "complete") == from_template("Ada")


def test_the_templates_differ_in_what_their_names_say() -> None:
    assert from_template("A").client_events == ("audio", "interruption")
    assert from_template("A", "text-only").text_only
    assert from_template("A", "text-only").allowed_overrides == ()
    assert from_template("A", "voice-only").extra["platform_settings"]["widget"]["supports_text_only"] is False
    service = from_template("A", "customer-service")
    assert [criterion.id for criterion in service.criteria] == ["helpfulness", "professionalism", "problem_resolution"]
    assert (service.temperature, service.max_duration_secs, service.tags) == (0.1, 1800, ("customer-service",))
    assert agent_to_wire(service)["platform_settings"]["call_limits"] == {"daily_limit": 10_000}
    assistant = from_template("A", "assistant")
    assert (assistant.temperature, assistant.max_tokens, assistant.tags) == (
        0.3,
        1000,
        ("assistant", "general-purpose"),
    )


@pytest.mark.parametrize(
    ("template", "hint"),
    [("minmal", "did you mean minimal"), ("x" * 9999, "known are"), (None, "known are"), ([], "k")],
)
def test_an_unknown_template_brings_suggestions(template: Any, hint: str) -> None:
    with pytest.raises(InvalidValueError, match=hint) as caught:
        from_template("Ada", template)
    assert len(str(caught.value)) < 300
