"""Our client beside the vendor's own Python package, against one recording platform: the same requests."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from convai_lab.agents.agent import Agent
from convai_lab.agents.wire_rules import with_defaults
from convai_lab.workspace.connect import connect
from convai_lab.workspace.workspace import Workspace

KEY = "sk_recorded_0123456789abcdef"
OURS_ALONE = frozenset({"source", "version"})
"""Which client is speaking: each says its own name."""


@pytest.fixture
def ours(recording: Any, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    recording.is_ours = False
    monkeypatch.setenv("ELEVENLABS_BASE_URL", recording.url)
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    return connect("elevenlabs")


@pytest.fixture
def theirs(recording: Any) -> Any:
    elevenlabs = pytest.importorskip("elevenlabs")
    return elevenlabs.ElevenLabs(base_url=recording.url, api_key=KEY)


def asked_by(recording: Any, action: Any) -> list[Any]:
    recording.asked.clear()
    action()
    return list(recording.asked)


def shape(asked: Any) -> tuple[Any, ...]:
    """Return what must be equal: method, path, query and key."""
    query = {name: value for name, value in asked.query.items() if name not in OURS_ALONE}
    return (asked.method, asked.path, query, asked.headers.get("xi-api-key"))


def stored(body: Any) -> Any:
    """Return a body as the platform stores it: with every default in its place."""
    return with_defaults(body)


def test_creating_asks_for_the_same(ours: Workspace, theirs: Any, recording: Any) -> None:
    config = {
        "agent": {
            "first_message": "Hi!",
            "prompt": {"prompt": "You are Sam.", "llm": "gpt-4o-mini", "temperature": 0.3},
        },
        "tts": {"voice_id": "JBFqnCBsd6RMkjVDRZzb"},
    }
    agent = Agent(
        name="Support", prompt="You are Sam.", first_message="Hi!", llm="gpt-4o-mini", temperature=0.3, voice="George"
    )
    [official] = asked_by(
        recording, lambda: theirs.conversational_ai.agents.create(name="Support", conversation_config=config)
    )
    mine = asked_by(recording, lambda: ours.agents.create(agent))[0]
    assert shape(mine) == shape(official)
    assert differences(mine.body, official.body) == {}
    assert mine.headers["content-type"] == official.headers["content-type"]


OURS_ON_PURPOSE = frozenset(
    {
        ".conversation_config.conversation.client_events",
        ".platform_settings.overrides.conversation_config_override.conversation.text_only",
    }
)
"""Agents of ours ask for the events of tools too, and may always be spoken to in text."""


def differences(one: Any, other: Any) -> dict[str, Any]:
    """Return the leaves that differ, by path, once both are stored, except those we send on purpose."""
    flat_one, flat_other = dict(leaves(stored(one))), dict(leaves(stored(other)))
    names = (flat_one.keys() | flat_other.keys()) - OURS_ON_PURPOSE
    return {
        name: (flat_one.get(name), flat_other.get(name)) for name in names if flat_one.get(name) != flat_other.get(name)
    }


def leaves(value: Any, path: str = "") -> Any:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    else:
        yield path, value


def test_reading_listing_and_deleting_ask_for_the_same(ours: Workspace, theirs: Any, recording: Any) -> None:
    first = ours.agents.create(name="One").id
    second = ours.agents.create(name="Two").id
    agents = theirs.conversational_ai.agents
    pairs = [
        (lambda: agents.get(first), lambda: ours.agents.get(first or "")),
        (lambda: agents.list(page_size=100), lambda: len(ours.agents.list())),
        (lambda: agents.list(page_size=100, search="On"), lambda: len(ours.agents.list(search="On"))),
        (lambda: agents.delete(first), lambda: ours.agents.delete(second or "")),
    ]
    for official, mine in pairs:
        [one], [other] = asked_by(recording, official), asked_by(recording, mine)
        assert shape(one) == shape(other) or one.method == "DELETE"
    deleted = [asked for asked in recording.asked if asked.method == "DELETE"]
    assert deleted[0].path == f"/v1/convai/agents/{second}"
    assert deleted[0].headers["xi-api-key"] == KEY


def test_changing_asks_for_the_same(ours: Workspace, theirs: Any, recording: Any) -> None:
    agent = ours.agents.create(Agent(name="Support", prompt="You are Sam.", llm="gpt-4o-mini"))
    config = {"agent": {"prompt": {"prompt": "You are Max.", "llm": "gpt-4o-mini", "temperature": 0.9}}}
    [official] = asked_by(
        recording,
        lambda: theirs.conversational_ai.agents.update(
            agent.id, name="Support", conversation_config=config, version_description="warmer"
        ),
    )
    mine = asked_by(
        recording,
        lambda: ours.agents.update(agent.with_changes(prompt="You are Max.", temperature=0.8), description="warmer"),
    )[-1]
    assert shape(mine) == shape(official)
    assert mine.body["version_description"] == official.body["version_description"]
    sent = mine.body["conversation_config"]["agent"]["prompt"]
    assert (sent["prompt"], sent["temperature"]) == ("You are Max.", 0.8)
    for body in (mine.body, official.body):
        del body["version_description"]
    official.body["conversation_config"]["agent"]["prompt"]["temperature"] = 0.8
    assert differences(mine.body, official.body) == {}


def test_a_signed_url_is_asked_for_the_same(ours: Workspace, theirs: Any, recording: Any) -> None:
    agent = ours.agents.create(name="Support")
    official = asked_by(recording, lambda: theirs.conversational_ai.conversations.get_signed_url(agent_id=agent.id))
    mine = asked_by(recording, lambda: ours.conversational_ai.conversations.get_signed_url(agent_id=agent.id))
    assert [shape(asked) for asked in mine] == [shape(asked) for asked in official]


def test_a_text_conversation_opens_in_the_same_way(ours: Workspace, theirs: Any, recording: Any) -> None:
    from elevenlabs.conversational_ai.conversation import Conversation, ConversationInitiationData

    agent = ours.agents.create(name="Support")
    replied = threading.Event()
    conversation = Conversation(
        theirs,
        agent.id or "",
        user_id="u1",
        requires_auth=True,
        config=ConversationInitiationData(dynamic_variables={"name": "Ada"}),
        callback_agent_response=lambda _: replied.set(),
    )
    recording.asked.clear()
    started = threading.Event()
    script = recording.script

    async def telling(talk: Any) -> None:
        await talk.metadata()
        await talk.frame("conversation_initiation_client_data")
        started.set()
        await talk.reply(await talk.message())
        await talk.frame("never")

    recording.script = telling
    conversation.start_session()
    assert started.wait(10)
    conversation.send_user_message("Hello")
    assert replied.wait(10)
    conversation.end_session()
    conversation.wait_for_session_end()
    official = [asked for asked in recording.asked if "/conversation" in asked.path]
    recording.script = script
    mine = asked_by(recording, lambda: ours.chat(agent, "Hello", variables={"name": "Ada"}, user_id="u1"))
    opening = [
        asked for asked in mine if asked.path.startswith("/v1/convai/conversation") and "conv_" not in asked.path
    ]
    assert [shape(asked) for asked in opening] == [shape(asked) for asked in official]
    assert sorted(opening[1].query) == sorted(official[1].query)
    theirs_said, ours_said = (talk.frames for talk in recording.talks[-2:])
    for frames in (theirs_said, ours_said):
        frames[0].pop("source_info")
    assert ours_said[:2] == theirs_said[:2]
