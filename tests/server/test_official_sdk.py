"""The vendor's own Python package runs on the local platform unchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from elevenlabs import ElevenLabs
from elevenlabs.conversational_ai.conversation import (
    ClientTools,
    Conversation,
    ConversationInitiationData,
    DisconnectionDetails,
)
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import UnprocessableEntityError

from convai_lab.testing.fake_llm import Reply, call

Serve = Callable[..., Any]
WAIT_SECS = 20

TOOL = {
    "type": "client",
    "name": "order_status",
    "description": "Look up an order.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string", "description": "The number of the order."}},
        "required": ["order_id"],
    },
    "expects_response": True,
}


def client_of(served: Any) -> ElevenLabs:
    return ElevenLabs(base_url=served.url, api_key=served.key)


def config(**agent: Any) -> dict[str, Any]:
    return {"agent": agent, "conversation": {"text_only": True}}


class Talk:
    """An official conversation, with what its callbacks heard."""

    def __init__(self, served: Any, agent_id: str, **options: Any) -> None:
        self.said: list[str] = []
        self.parts: list[str] = []
        self.corrections: list[tuple[str, str]] = []
        self.ended: DisconnectionDetails | None = None
        self._heard, self._over = threading.Semaphore(0), threading.Event()
        self.session = Conversation(
            client_of(served),
            agent_id,
            **{"requires_auth": False, **options},
            callback_agent_response=self._hear,
            callback_agent_chat_response_part=lambda text, _: self.parts.append(text),
            callback_agent_response_correction=lambda before, after: self.corrections.append((before, after)),
            callback_disconnect=self._end,
        )

    def _hear(self, text: str) -> None:
        self.said.append(text)
        self._heard.release()

    def _end(self, details: DisconnectionDetails) -> None:
        self.ended = details
        self._over.set()

    def wait_for_answer(self) -> str:
        assert self._heard.acquire(timeout=WAIT_SECS)
        return self.said[-1]

    def wait_for_end(self) -> DisconnectionDetails:
        assert self._over.wait(WAIT_SECS)
        assert self.ended is not None
        return self.ended

    def hang_up(self) -> str:
        self.session.end_session()
        conversation_id = self.session.wait_for_session_end()
        assert conversation_id
        return conversation_id


def test_agents_are_created_listed_changed_and_deleted(served: Serve) -> None:
    agents = client_of(served()).conversational_ai.agents
    ids = [agents.create(name=f"Agent {n}", conversation_config=config(first_message="Hi")).agent_id for n in range(5)]
    got = agents.get(agent_id=ids[0])
    assert got.name == "Agent 0"
    assert got.conversation_config.agent.first_message == "Hi"
    changed = agents.update(agent_id=ids[0], name="Changed", conversation_config={"tts": {"speed": 1.1}})
    assert (changed.name, changed.conversation_config.tts.speed) == ("Changed", 1.1)
    assert changed.conversation_config.agent.first_message == "Hi"
    listed, cursor = [], None
    while True:
        page = agents.list(page_size=2, cursor=cursor)
        listed += [row.agent_id for row in page.agents]
        cursor = page.next_cursor
        if not page.has_more:
            break
    assert listed == ids[::-1]
    copy = agents.duplicate(agent_id=ids[0], name="Copy").agent_id
    assert [row.name for row in agents.list(search="copy").agents] == ["Copy"]
    for agent_id in (*ids, copy):
        agents.delete(agent_id=agent_id)
    assert agents.list().agents == []
    with pytest.raises(ApiError) as gone:
        agents.get(agent_id=ids[0])
    assert gone.value.status_code == 404
    with pytest.raises(UnprocessableEntityError):
        agents.create(conversation_config={"tts": {"speed": 9}})


def test_models_voices_and_the_account_are_readable(served: Serve) -> None:
    client = client_of(served())
    assert "offline" in [llm.llm for llm in client.conversational_ai.llm.list().llms]
    assert client.voices.search(search="George").voices[0].name == "George"
    assert client.user.get().subscription.status == "free"
    assert client.user.subscription.get().tier == "local"
    assert client.models.list()
    with pytest.raises(ApiError, match="WebSocket"):
        client.conversational_ai.conversations.get_webrtc_token(agent_id=_agent(client))


def test_a_wrong_key_is_401(served: Serve) -> None:
    client = ElevenLabs(base_url=served().url, api_key="lab_wrong_key")
    with pytest.raises(ApiError) as refused:
        client.conversational_ai.agents.list()
    assert refused.value.status_code == 401


def _agent(client: ElevenLabs, **more: Any) -> str:
    return client.conversational_ai.agents.create(
        name="Sam", conversation_config=config(first_message="Hi {{name}}!", prompt={"prompt": "Be kind."}), **more
    ).agent_id


def test_a_text_conversation_with_a_client_tool(served: Serve) -> None:
    running = served([call("order_status", order_id="1234"), Reply(["It has ", "shipped."])])
    client = client_of(running)
    prompt = {"prompt": "Help.", "tools": [TOOL]}
    agent_id = client.conversational_ai.agents.create(
        name="Sam", conversation_config=config(first_message="Hi {{name}}!", prompt=prompt)
    ).agent_id
    asked: list[dict[str, Any]] = []
    tools = ClientTools()
    tools.register("order_status", lambda parameters: asked.append(parameters) or "shipped")
    initiation = ConversationInitiationData(dynamic_variables={"name": "Ada"})
    talk = Talk(running, agent_id, client_tools=tools, config=initiation, user_id="ada-1")

    talk.session.start_session()
    assert talk.wait_for_answer() == "Hi Ada!"
    talk.session.send_contextual_update("The user is on the order page.")
    talk.session.register_user_activity()
    talk.session.send_user_message("Where is order 1234?")
    assert talk.wait_for_answer() == "It has shipped."
    conversation_id = talk.hang_up()

    assert asked[0]["order_id"] == "1234"
    assert "".join(talk.parts).endswith("It has shipped.")
    assert any("order page" in message.content for message in running.llm.requests[0].messages)
    record = client.conversational_ai.conversations.get(conversation_id=conversation_id)
    assert [turn.message for turn in record.transcript] == ["Hi Ada!", "Where is order 1234?", "It has shipped."]
    assert record.transcript[2].tool_results[0].result_value == "shipped"
    assert record.metadata.conversation_initiation_source == "python_sdk"
    assert record.user_id == "ada-1"
    listed = client.conversational_ai.conversations.list(agent_id=agent_id).conversations
    assert [row.conversation_id for row in listed] == [conversation_id]
    client.conversational_ai.conversations.feedback.create(conversation_id=conversation_id, feedback="like")
    client.conversational_ai.conversations.delete(conversation_id=conversation_id)
    with pytest.raises(ApiError):
        client.conversational_ai.conversations.get(conversation_id=conversation_id)


def test_an_agent_with_auth_is_reached_by_a_signed_url(served: Serve) -> None:
    running = served(["Hello."])
    agent_id = _agent(client_of(running), platform_settings={"auth": {"enable_auth": True}})
    initiation = ConversationInitiationData(dynamic_variables={"name": "Ada"})
    talk = Talk(running, agent_id, requires_auth=True, config=initiation)
    talk.session.start_session()
    assert talk.wait_for_answer() == "Hi Ada!"
    talk.hang_up()

    without = Talk(running, agent_id, config=initiation)
    without.session.start_session()
    ended = without.wait_for_end()
    without.session.wait_for_session_end()
    assert (ended.reason, ended.close_code) == ("error", 1008)
    assert "signed URL" in (ended.close_reason or "")


def test_a_missing_variable_and_the_agents_goodbye_end_the_session_in_words(served: Serve) -> None:
    running = served([call("end_call", reason="done", message="Goodbye!")])
    client = client_of(running)
    unfilled = Talk(running, _agent(client))
    unfilled.session.start_session()
    ended = unfilled.wait_for_end()
    unfilled.session.wait_for_session_end()
    assert (ended.close_code, "{{name}}" in (ended.close_reason or "")) == (1008, True)

    end_call = {"type": "system", "name": "end_call", "params": {"system_tool_type": "end_call"}}
    agent_id = client.conversational_ai.agents.create(
        conversation_config=config(prompt={"prompt": "Help.", "tools": [end_call]})
    ).agent_id
    talk = Talk(running, agent_id)
    talk.session.start_session()
    while talk.session._ws is None:
        threading.Event().wait(0.01)
    talk.session.send_user_message("Bye")
    assert talk.wait_for_answer() == "Goodbye!"
    assert talk.wait_for_end().reason == "agent"
    talk.session.wait_for_session_end()
