"""Blocks written for the vendor's older Python package run unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from convai_lab.errors import InvalidValueError, NotFoundError, PlatformError
from convai_lab.workspace.conversational_ai import Answer, SignedUrl
from convai_lab.workspace.workspace import Workspace


def test_a_quick_start_with_a_prompt_runs(ws: Workspace, recording: Any) -> None:
    client = ws
    agent = client.conversational_ai.agents.create(
        name="Customer Support Agent",
        prompt={
            "prompt": "You are a helpful customer support agent.",
            "llm": "gpt-4o-mini",
            "temperature": 0.7,
        },
    )
    assert agent.agent_id in recording.agents
    sent = recording.asked[-1].body
    assert "prompt" not in sent
    assert sent["conversation_config"]["agent"]["prompt"]["llm"] == "gpt-4o-mini"
    assert sent["name"] == "Customer Support Agent"


def test_an_agent_is_created_from_a_configuration_listed_changed_and_deleted(ws: Workspace, recording: Any) -> None:
    client = ws
    agent = client.conversational_ai.agents.create(
        name="Support",
        conversation_config={
            "agent": {"prompt": {"prompt": "You are Sam."}, "first_message": "Hi!", "language": "en"},
            "tts": {"voice_id": "JBFqnCBsd6RMkjVDRZzb"},
            "turn": {"mode": "server_vad"},
        },
        enable_versioning=True,
        request_options={"timeout_in_seconds": 5},
    )
    assert recording.asked[-1].query == {"enable_versioning": "true"}
    assert "request_options" not in recording.asked[-1].body
    agents = client.conversational_ai.agents.list(page_size=10)
    assert [row.name for row in agents.agents] == ["Support"]
    assert agents.has_more is False
    details = client.conversational_ai.agents.get(agent_id=agent.agent_id)
    assert details.conversation_config.agent.first_message == "Hi!"
    changed = client.conversational_ai.agents.update(agent_id=agent.agent_id, name="New name")
    assert changed.name == "New name"
    client.conversational_ai.agents.delete(agent_id=agent.agent_id)
    with pytest.raises(NotFoundError):
        client.conversational_ai.agents.get(agent.agent_id)


def test_a_signed_url_is_a_text_and_an_answer_at_once(ws: Workspace, recording: Any) -> None:
    agent = ws.conversational_ai.agents.create(name="Support")
    signed = ws.conversational_ai.conversations.get_signed_url(agent_id=agent.agent_id)
    assert signed.signed_url == signed
    assert signed.startswith("ws://127.0.0.1")
    assert isinstance(signed, SignedUrl)


def test_a_phone_call_is_asked_for(ws: Workspace, recording: Any) -> None:
    call = ws.conversational_ai.twilio.outbound_call(
        agent_id="agent_1",
        agent_phone_number_id="phnum_1",
        to_number="+31600000000",
        conversation_initiation_client_data={"dynamic_variables": {"name": "Ada"}},
    )
    assert (call.success, call.call_sid, call.callSid, call.conversation_id) == (True, "CA1", "CA1", "conv_1")
    assert recording.asked[-1].path == "/v1/convai/twilio/outbound-call"
    assert recording.asked[-1].body == {
        "agent_id": "agent_1",
        "agent_phone_number_id": "phnum_1",
        "to_number": "+31600000000",
        "conversation_initiation_client_data": {"dynamic_variables": {"name": "Ada"}},
    }


def test_conversations_are_listed_read_and_deleted(ws: Workspace, recording: Any) -> None:
    conversation_id = recording.new_conversation("agent_1")
    listed = ws.conversational_ai.conversations.list(agent_id="agent_1")
    assert listed.conversations[0].conversation_id == conversation_id
    assert ws.conversational_ai.conversations.get(conversation_id).metadata.call_duration_secs == 3
    ws.conversational_ai.conversations.delete(conversation_id=conversation_id)
    assert recording.conversations == {}


def test_the_packages_own_models_are_accepted(ws: Workspace, recording: Any) -> None:
    from elevenlabs.types import AgentConfig, ConversationalConfig, PromptAgentApiModelOutput

    config = ConversationalConfig(agent=AgentConfig(prompt=PromptAgentApiModelOutput(prompt="You are Sam.")))
    agent = ws.conversational_ai.agents.create(name="Support", conversation_config=config)
    stored = recording.agents[agent.agent_id]["conversation_config"]["agent"]["prompt"]
    assert stored["prompt"] == "You are Sam."


def test_an_answer_names_what_it_has_when_it_lacks_a_field() -> None:
    answer = Answer({"agent_id": "a", "inner": {"b": [1, {"c": 2}]}})
    assert answer.inner.b[1].c == 2
    assert answer["agent_id"] == "a"
    assert answer.model_dump() == answer.dict() == {"agent_id": "a", "inner": {"b": [1, {"c": 2}]}}
    with pytest.raises(AttributeError, match="no 'nope'; it has agent_id, inner"):
        answer.nope  # noqa: B018


@pytest.mark.parametrize("value", [object(), {"a": object()}, [{1, 2}], b"bytes"])
def test_what_is_no_json_is_refused_with_its_place(value: Any, ws: Workspace, recording: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"tags.*cannot be sent as JSON"):
        ws.conversational_ai.agents.create(name="Support", tags=value)
    assert recording.asked == []


@pytest.mark.parametrize("agent_id", ["", "..", "a/b", "a?b", "x" * 500])
def test_what_is_no_id_is_refused(agent_id: str, ws: Workspace, recording: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"agent_id: .* is no id"):
        ws.conversational_ai.agents.get(agent_id)
    assert recording.asked == []


def test_an_answer_without_a_signed_url_is_an_error(ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    recording.answers.append(JSONResponse({"url": "x"}))
    with pytest.raises(PlatformError, match="without a signed URL"):
        ws.conversational_ai.conversations.get_signed_url(agent_id="agent_1")
