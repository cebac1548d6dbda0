"""Hold a text conversation over a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from convai_lab.conversations.conversation import Conversation
from convai_lab.errors import (
    InvalidValueError,
    MissingVariableError,
    NotSupportedError,
    PlatformError,
)
from convai_lab.workspace.chat import partial_conversation
from convai_lab.workspace.session import AgentText, AgentTurn, Ended, Started, UserTurn
from convai_lab.workspace.workspace import Workspace

SECRET = "key-of-the-recording-platform-0123456789"


@pytest.fixture
def agent(ws: Workspace) -> Any:
    return ws.agents.create(name="Support", prompt="You are Sam.")


def test_a_chat_is_told_as_it_happens_and_returned_as_it_was_recorded(agent: Any, ws: Workspace) -> None:
    events: list[Any] = []
    threads = set()

    def follow(event: Any) -> None:
        threads.add(threading.current_thread())
        events.append(event)

    conversation = ws.chat("support", ["one", "two"], on_event=follow)
    assert [(turn.role, turn.text) for turn in conversation] == [
        ("user", "one"),
        ("agent", "You said: one"),
        ("user", "two"),
        ("agent", "You said: two"),
    ]
    assert threads == {threading.current_thread()}
    assert [event for event in events if not isinstance(event, AgentText)] == [
        Started(conversation.id),
        UserTurn("one"),
        AgentTurn("You said: one"),
        UserTurn("two"),
        AgentTurn("You said: two"),
        Ended("user"),
    ]
    assert "".join(e.text for e in events if isinstance(e, AgentText)) == "You said: one You said: two "


def test_the_first_message_comes_before_the_first_user_turn(ws: Workspace, recording: Any) -> None:
    recording.first_message = "Welcome!"
    ws.agents.create(name="Support", first_message="Welcome!")
    conversation = ws.chat("support", "one")
    assert [turn.text for turn in conversation] == ["Welcome!", "one", "You said: one"]


def test_the_signed_url_is_asked_for_first_and_our_platform_gets_the_key_as_a_header(
    agent: Any, ws: Workspace, recording: Any
) -> None:
    ws.chat(agent, "one", variables={"name": "Ada", "n": 3, "vip": True}, user_id="u1")
    signed, socket = recording.asked[-3:-1]
    assert (signed.path, signed.query) == ("/v1/convai/conversation/get-signed-url", {"agent_id": agent.id})
    assert socket.path == "/v1/convai/conversation"
    assert socket.query["conversation_signature"] == "sig"
    assert socket.headers["xi-api-key"] == SECRET
    assert SECRET not in str(socket.query)
    first = recording.talks[0].frames[0]
    assert first["type"] == "conversation_initiation_client_data"
    assert first["dynamic_variables"] == {"name": "Ada", "n": 3, "vip": True}
    assert first["user_id"] == "u1"


def test_the_cloud_socket_never_gets_the_key(cloud: Workspace, recording: Any) -> None:
    cloud.agents.create(name="Support")
    cloud.chat("support", "one")
    socket = next(asked for asked in recording.asked if asked.method == "WS")
    assert SECRET not in json.dumps([socket.headers, socket.query])


def test_a_signed_url_of_another_host_never_gets_the_key(agent: Any, ws: Workspace, recording: Any) -> None:
    recording.signed_url = recording.url.replace("http://127.0.0.1", "ws://localhost") + "/v1/convai/conversation?a=b"
    ws.chat(agent, "one")
    socket = next(asked for asked in recording.asked if asked.method == "WS")
    assert "xi-api-key" not in socket.headers


@pytest.mark.parametrize("url", [None, 5, "", "http://127.0.0.1/x", "file:///etc/passwd", "wss://", "ws://[", {}])
def test_a_signed_url_that_is_none_is_refused(url: Any, agent: Any, ws: Workspace, recording: Any) -> None:
    from starlette.responses import JSONResponse

    recording.answers = [recording.answer, JSONResponse({"signed_url": url})]
    recording.answers[0] = JSONResponse(recording.agents[agent.id])
    with pytest.raises(PlatformError, match="no websocket URL"):
        ws.chat(agent, "one")


def test_a_conversation_goes_on_where_it_was_on_our_platform(agent: Any, ws: Workspace, recording: Any) -> None:
    first = ws.chat(agent, "one")
    second = ws.chat(agent, "two", continue_from=first)
    assert second.id == first.id
    assert len(second) == 4
    assert recording.asked[-2].query["continue"] == first.id


def test_on_the_cloud_a_new_conversation_is_told_the_transcript_of_the_earlier(
    cloud: Workspace, recording: Any
) -> None:
    cloud.agents.create(name="Support")
    events: list[Any] = []
    first = cloud.chat("support", "my order is 1234")
    second = cloud.chat("support", "two", continue_from=first, on_event=events.append)
    assert second.id != first.id
    assert second.parent_id == first.id
    assert events[0] == Started(second.id, f"a new conversation that was told the transcript of {first.id}")
    told = recording.talks[1].frames[1]
    assert told["type"] == "contextual_update"
    assert "my order is 1234" in told["text"]
    assert "continue" not in recording.asked[-2].query


def test_undo_takes_back_the_last_exchange_and_the_cloud_cannot(agent: Any, ws: Workspace, recording: Any) -> None:
    conversation = ws.chat(agent, ["one", "two"])
    assert [turn.text for turn in ws.undo(conversation)] == ["one", "You said: one"]
    assert len(asyncio.run(ws.aundo(conversation.id))) == 0


def test_the_cloud_cannot_undo(cloud: Workspace) -> None:
    with pytest.raises(NotSupportedError, match="cannot take back what was said"):
        cloud.undo("conv_1")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("", r"messages\[0\]: is empty"),
        (["one", " "], r"messages\[1\]: is empty"),
        (["one", 2], r"messages\[1\]: expected a text, got int"),
        (None, "messages: give a text"),
        (5, "messages: give a text"),
        (b"one", "messages: give a text"),
        ({"a": 1}, "messages: give a text"),
    ],
)
def test_wrong_messages_are_named_before_anything_is_sent(
    messages: Any, words: str, ws: Workspace, recording: Any
) -> None:
    with pytest.raises(InvalidValueError, match=words):
        ws.chat("support", messages)
    assert recording.asked == []


@pytest.mark.parametrize("variables", [[], "x", {"a": None}, {"a": [1]}, {5: "x"}, {"": "x"}, {"a": float("nan")}])
def test_wrong_variables_are_named(variables: Any, agent: Any, ws: Workspace, recording: Any) -> None:
    with pytest.raises(InvalidValueError, match="variables"):
        ws.chat("support", "one", variables=variables)
    assert recording.talks == []


def test_an_interrupt_closes_the_socket_keeps_the_conversation_and_is_raised_again(
    agent: Any, ws: Workspace, recording: Any
) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, AgentText):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        ws.chat(agent, "one", on_event=stop)
    partial = partial_conversation(raised.value)
    assert isinstance(partial, Conversation)
    assert partial.id == recording.talks[0].conversation_id
    assert partial.turns[0].text == "one"
    assert ws.chat(agent, "again").turns[-1].text == "You said: again"


def test_an_error_in_a_callback_is_raised_as_it_is(agent: Any, ws: Workspace) -> None:
    def fail(event: Any) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        ws.chat(agent, "one", on_event=fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        asyncio.run(ws.achat(agent, "one", on_event=fail))


def test_an_awaited_chat_tells_its_events_on_the_loop_that_awaits(agent: Any, ws: Workspace) -> None:
    events: list[Any] = []

    async def journey() -> Conversation:
        loop = asyncio.get_running_loop()

        def follow(event: Any) -> None:
            assert asyncio.get_running_loop() is loop
            events.append(event)

        return await ws.achat("support", ["one"], on_event=follow)

    conversation = asyncio.run(journey())
    assert conversation.turns[-1].text == "You said: one"
    assert events[0] == Started(conversation.id)
    assert events[-1] == Ended("user")


def test_many_chats_go_on_at_once(agent: Any, ws: Workspace) -> None:
    async def journey() -> list[Conversation]:
        return await asyncio.gather(*(ws.achat(agent, f"message {n}") for n in range(20)))

    said = [conversation.turns[-1].text for conversation in asyncio.run(journey())]
    assert said == [f"You said: message {n}" for n in range(20)]


def test_a_chat_works_while_an_event_loop_runs_on_this_thread(agent: Any, ws: Workspace) -> None:
    async def cell() -> Conversation:
        return ws.chat(agent, "one")

    assert len(asyncio.run(cell())) == 2


def test_the_status_says_where_and_which_keys_but_never_a_key(ws: Workspace, cloud: Workspace, recording: Any) -> None:
    recording.is_ours = True
    status = ws.status()
    assert (status.platform, status.pid, status.keys) == ("local", 4711, {"OPENAI_API_KEY": True})
    assert status.url == recording.url
    assert SECRET not in repr(status) + repr(ws) + repr(cloud.status())


def test_an_error_before_the_first_word_names_its_conversation_too(agent: Any, ws: Workspace, recording: Any) -> None:
    async def refuse(talk: Any) -> None:
        await talk.metadata()
        await talk.error("missing_dynamic_variable", "the prompt uses {{name}}", names=["name"])

    recording.script = refuse
    with pytest.raises(MissingVariableError) as raised:
        ws.chat(agent, "one")
    partial = partial_conversation(raised.value)
    assert partial is not None
    assert partial.id == recording.talks[0].conversation_id


def test_the_variables_of_an_earlier_conversation_are_used_again(agent: Any, ws: Workspace, recording: Any) -> None:
    earlier = Conversation(
        id=recording.new_conversation(agent.id),
        agent_id=agent.id,
        variables={"name": "Ada", "city": "Rome", "system__time": "now", "odd": None},
    )
    ws.chat(agent, "one", continue_from=earlier, variables={"city": "Oslo"})
    assert recording.talks[0].frames[0]["dynamic_variables"] == {"name": "Ada", "city": "Oslo"}
